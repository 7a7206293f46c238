"""The magics in a real kernel: what they make, and what they say when they cannot."""

import ast
import re

import pytest

from stepwell.notebook.errors import MagicError
from stepwell.notebook.options import parse_options
from stepwell.notebook.sources import evaluate_pairs, module_text, split_words

GREETER = """
%%workflow Greeter --run name="Ada Lovelace" --into greeting
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


@pytest.fixture(scope="module")
def cells(execute):
    """One notebook in which every magic is used, well and badly."""
    sources = {
        "load": "%load_ext stepwell",
        "workflow": GREETER,
        "kept": "greeting, helper('x'), Greeter.__module__",
        "again": GREETER.replace("Hello", "Good day"),
        "instance": 'await Greeter(timeout=3).run(name="z")',
        "source": "import inspect\nprint(inspect.getsource(look_up))",
        "draw": "%%workflow Drawn\ndef only(ev: StartEvent) -> StopEvent: ...",
        "await": """
            %%workflow Waits --no-draw
            import asyncio
            ready = await asyncio.sleep(0, "ready")
            def only(ev: StartEvent) -> StopEvent:
                return StopEvent(result=ready)
        """,
        "options": """
            %%workflow Quick --timeout 1.5 --workers 2
            def only(ev: StartEvent) -> StopEvent: ...
        """,
        "step": """
            %%step Greeter
            def greet(ev: Named) -> StopEvent:
                return StopEvent(result=f"Bye, {ev.name}")
        """,
        "stepped": 'await Greeter().run(name="z")',
        "event": "%%event Point\nx: int\ny: int = 3",
        "point": "Point(x=1)",
        "list": "%workflow",
        "help": "%%workflow?",
        "unknown option": "%%workflow A --nope\nx = 1",
        "no name": "%%workflow\nx = 1",
        "no step": "%%workflow A\nx = 1",
        "bad value": """
            %%workflow A --run name=Ada
            def f(ev: StartEvent) -> StopEvent: ...
        """,
        "bad syntax": "%%workflow A\ndef f(ev: StartEvent) -> StopEvent:\n    x = = 1",
        "failing": "%%workflow A --run\ndef f(ev: StartEvent) -> StopEvent:\n    1 / 0",
        "bad step": "%%step Nobody\nx = 1",
        "bad line": "%workflow Nobody",
        "unload": "%unload_ext stepwell",
        "gone": "%workflow",
        "clean": "[n for n in dir() if 'stepwell' in n and n != 'stepwell']",
        "hooks": """
            ip = get_ipython()
            [f for f in ip.input_transformers_cleanup if "stepwell" in f.__module__]
        """,
    }
    return dict(zip(sources, execute(*sources.values()), strict=True))


def test_a_workflow_cell_runs_in_place_and_gives_its_result(cells):
    panel, value = cells["workflow"].bundles
    assert panel["text/plain"].startswith("Greeter: done · 2/2 steps")
    assert value["text/plain"] == "'Hello, Ada Lovelace'"
    assert cells["kept"].value == "('Hello, Ada Lovelace', 'X', '__main__')"


def test_a_workflow_cell_can_be_run_again(cells):
    assert cells["again"].value == "'Good day, Ada Lovelace'"
    assert cells["instance"].value == "'Good day, Z'"


def test_the_source_of_a_step_is_found(cells):
    assert cells["source"].printed.startswith("async def look_up(ev: StartEvent)")


def test_without_run_the_cell_draws_its_graph(cells):
    (bundle,) = cells["draw"].bundles
    assert bundle["text/plain"] == "<Workflow Drawn: 1 step · 2 events>"
    assert not cells["await"].bundles


def test_the_number_of_workers_is_drawn(cells):
    assert "×2" in cells["options"].bundles[0]["image/svg+xml"]


def test_a_step_cell_replaces_a_step_and_draws(cells):
    assert cells["step"].bundles[-1]["text/plain"].startswith("<Workflow Greeter")
    assert cells["stepped"].value == "'Bye, Z'"


def test_an_event_cell_makes_an_event(cells):
    assert cells["point"].value == "Point(x=1, y=3)"


def test_the_line_magic_draws_every_workflow(cells):
    names = [bundle["text/plain"].split()[1] for bundle in cells["list"].bundles]
    assert names == ["Greeter:", "Drawn:", "Waits:", "Quick:"]


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("unknown option", "unrecognized arguments: --nope"),
        ("no name", "required: name"),
        ("no step", "the cell has no step"),
        ("bad value", 'Text needs quotes, as in name="…"'),
        ("bad step", "no workflow is named Nobody; there are: Greeter,"),
        ("bad line", "no workflow is named Nobody; there are: Greeter,"),
    ],
)
def test_a_mistake_is_two_lines_that_say_what_to_write(cells, cell, words):
    assert cells[cell].error.ename == "MagicError"
    assert len(cells[cell].error_lines) <= 2
    assert words in "\n".join(cells[cell].error_lines)


def test_a_syntax_error_names_the_line_of_the_cell(cells):
    assert cells["bad syntax"].error.ename == "SyntaxError"
    text = "\n".join(cells["bad syntax"].error_lines)
    assert "line 3" in text
    assert len(cells["bad syntax"].error_lines) <= 4


def test_a_failing_step_shows_its_own_line_only(cells):
    text = "\n".join(cells["failing"].error_lines)
    assert cells["failing"].error.ename == "ZeroDivisionError"
    assert "line 3" in text
    assert "run_cell" not in text
    assert "stepwell" not in text


def test_unloading_leaves_nothing_behind(cells):
    assert "`%workflow` not found" in cells["gone"].printed
    assert cells["clean"].value == "[]"
    assert cells["hooks"].value == "[]"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("A --run", ["A", "--run"]),
        ('--run q="two words" k=3', ["--run", 'q="two words"', "k=3"]),
        ("--run k=[1, 2] d={'a': (1, 2)}", ["--run", "k=[1, 2]", "d={'a': (1, 2)}"]),
        ("  ", []),
    ],
)
def test_a_line_is_split_outside_brackets_and_quotes(line, words):
    assert split_words(line) == words


def test_an_open_bracket_is_said(line="--run k=[1, 2"):
    with pytest.raises(MagicError, match="not closed"):
        split_words(line)


def test_values_are_python_in_the_users_names():
    assert evaluate_pairs(["k=n + 1", "s='x'"], {"n": 2}) == {"k": 3, "s": "x"}


@pytest.mark.parametrize("pair", ["k", "k=", "2k=1", "=1"])
def test_a_pair_that_is_none_is_said(pair):
    with pytest.raises(MagicError, match="key=expression"):
        evaluate_pairs([pair], {})


def test_a_name_that_cannot_be_a_class_is_said():
    with pytest.raises(MagicError, match="cannot be the name"):
        parse_options("workflow", "9lives")


def test_a_cell_is_written_as_a_module_that_runs():
    body = GREETER.split("\n", 2)[2]
    text = module_text("Greeter", body)
    ast.parse(text)
    assert "class Greeter(Workflow):" in text
    assert "@step(num_workers=2, workflow=Greeter)" in text
    assert "@step(workflow=Greeter)\nasync def look_up" in text
    names = {"__name__": "written"}
    exec(compile(text, "greeter.py", "exec"), names)
    assert names["Greeter"]().run_sync(name="ada") == "Hello, Ada"


@pytest.mark.parametrize(
    "magic, line, said",
    [
        ("workflow", "StartEvent", "is a name of stepwell itself"),
        ("event", "StopEvent", "is a name of stepwell itself"),
        ("workflow", "class", "cannot be the name of a class"),
        ("workflow", "A --workers 0", "--workers must be at least 1"),
        ("workflow", "A --timeout -3", "--timeout must be above 0"),
        ("workflow", "A --into x", "--run, which is missing"),
        ("workflow", "A --run --into class", "cannot be the name of a variable"),
    ],
)
def test_options_that_could_not_work_are_refused(magic, line, said):
    with pytest.raises(MagicError, match=said):
        parse_options(magic, line)


def test_a_magic_cell_s_traceback_names_its_own_number(execute):
    _, bad, number = execute(
        "%load_ext stepwell",
        "%%workflow A --run\ndef f(ev: StartEvent) -> StopEvent:\n    1 / 0",
        "len(In) - 2",
    )
    assert f"Cell In[{number.value}], line 3" in strip(bad.error_lines)


def test_a_module_that_cannot_be_written_is_one_line(execute):
    _, bad = execute(
        "%load_ext stepwell",
        "%%workflow A --write /nowhere/at/all.py\n"
        "def f(ev: StartEvent) -> StopEvent: ...",
    )
    said = strip(bad.error_lines)
    assert "/nowhere/at/all.py cannot be written: No such file" in said


def strip(lines):
    return re.sub(r"\x1b\[[\d;]*m", "", "\n".join(lines))
