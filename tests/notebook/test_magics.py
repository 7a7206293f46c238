"""The magics in a real kernel: what they make, and what they say when they cannot."""

import asyncio
import os
import re
import subprocess
import sys

import nbformat
import pytest

from front import Front, said
from stepwell.notebook.errors import MagicError
from stepwell.notebook.options import (
    PARSERS,
    evaluate_pairs,
    parse_options,
    parse_pairs,
    split_words,
)


@pytest.fixture(scope="module")
def front():
    """A kernel with the magics loaded, and one workflow in it."""
    made = Front()
    made.run("%load_ext stepwell")
    made.run(GREETER)
    yield made
    made.close()


@pytest.fixture(scope="module")
def bare():
    """A kernel without the magics."""
    made = Front()
    yield made
    made.close()


GREETER = """%%workflow Greeter --run name="Ada Lovelace" --into greeting
import asyncio

class Named(Event):
    name: str

def helper(text):
    return text.title()

async def look_up(ev: StartEvent) -> Named:
    await asyncio.sleep(0)
    return Named(name=helper(ev.name))

@step(num_workers=2)
def greet(ev: Named) -> StopEvent:
    return StopEvent(result=f"Hello, {ev.name}")
"""
ONLY = "def only(ev: StartEvent) -> StopEvent:\n    return StopEvent(result=7)\n"


# -- %%workflow ----------------------------------------------------------------------


def test_a_workflow_cell_runs_in_place_and_gives_its_result(front):
    panel, value = front.run(GREETER).bundles
    assert panel["text/plain"].startswith("Greeter: done · 2/2 steps")
    assert value["text/plain"] == "'Hello, Ada Lovelace'"
    kept = front.run("greeting, helper('x'), Greeter.__module__").value
    assert kept == "('Hello, Ada Lovelace', 'X', '__main__')"


def test_a_workflow_cell_can_be_run_again_and_says_in_one_line_what_it_rebound(front):
    again = front.run(GREETER.replace("Hello", "Good day"))
    assert again.value == "'Good day, Ada Lovelace'"
    assert again.printed == (
        "Greeter, Named redefined; runs that have begun go on as they began.\n"
    )


def test_a_run_that_has_begun_goes_on_when_its_cell_is_run_again(front):
    cell = """
        %%workflow Slow --run --background --into slow
        import asyncio
        gate = asyncio.Event()
        class Through(Event):
            number: int = 1
        async def wait(ev: StartEvent) -> Through:
            await gate.wait()
            return Through()
        async def end(ev: Through) -> StopEvent:
            return StopEvent(result="first")
    """
    front.do(cell)
    front.run("old, old_gate = slow, gate")
    front.do(cell.replace("first", "second"))
    front.run("old_gate.set(); gate.set()")
    assert front.run("await old, await slow").value == "('first', 'second')"


def test_without_run_the_cell_draws_its_graph(front):
    (bundle,) = front.run("%%workflow Drawn\n" + ONLY).bundles
    assert bundle["text/plain"] == "<Workflow Drawn: 1 step · 2 events>"
    assert not front.run("%%workflow Quiet --no-draw\n" + ONLY).bundles


def test_the_timeout_is_that_of_every_instance(front):
    front.run("%%workflow Late --timeout 0.5 --no-draw\n" + ONLY)
    front.do("""
        %%step Late --no-draw
        import asyncio
        async def only(ev: StartEvent) -> StopEvent:
            await asyncio.Event().wait()
    """)
    assert front.run("await Late().run()").error.ename == "WorkflowTimeoutError"
    assert front.run("Late(), Late(3), Late(timeout=None)").outputs[-1].data


def test_workers_are_those_of_steps_that_do_not_say(front):
    cell = front.do("""
        %%workflow Many --workers 2 --no-draw
        def a(ev: StartEvent) -> StopEvent: ...
        @step
        def b(ev: StartEvent) -> StopEvent: ...
        @step(num_workers=3)
        def c(ev: StartEvent) -> StopEvent: ...
        {s.name: s.num_workers for s in (f.__stepwell_step__ for f in (a, b, c))}
    """)
    assert cell.value == "{'a': 2, 'b': 2, 'c': 3}"


def test_background_only_starts_the_run_and_shows_it(front):
    cell = front.do("""
        %%workflow Back --run n=3 --background --into back
        import asyncio
        more = asyncio.Event()
        async def only(ev: StartEvent) -> StopEvent:
            await more.wait()
            return StopEvent(result=ev.n)
    """)
    assert any("Back: running" in each["text/plain"] for each in cell.bundles)
    assert front.run("back.is_done()").value == "False"
    assert front.run("more.set()\nawait back").value == "3"


def test_the_values_of_run_are_python_and_may_wait(front):
    cell = front.do("""
        %%workflow Sum --run a=(number + 1) b=(await later()) c=[1, 2]  # comment
        number = 41
        async def later():
            return "b"
        def only(ev: StartEvent) -> StopEvent:
            return StopEvent(result=[ev.a, ev.b, ev.c])
    """)
    assert cell.value == "[42, 'b', [1, 2]]"


def test_braces_and_dollars_of_the_line_stay(front):
    front.run("x = 'changed'")
    cell = front.do("""
        %%workflow Line --run text="{x} $x" more={'x': 1}
        def only(ev: StartEvent) -> StopEvent:
            return StopEvent(result=[ev.text, ev.more])
    """)
    assert cell.value == "['{x} $x', {'x': 1}]"


def test_the_body_s_last_expression_is_the_cell_s_value(front):
    assert front.run("%%workflow V --no-draw\n" + ONLY + "1 + 1").value == "2"
    assert not front.run("%%workflow V --no-draw\n" + ONLY + "1 + 1;  # no").bundles
    assert front.run("%%workflow V --run\n" + ONLY + "1 + 1").value == "7"


def test_a_body_may_wait_print_display_and_use_magics_and_commands(front):
    cell = front.do("""
        %%workflow Body --run
        import asyncio
        ready = await asyncio.sleep(0, "ready")
        print("printed")
        display("displayed")
        %time 1
        here = !echo from the shell
        def only(ev: StartEvent) -> StopEvent:
            return StopEvent(result=[ready, here[0]])
    """)
    assert cell.value == "['ready', 'from the shell']"
    assert "printed" in cell.printed and "Wall time" in cell.printed
    assert "'displayed'" in [each["text/plain"] for each in cell.bundles]


def test_a_docstring_of_the_cell_is_that_of_the_workflow(front):
    front.run('%%workflow Told --no-draw\n"""Tells."""\n' + ONLY)
    assert front.run("Told.__doc__").value == "'Tells.'"


def test_events_of_every_kind_may_stand_in_a_body(front):
    cell = front.do("""
        %%workflow Kinds --run question="why"
        class Ask(StartEvent):
            question: str
        class Part(Event):
            text: str
        def split(ev: Ask) -> list[Part]:
            return [Part(text=letter) for letter in ev.question]
        def join(parts: list[Part]) -> StopEvent:
            return StopEvent(result="-".join(part.text for part in parts))
    """)
    assert cell.value == "'w-h-y'"


def test_a_helper_with_an_underscore_takes_events_and_is_no_step(front):
    cell = front.do("""
        %%workflow Helped --run name="ada"
        from collections.abc import Callable
        def _loud(ev: StartEvent) -> str:
            return ev.name.upper()
        def kind_of(kind: type[Event], made: Callable[[StartEvent], str]) -> str:
            return kind.__name__
        def nested(ev: StartEvent) -> StopEvent:
            def twice(ev: StartEvent) -> str:
                return _loud(ev) * 2
            return StopEvent(result=twice(ev))
    """)
    assert cell.value == "'ADAADA'"


def test_decorators_around_a_step_are_part_of_it(front):
    cell = front.do("""
        %%workflow Wrapped --run
        import functools
        def excited(function):
            @functools.wraps(function)
            def louder(*args, **options):
                return StopEvent(result=function(*args, **options).result + "!")
            return louder
        @excited
        @step(num_workers=2)
        def only(ev: StartEvent) -> StopEvent:
            return StopEvent(result="hey")
    """)
    assert cell.value == "'hey!'"


def test_a_catch_error_in_the_body_belongs_to_the_workflow(front):
    cell = front.do("""
        %%workflow Caught --run
        def only(ev: StartEvent) -> StopEvent:
            raise ValueError("no")
        @catch_error
        def rescue(ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result="rescued")
    """)
    assert cell.value == "'rescued'"


def test_a_step_named_like_a_builtin_does_not_hide_it(front):
    cell = front.do("""
        %%workflow Builtin --run
        class Filtered(Event): ...
        def filter(ev: StartEvent) -> Filtered:
            return Filtered()
        def sum(ev: Filtered) -> StopEvent:
            return StopEvent(result="both ran")
    """)
    assert cell.value == "'both ran'"
    assert front.run("sum([1, 2]), list(filter(None, [0, 1]))").value == "(3, [1])"


def test_a_class_with_steps_in_the_body_is_a_workflow_of_its_own(front):
    cell = front.do("""
        %%workflow Parent --run name="x"
        class Child(Workflow):
            @step
            async def reply(self, ev: StartEvent) -> StopEvent:
                return StopEvent(result=ev.name * 2)
        async def ask(ev: StartEvent) -> StopEvent:
            return StopEvent(result=await Child().run(name=ev.name))
    """)
    assert cell.value == "'xx'"
    assert front.run("Parent is not Child and issubclass(Child, Workflow)").value


def test_annotations_may_be_text_and_names_any_script(front):
    cell = front.do("""
        %%workflow Grüße --run name="Ada"
        from __future__ import annotations
        class Gruß(Event):
            größe: str
        def grüßen(ev: "StartEvent") -> "Gruß":
            return Gruß(größe=ev.name)
        def λ(ev: Gruß) -> StopEvent:
            return StopEvent(result=ev.größe)
    """)
    assert cell.value == "'Ada'"


def test_windows_line_ends_and_lines_above_the_magic_are_no_trouble(front):
    text = "\n\n# my first\n\n%%workflow Ends --run\n\n" + ONLY
    assert front.run(text.replace("\n", "\r\n")).value == "7"


def test_the_source_of_a_step_is_found(front):
    cell = front.run("import inspect\nprint(inspect.getsource(look_up))")
    assert cell.printed.startswith("async def look_up(ev: StartEvent)")


# -- %%step --------------------------------------------------------------------------


def test_a_step_cell_replaces_and_adds_and_says_which(front):
    front.run(GREETER)
    cell = front.do("""
        %%step Greeter
        class Loud(Event):
            name: str
        def greet(ev: Named) -> Loud:
            return Loud(name=ev.name.upper())
        def shout(ev: Loud) -> StopEvent:
            return StopEvent(result=ev.name + "!")
    """)
    assert cell.printed == "Greeter: `greet` replaced, `shout` added.\n"
    (bundle,) = cell.bundles
    assert bundle["text/plain"].startswith("<Workflow Greeter: 3 steps")
    assert ">changed</text>" in bundle["image/svg+xml"]
    assert ">new</text>" in bundle["image/svg+xml"]
    assert front.run('await Greeter().run(name="z")').value == "'Z!'"


def test_a_step_cell_adds_all_its_steps_or_none(front):
    front.run(GREETER)
    cell = front.do("""
        %%step Greeter
        def greet(ev: Named) -> StopEvent:
            return StopEvent(result="wrong")
        def second(ev: Named, count: int) -> StopEvent:
            return StopEvent(result="wrong")
    """)
    assert "nothing can be given for parameter `count`" in said(cell)
    assert "begins with an underscore: _second" in said(cell)
    assert front.run('await Greeter().run(name="z")').value == "'Hello, Z'"
    cell = front.do("""
        %%step Greeter
        def greet(ev: Named) -> StopEvent:
            return StopEvent(result="wrong")
        1 / 0
    """)
    assert cell.error.ename == "ZeroDivisionError"
    assert front.run('await Greeter().run(name="z")').value == "'Hello, Z'"


def test_a_step_cell_takes_the_place_of_a_method(front):
    front.do("""
        from stepwell import *
        class Plain(Workflow):
            @step
            async def reply(self, ev: StartEvent) -> StopEvent:
                return StopEvent(result="method")
    """)
    cell = front.do("""
        %%step Plain
        async def reply(ev: StartEvent) -> StopEvent:
            return StopEvent(result="function")
    """)
    assert cell.printed == "Plain: `reply` replaced.\n"
    assert front.run("await Plain().run()").value == "'function'"


def test_a_step_cell_has_the_value_of_its_last_expression_and_may_wait(front):
    front.run("%%workflow S --no-draw\n" + ONLY)
    cell = front.do("""
        %%step S --no-draw
        import asyncio
        result = await asyncio.sleep(0, 8)
        def only(ev: StartEvent) -> StopEvent:
            return StopEvent(result=result)
        await S().run()
    """)
    assert cell.value == "7"
    assert front.run("await S().run()").value == "8"


# -- %%event -------------------------------------------------------------------------


def test_an_event_cell_makes_an_event_of_fields_methods_and_validators(front):
    cell = front.do('''
        %%event Point
        """A point."""
        from pydantic import field_validator
        x: int
        # above the line
        y: int = 3

        @field_validator("x")
        @classmethod
        def double(cls, value):
            return 2 * value

        def sum(self):
            return self.x + self.y
    ''')
    assert not cell.outputs
    value = front.run("Point(x=1), Point(x=1).sum(), Point.__doc__").value
    assert value == "(Point(x=2, y=3), 5, 'A point.')"
    assert front.run("field_validator.__module__").value.startswith("'pydantic")


def test_an_event_cell_of_comments_makes_an_event_without_fields(front):
    front.run("%%event Nothing --base StopEvent\n# nothing\n")
    value = front.run("Nothing.__mro__[1].__name__, Nothing(result=2).result").value
    assert value == "('StopEvent', 2)"


def test_an_event_cell_may_wait_for_a_field(front):
    front.do("""
        %%event Waited
        import asyncio
        x: int = await asyncio.sleep(0, 5)
        y: list = [await asyncio.sleep(0, n) for n in range(3)]
    """)
    assert front.run("Waited()").value == "Waited(x=5, y=[0, 1, 2])"


def test_redefining_an_event_is_said_once_and_runs_go_on(front):
    front.run("%%event Tick\nleft: int")
    front.do("""
        %%workflow Clock --run --background --into clock
        import asyncio
        gate = asyncio.Event()
        async def begin(ev: StartEvent) -> Tick:
            await gate.wait()
            return Tick(left=1)
        async def tick(ev: Tick) -> StopEvent:
            return StopEvent(result=ev.left)
    """)
    cell = front.run("%%event Tick\nleft: int\nmore: int = 0")
    assert cell.printed == "Tick redefined; steps that take it keep working.\n"
    assert front.run("gate.set()\nawait clock").value == "1"
    assert front.run("await Clock().run()").value == "1"


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("%%event E\nx = 3", "line 2 gives the field x no type.\nWrite for example"),
        ("%%event E\nx", "line 2 gives the field x no type"),
        ("%%event E --base Nobody", "--base Nobody is no event class; there are: "),
        ("%%event E --base greeting", "--base greeting is no event class"),
        ("%%event E\nfor x in [await f()]: pass", "line 2 awaits elsewhere"),
    ],
)
def test_a_mistake_in_an_event_is_one_line(front, cell, words):
    assert words in said(front.run(cell))


# -- %workflow -----------------------------------------------------------------------


def test_the_line_magic_draws_workflows_all_or_those_named(front):
    front.run("%%workflow Drawn --no-draw\n" + ONLY)
    names = [each["text/plain"].split()[1] for each in front.run("%workflow").bundles]
    assert {"Greeter:", "Drawn:"} <= set(names)
    (bundle,) = front.run("%workflow Drawn").bundles
    assert bundle["text/plain"].startswith("<Workflow Drawn:")


def test_without_a_workflow_the_line_magic_says_how_to_begin(execute):
    _, empty = execute("%load_ext stepwell", "%workflow")
    assert empty.printed == "No workflow yet. Begin a cell with: %%workflow Name\n"


# -- mistakes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("%%workflow A --nope\nx = 1", "unrecognized arguments: --nope."),
        ("%%workflow A --timout 3\nx = 1", "did you mean --timeout?"),
        ("%%workflow A --timeout soon\nx = 1", "invalid float value: 'soon'"),
        ("%%workflow\nx = 1", "the following arguments are required: Name"),
        ("%%workflow A\nx = 1", "the cell has no step"),
        ("%%workflow A\n", "the cell has no step"),
        (f"%%workflow A --run name=Ada\n{ONLY}", 'needs quotes, as in name="…"'),
        (f"%%workflow A --run name=\n{ONLY}", "--run takes key=expression"),
        (f"%%workflow A --run a=1 a=2\n{ONLY}", "--run: a is given twice"),
        (f"%%workflow A --run a=1 --run a=2\n{ONLY}", "--run: a is given twice"),
        (f"%%workflow A --timeout 1 --timeout 2\n{ONLY}", "--timeout is given twice"),
        (f"%%workflow A --run a=[1\n{ONLY}", "a quote or bracket is not closed"),
        ("%%workflow A\n%%time\nx = 1", "%%time and a magic of stepwell"),
        (f"%%time\n%%workflow A\n{ONLY}", "%%time and a magic of stepwell"),
        ("%%workflow A\ndef step(ev: StartEvent): ...", "line 2 defines step, a name"),
        ("%%workflow A\nclass A(Workflow): ...", "which %%workflow A makes itself"),
        ("%%step Nobody\nx = 1", "no workflow is named Nobody; there are: Greeter"),
        ("%%step Greeter\nx = 1", "%%step Greeter: the cell has no step."),
        (
            "%%step Greeter\ndef f(ev): ...\ndef _g(ev: Named): ...",
            "no step; no event is in the annotations of f.\nWrite a function that "
            "takes an event: `def f(ev: StartEvent)",
        ),
        ("%workflow Nobody", "no workflow is named Nobody; there are: Greeter"),
    ],
)
def test_a_mistake_is_a_line_or_two_that_say_what_to_write(front, cell, words):
    error = front.run(cell)
    assert error.error.ename == "MagicError"
    assert words in said(error)
    assert len(said(error).splitlines()) <= 2


def test_a_workflow_with_a_mistake_leaves_the_one_before_as_it_was(front):
    front.run("%%workflow Kept --no-draw\n" + ONLY)
    front.run("%%workflow Kept --nope\n" + ONLY.replace("7", "8"))
    front.run("%%workflow Kept\n1 / 0\n" + ONLY.replace("7", "8"))
    front.run("%%workflow Kept\nx = 1")
    assert front.run("await Kept().run()").value == "7"


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("%%workflow A\ndef f(ev: StartEvent) -> StopEvent:\n    x = = 1", 3),
        ("\n# above\n\n%%workflow A\n\n\nx = = 1", 7),
        ("%%workflow A\nx = 1\nreturn 3", 3),
        ("%%step Greeter\n\nx = = 1", 3),
        ("%%event E\nx: int\ny: = 3", 3),
        ("%%event E\nx: int\nreturn 3", 3),
        ("%%workflow A\n%time 1\n!ls\nx = = 1", 4),
        ("%%workflow A\r\nx = 1\r\nx = = 1", 3),
    ],
)
def test_a_syntax_error_names_the_line_of_the_cell(front, cell, line):
    error = front.run(cell)
    assert error.error.ename == "SyntaxError"
    assert re.search(rf"Cell In\[\d+\], line {line}\b", said(error))
    assert len(said(error).splitlines()) <= 4


@pytest.mark.parametrize("above", ["", "\n\n", "# a comment\n\n"])
def test_an_error_in_a_step_names_the_line_and_the_number_of_its_cell(front, above):
    number = int(front.run("len(In)").value)
    cell = front.run(
        above + "%%workflow A --run\n"
        "def f(ev: StartEvent) -> StopEvent:\n"
        "    x = 1\n"
        "    return x / 0\n"
    )
    assert cell.error.ename == "ZeroDivisionError"
    line = 4 + above.count("\n")
    assert f"Cell In[{number}], line {line}, in f" in said(cell)
    assert re.search(rf"-> {line}\s+return x / 0", said(cell))
    assert "run_cell" not in said(cell)


def test_an_error_in_a_step_of_an_earlier_cell_names_that_cell(front):
    number = int(front.run("len(In)").value)
    front.run(
        "%%workflow A --no-draw\ndef f(ev: StartEvent) -> StopEvent:\n    return 1 / 0"
    )
    assert f"Cell In[{number}], line 3, in f" in said(front.run("await A().run()"))


# -- Tab and help ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "offered"),
    [
        ("%%work|", ["%%workflow"]),
        ("%%workflow A --ti|", ["--timeout"]),
        ("%%workflow A --timeout 3 --|", sorted(
            {"--workers", "--no-draw", "--run", "--background", "--into", "--write"}
        )),
        ("%%event A --|", ["--base"]),
        ("%%event A --base Nam|", ["Named"]),
        ("%%event A --base Sto|", ["StopEvent"]),
        ("%%step Gree|", ["Greeter"]),
        ("%workflow Gree|", ["Greeter"]),
        ("%workflow Greeter --|", ["--write"]),
        ("%%workflow Greeter --run |", ["name="]),
        ("%%workflow Greeter --run na|", ["name="]),
        (
            "%%workflow New --run |\nclass Ask(StartEvent):\n    question: str\n"
            "def f(ev: Ask) -> StopEvent:\n    return StopEvent(result=ev.depth)",
            ["depth=", "question="],
        ),
    ],
)  # fmt: skip
def test_tab_offers_what_fits_on_the_line_of_a_magic(front, cell, offered):
    front.run(GREETER)
    assert sorted(front.tab(cell)) == offered


def test_tab_offers_every_workflow_after_a_space(front):
    front.run("%%workflow Drawn --no-draw\n" + ONLY)
    assert {"Greeter", "Drawn"} <= set(front.tab("%%step |"))
    assert "Workflow" not in front.tab("%workflow |")


def test_tab_in_a_body_is_python_s(front):
    assert front.tab("%%workflow A --run\ngreeting.upp|") == ["upper"]
    assert "greeting" in front.tab("%%step Greeter\ngreet|")
    assert front.tab("workflow = Gree|") == ["Greeter"]


@pytest.mark.parametrize("name", PARSERS)
def test_a_question_mark_shows_the_options_and_an_example(front, name):
    text = front.help(f"{name}?")
    assert f"usage: {name} " in text
    assert "--" in text
    assert "Greeter" in text or "Found" in text


def test_inspecting_a_magic_tells_how_it_is_used(front):
    assert "usage: %%workflow Name" in front.shift_tab("%%workflow")
    assert "usage: %%event Name" in front.shift_tab("%%event")


# -- loading ---------------------------------------------------------------------------


def test_the_magics_come_and_go_without_a_trace(bare):
    used = bare.run("%%workflow A\nx = 1")
    assert "Cell magic `%%workflow` not found" in used.printed
    bare.do("""
        ip = get_ipython()
        def mine(line, cell):
            return "mine"
        ip.register_magic_function(mine, "cell", "event")
        def state():
            magics = ip.magics_manager.magics
            return [list(ip.input_transformers_cleanup), {**magics["cell"]},
                    {**magics["line"]}, list(ip.Completer.custom_matchers),
                    sorted(ip.user_ns)]
        before = None
        before = state()
    """)
    bare.run("%load_ext stepwell")
    bare.run("%load_ext stepwell")
    bare.run("%reload_ext stepwell")
    assert bare.run("%%workflow A --run\n" + ONLY).value == "7"
    bare.run("%unload_ext stepwell")
    assert "not found" in bare.run("%%workflow A\nx = 1").printed
    assert "not found" in bare.run("%workflow").printed
    assert bare.run("%%event E\nx: int").value == "'mine'"
    bare.run("after = state()")
    for at in range(4):
        assert (
            bare.run(f"[x for x in after[{at}] if x not in before[{at}]]").value == "[]"
        )
        assert (
            bare.run(f"[x for x in before[{at}] if x not in after[{at}]]").value == "[]"
        )
    assert bare.run("[n for n in ip.user_ns if '__stepwell' in n]").value == "[]"
    assert bare.tab("%%workflow A --ti|") == []
    bare.run("%load_ext stepwell")
    assert bare.run("%%workflow A --run\n" + ONLY).value == "7"


def test_a_terminal_asks_for_the_body_before_it_runs_a_magic(front):
    for code, answer in (("%%workflow A", "incomplete"), (f"%%step A\n{ONLY}\n", "")):
        front.client.is_complete(code)
        status = front.client.get_shell_msg(timeout=60)
        assert status["content"]["status"] == (answer or "complete")


def test_a_failing_magic_cell_fails_an_automatic_run(execute):
    _, bad = execute("%load_ext stepwell", "%%workflow A --nope\nx = 1")
    assert bad.error.ename == "MagicError"


# -- scripts ---------------------------------------------------------------------------

SCRIPT = [
    "%load_ext stepwell",
    "%%event Named\nname: str",
    "%%workflow Greeter --run name='ada' --into one --no-draw\n"
    "def look_up(ev: StartEvent) -> Named:\n"
    "    return Named(name=ev.name)\n"
    "async def greet(ev: Named) -> StopEvent:\n"
    "    return StopEvent(result='Hello, ' + ev.name)\n",
    "%%step Greeter --no-draw\n"
    "def greet(ev: Named) -> StopEvent:\n"
    "    return StopEvent(result='Bye, ' + ev.name)\n",
    "%%workflow Later --run --background --into handler\n"
    "import asyncio\n"
    "async def only(ev: StartEvent) -> StopEvent:\n"
    "    await asyncio.sleep(0)\n"
    "    return StopEvent(result='later')\n",
    "print(one, Greeter().run_sync(name='bob'), handler.is_done())",
]


@pytest.mark.parametrize("ending", [".py", ".ipy", ".ipynb"])
def test_a_notebook_runs_as_a_script(tmp_path, ending):
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(each) for each in SCRIPT]
    )
    made.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    made.metadata.language_info = {
        "name": "python",
        "file_extension": ".py",
        "nbconvert_exporter": "python",
    }
    notebook = tmp_path / "book.ipynb"
    nbformat.write(made, notebook)
    if ending != ".ipynb":
        subprocess.run(
            [sys.executable, "-m", "nbconvert", "--to", "script", str(notebook)],
            check=True,
            capture_output=True,
        )
        text = (tmp_path / "book.py").read_text()
        notebook = tmp_path / f"script{ending}"
        notebook.write_text(text)
    ran = subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=NoColor", str(notebook)],
        capture_output=True,
        text=True,
        env={**os.environ, "IPYTHONDIR": str(tmp_path / "ipython")},
    )
    # Only where cells are run as cells does a run go on behind them.
    done = ending != ".ipynb"
    assert f"Hello, ada Bye, bob {done}" in ran.stdout, ran.stdout + ran.stderr


# -- the line --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("A --run", ["A", "--run"]),
        ('--run q="two words" k=3', ["--run", 'q="two words"', "k=3"]),
        ("--run k=[1, 2] d={'a': (1, 2)}", ["--run", "k=[1, 2]", "d={'a': (1, 2)}"]),
        (r'--run q="a \" b\\" k=3', ["--run", r'q="a \" b\\"', "k=3"]),
        ("A  # --run", ["A"]),
        ("A --run q='#1'", ["A", "--run", "q='#1'"]),
        ("  ", []),
    ],
)
def test_a_line_is_split_outside_brackets_and_quotes(line, words):
    assert split_words(line) == words


def test_an_open_bracket_is_said(line="--run k=[1, 2"):
    with pytest.raises(MagicError, match="not closed"):
        split_words(line)


def test_values_are_python_in_the_users_names():
    values = asyncio.run(evaluate_pairs(["k=n + 1", "s='x'"], {"n": 2}))
    assert values == {"k": 3, "s": "x"}


@pytest.mark.parametrize("pair", ["k", "k=", "2k=1", "=1", "class=1"])
def test_a_pair_that_is_none_is_said(pair):
    with pytest.raises(MagicError, match="key=expression"):
        parse_pairs([pair])


@pytest.mark.parametrize(
    "magic, line, words",
    [
        ("%%workflow", "9lives", "cannot be the name of a class"),
        ("%%workflow", "class", "cannot be the name of a class"),
        ("%%workflow", "StartEvent", "is a name of stepwell itself"),
        ("%%event", "StopEvent", "is a name of stepwell itself"),
        ("%%workflow", "A --workers 0", "--workers must be at least 1"),
        ("%%workflow", "A --workers 1.5", "invalid int value"),
        ("%%workflow", "A --timeout -3", "--timeout must be above 0"),
        ("%%workflow", "A --timeout nan", "--timeout must be above 0"),
        ("%%workflow", "A --into x", "--run, which is missing"),
        ("%%workflow", "A --background", "--run, which is missing"),
        ("%%workflow", "A --run --into class", "cannot be the name of a variable"),
        ("%%workflow", "A --run --into A", "would hide the class"),
        ("%%workflow", "A --run --into step", "would hide the class"),
        ("%%workflow", "A --write a.txt", "does not end in .py"),
        ("%%workflow", "A --write my-flow.py", "such as my_flow.py"),
        ("%workflow", "--write a.py", "writes one workflow"),
        ("%workflow", "A B --write a.py", "writes one workflow"),
    ],
)
def test_options_that_could_not_work_are_refused(magic, line, words):
    with pytest.raises(MagicError, match=words):
        parse_options(magic, line)
