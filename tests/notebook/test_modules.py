"""Workflows of a notebook written as modules, and run by a Python without one."""

import subprocess
import sys
from ast import literal_eval
from pathlib import Path

import pytest

from front import Front, said

HEADER = '"""The workflow {}. Written by stepwell from a notebook."""\n'
EARLIER = """
import re, json as j
import os.path
from pathlib import Path
from dataclasses import dataclass
from collections import namedtuple
from functools import lru_cache, wraps
import enum
from stepwell import *

LIMIT = 3
PROMPTS = {  # ours
    "a": "Hello",
}
WORD = re.compile(r"\\w+")
HERE = Path("data")
Pair = namedtuple("Pair", "left right")
double = lambda x: 2 * x
computed = sum(range(5))
client = open(os.devnull)

class Colour(enum.Enum):
    RED = 1

@dataclass
class Settings:
    k: int = LIMIT

DEFAULTS = Settings(k=4)

# Counts words.
@lru_cache
def count(text):
    return len(WORD.findall(text))

def make(n):
    def inner(x):
        return x + n
    return inner

add_three = make(3)

def uses_client():
    return client.name
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the kernel of these tests writes its files."""
    return tmp_path_factory.mktemp("written")


@pytest.fixture(scope="module")
def front(folder):
    """A kernel in that folder, with the magics and what other cells define."""
    made = Front()
    made.run(f"import os; os.chdir({str(folder)!r})")
    made.run("%load_ext stepwell")
    made.run(EARLIER)
    yield made
    made.close()


@pytest.fixture
def python(folder):
    """A fresh interpreter in the folder; gives what it printed."""

    def run(*arguments):
        ran = subprocess.run(
            [sys.executable, "-W", "error", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    return run


def test_a_module_looks_as_somebody_would_write_it(front, folder, python):
    front.do('''
        %%event Named
        """A name."""
        from typing import Literal
        name: str
        kind: Literal["x", "y"] = "x"  # which

        def loud(self):
            return self.name.upper()
    ''')
    cell = front.do('''
        %%workflow Greeter --run name="ada" --write greeter.py --timeout 20
        """Greets people."""
        import asyncio
        print("an effect")

        # Looks it up.
        async def look_up(ev: StartEvent) -> Named:
            # And comes back.
            return Named(name=ev.name)

        @step(num_workers=2)
        def greet(ev: Named) -> StopEvent:
            """Greets
            a name."""
            return StopEvent(result=f"{PROMPTS['a']}, {ev.loud()}, {LIMIT} times")
    ''')
    assert cell.value == "'Hello, ADA, 3 times'"
    assert "greeter.py written: LIMIT, PROMPTS, Named, Greeter.\n" in cell.printed
    assert (
        (folder / "greeter.py").read_text()
        == HEADER.format("Greeter")
        + '''
import asyncio
from typing import Literal

from stepwell import Event, StartEvent, StopEvent, Workflow, step

LIMIT = 3
PROMPTS = {  # ours
    "a": "Hello",
}


class Named(Event):
    """A name."""
    name: str
    kind: Literal["x", "y"] = "x"  # which

    def loud(self):
        return self.name.upper()


class Greeter(Workflow):
    """Greets people."""

    def __init__(self, timeout=20, **options):
        super().__init__(timeout, **options)

    # Looks it up.
    @step
    async def look_up(self, ev: StartEvent) -> Named:
        # And comes back.
        return Named(name=ev.name)

    @step(num_workers=2)
    def greet(self, ev: Named) -> StopEvent:
        """Greets
        a name."""
        return StopEvent(result=f"{PROMPTS['a']}, {ev.loud()}, {LIMIT} times")


async def main() -> None:
    print(await Greeter().run(name="ada"))


if __name__ == "__main__":
    asyncio.run(main())
'''
    )
    assert python("greeter.py") == "Hello, ADA, 3 times"
    run = "import greeter; print(greeter.Greeter().run_sync(name='bob'))"
    assert python("-c", run) == "Hello, BOB, 3 times"


def test_everything_a_step_uses_comes_along(front, python):
    cell = front.do('''
        %%workflow Uses --run --write uses.py
        import asyncio
        ready = await asyncio.sleep(0, {"is": ["ready", 1.5, None]})
        Reply = StopEvent | InputRequiredEvent
        class Asked(StartEvent):
            colour: Colour = Colour.RED
        def only(ev: Asked) -> "Reply":
            text = """two
        lines"""
            found = [count(text), double(2), computed, ready, str(HERE), DEFAULTS.k,
                     Pair(1, 2).left, ev.colour.name, j.dumps(1), os.path.sep,
                     text]
            return StopEvent(result=found)
    ''')
    assert literal_eval(python("uses.py")) == literal_eval(cell.value)


def test_a_step_that_is_called_as_a_function_stays_one(front, folder, python):
    front.do("""
        %%workflow Calls --run n=3 --write calls.py --workers 2
        def only(ev: StartEvent) -> StopEvent:
            if ev.n:
                return only(StartEvent(n=ev.n - 1))
            return StopEvent(result="down")
    """)
    text = (folder / "calls.py").read_text()
    assert "class Calls(Workflow):\n    pass\n" in text
    assert "@step(num_workers=2, workflow=Calls)\ndef only(ev: StartEvent)" in text
    assert python("calls.py") == "down"


def test_steps_that_a_step_cell_added_or_replaced_are_written(front, folder, python):
    front.do("""
        %%workflow Grows --no-draw
        class Half(Event):
            n: int
        def begin(ev: StartEvent) -> Half:
            return Half(n=1)
        def end(ev: Half) -> StopEvent:
            return StopEvent(result=ev.n)
    """)
    front.do("""
        %%step Grows --no-draw
        class Whole(Event):
            n: int
        def end(ev: Half) -> Whole:
            return Whole(n=ev.n + plus)
        @step(num_workers=1)
        async def finish(ev: Whole) -> StopEvent:
            return StopEvent(result=ev.n)
        plus = LIMIT + 1
    """)
    cell = front.run("%workflow Grows --write grows.py")
    assert cell.printed == "grows.py written: plus, Half, Whole, Grows.\n"
    text = (folder / "grows.py").read_text()
    assert text.count("class ") == 3
    assert "from_cell" not in text
    run = "import grows; print(grows.Grows().run_sync())"
    assert python("-c", run) == "5"


def test_a_class_with_free_steps_is_written_as_it_stands(front, folder, python):
    front.do("""
        class Middle(Event):
            n: int

        class Plain(Workflow):
            # kept
            def __init__(self, *, index, **options):
                super().__init__(**options)
                self.index = index

            @step
            async def begin(self, ev: StartEvent) -> Middle:
                return Middle(n=self.index)
    """)
    front.do("""
        @step(workflow=Plain, num_workers=1)
        def end(ev: Middle) -> StopEvent:
            return StopEvent(result=count("a b") + ev.n)
    """)
    front.run("%workflow Plain --write plain.py")
    text = (folder / "plain.py").read_text()
    assert "class Plain(Workflow):\n    # kept\n" in text
    assert "@step(workflow=Plain, num_workers=1)\ndef end(" in text
    assert python("-c", "import plain; print(plain.Plain(index=7).run_sync())") == "9"


def test_a_method_that_a_step_cell_replaced_is_written_in_its_place(front, python):
    front.do("""
        class Replaced(Workflow):
            @step
            async def reply(self, ev: StartEvent) -> StopEvent:
                return StopEvent(result="method")

            def kept(self):
                return "kept"
    """)
    front.do("""
        %%step Replaced --no-draw
        async def reply(ev: StartEvent) -> StopEvent:
            return StopEvent(result="function")
    """)
    front.run("%workflow Replaced --write replaced.py")
    run = "import replaced as r; w = r.Replaced(); print(w.run_sync(), w.kept())"
    assert python("-c", run) == "function kept"


def test_a_workflow_that_a_step_runs_comes_along(front, python):
    front.do("""
        %%workflow Inner --no-draw
        def twice(ev: StartEvent) -> StopEvent:
            return StopEvent(result=ev.n * 2)
    """)
    front.do("""
        %%workflow Outer --no-draw --write outer.py --run n=LIMIT
        async def twice(ev: StartEvent) -> StopEvent:
            return StopEvent(result=await Inner().run(n=ev.n))
    """)
    assert python("outer.py") == "6"


def test_a_base_that_was_redefined_later_stands_above(front, folder, python):
    front.run("%%event Base\nx: int = 1")
    front.run("%%event Derived --base Base\ny: int = 2")
    front.run("%%event Base\nx: int = 5")
    front.do("""
        %%workflow Order --no-draw --write order.py
        def begin(ev: StartEvent) -> Derived:
            return Derived()
        def end(ev: Derived) -> StopEvent:
            return StopEvent(result=ev.x + ev.y)
    """)
    text = (folder / "order.py").read_text()
    assert text.index("class Base") < text.index("class Derived")
    assert python("-c", "import order; print(order.Order().run_sync())") == "7"


def test_a_redefined_function_is_written_as_it_is_now(front, folder, python):
    front.run("def current():\n    return 'old'")
    front.run("def current():\n    return 'new'")
    front.do("""
        %%workflow Now --no-draw --write now.py
        def only(ev: StartEvent) -> StopEvent:
            return StopEvent(result=current())
    """)
    assert python("-c", "import now; print(now.Now().run_sync())") == "new"
    front.run("def current():\n    return 'old'")
    front.run("%workflow Now --write now.py")
    assert python("-c", "import now; print(now.Now().run_sync())") == "old"


def test_a_step_named_like_a_builtin_is_a_method_that_hides_nothing(front, python):
    front.do("""
        %%workflow Named_like --no-draw --write named_like.py --run
        def sum(ev: StartEvent) -> StopEvent:
            return StopEvent(result=sum([1, 2]))
    """)
    assert python("named_like.py") == "3"


def test_a_catch_error_and_a_decorated_step_keep_their_decorators(front, python):
    front.do("""
        def excited(function):
            @wraps(function)
            def louder(*args, **options):
                return StopEvent(result=function(*args, **options).result + "!")
            return louder
    """)
    front.do("""
        %%workflow Decorated --no-draw --write decorated.py --run
        def begin(ev: StartEvent) -> StopEvent:
            raise ValueError("no")
        @excited
        @catch_error(max_recoveries=2)
        def rescue(ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result="rescued")
    """)
    assert python("decorated.py") == "rescued!"


def test_names_of_any_script_and_a_signature_of_several_lines(front, python):
    front.do("""
        %%workflow Grüße --no-draw --write gruesse.py --run
        class Gruß(Event):
            größe: str
        def grüßen(
            ev: StartEvent,  # the start
        ) -> Gruß:
            return Gruß(größe="groß")
        async def λ(ctx: Context, ev: Gruß) -> StopEvent:
            return StopEvent(result=ev.größe)
    """)
    assert python("gruesse.py") == "groß"


def test_a_module_may_be_written_again_but_nothing_else_is_overwritten(front, folder):
    front.run("%%workflow W --no-draw --write again.py\n" + ONLY)
    front.run("%%workflow W --no-draw --write again.py\n" + ONLY.replace("7", "8"))
    assert "result=8" in (folder / "again.py").read_text()
    (folder / "mine.py").write_text("x = 1\n")
    cell = front.run("%workflow W --write mine.py")
    assert "mine.py exists, and was not written by a magic" in said(cell)
    assert (folder / "mine.py").read_text() == "x = 1\n"


ONLY = "def only(ev: StartEvent) -> StopEvent:\n    return StopEvent(result=7)\n"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (
            "return StopEvent(result=client)",
            "`client` cannot be written into refused.py: it is a TextIOWrapper that "
            "the notebook made. step `f` uses it (Cell In[{n}], line 3).",
        ),
        (
            "return StopEvent(result=uses_client())",
            "function `uses_client` uses it (Cell In[3], line",
        ),
        ("return StopEvent(result=add_three(2))", "a function that `make` made"),
        ("return StopEvent(result=nobody)", "`nobody` cannot be written"),
        ("!ls", "a `!` command, which only IPython knows"),
    ],
)
def test_what_cannot_be_written_is_named_with_who_uses_it(front, folder, body, why):
    number = int(front.run("len(In)").value)
    cell = front.do(
        "%%workflow Refused --no-draw --write refused.py\n"
        f"def f(ev: StartEvent) -> StopEvent:\n    {body}\n"
    )
    assert cell.error.ename == "MagicError"
    assert why.format(n=number) in said(cell)
    assert len(said(cell).splitlines()) == 2
    assert not list(folder.glob("*refused*"))


def test_a_folder_that_is_not_there_is_one_line(front):
    cell = front.run("%%workflow W --no-draw --write nowhere/at_all.py\n" + ONLY)
    path = Path("nowhere/at_all.py")
    assert f"--write: {path} cannot be written: No such file" in said(cell)


def test_a_local_variable_of_that_name_is_no_reason_to_refuse(front, python):
    front.do("""
        %%workflow Local --no-draw --write local.py --run
        def f(ev: StartEvent) -> StopEvent:
            client = [nobody for nobody in "ab"]
            return StopEvent(result=client)
    """)
    assert python("local.py") == "['a', 'b']"


def test_modules_of_one_s_own_are_imported_and_scripts_copied(front, folder, python):
    (folder / "tools.py").write_text("def shout(text):\n    return text.upper()\n")
    (folder / "script.py").write_text("def twice(text):\n    return text * 2\n")
    front.run("import tools as t\nfrom tools import shout\n%run script.py")
    front.do("""
        %%workflow Own --no-draw --write own.py --run
        def f(ev: StartEvent) -> StopEvent:
            return StopEvent(result=t.shout("a") + shout("b") + twice("c"))
    """)
    text = (folder / "own.py").read_text()
    assert "import tools as t\nfrom stepwell import" in text
    assert "from tools import shout\n" in text
    assert python("own.py") == "ABcc"


def test_a_variable_that_runs_filled_begins_empty_again(front, folder):
    front.run("seen = []")
    front.do("""
        %%workflow Fills --no-draw --run
        def f(ev: StartEvent) -> StopEvent:
            seen.append(1)
            return StopEvent(result=len(seen))
    """)
    front.run("%workflow Fills --write fills.py")
    assert "\nseen = []\n" in (folder / "fills.py").read_text()


def test_a_step_may_be_named_like_a_method_of_every_workflow(front, python):
    front.do("""
        %%workflow Hides --no-draw --write hides.py --run
        class Checked(Event): ...
        def validate(ev: StartEvent) -> Checked:
            return Checked()
        def run(ev: Checked) -> StopEvent:
            return StopEvent(result="ran")
    """)
    assert python("hides.py") == "ran"


def test_a_function_that_would_hide_a_builtin_is_refused(front):
    cell = front.do("""
        %%workflow Hidden --no-draw --write hidden.py
        class Summed(Event): ...
        def sum(ev: StartEvent) -> Summed:
            return Summed()
        def run(ev: Summed) -> StopEvent:
            return StopEvent(result=sum([1]))
    """)
    assert "`sum` cannot be written into hidden.py: it is a step too" in said(cell)


def test_a_workflow_that_was_imported_is_not_written(front, folder):
    (folder / "flows.py").write_text(
        "from stepwell import *\nclass There(Workflow):\n    @step\n"
        "    def f(self, ev: StartEvent) -> StopEvent: ...\n"
    )
    front.run("from flows import There")
    cell = front.run("%workflow There --write there.py")
    assert "There is written already: it is imported from flows" in said(cell)


def test_an_expression_of_run_that_cannot_be_written_is_named(front, folder):
    cell = front.run("%%workflow X --no-draw --write x.py --run k=client.name\n" + ONLY)
    assert "`client` cannot be written into x.py" in said(cell)
    assert "--run uses it." in said(cell)
    assert not (folder / "x.py").exists()


def test_events_that_name_each_other_are_written_so_that_they_can(front, python):
    cell = front.do("""
        %%workflow Mutual --no-draw --write mutual.py --run
        from __future__ import annotations
        class Left(Event):
            other: Right | None = None
        class Right(Event):
            other: Left | None = None
        def begin(ev: StartEvent) -> Left:
            return Left(other=Right(other=Left()))
        def end(ev: Left) -> StopEvent:
            return StopEvent(result=type(ev.other.other).__name__)
    """)
    assert cell.value == "'Left'"
    assert python("mutual.py") == "Left"


def test_words_of_a_literal_are_no_names(front, python):
    front.do("""
        %%workflow Words --no-draw --write words.py --run word="client"
        from typing import Literal
        class Say(StartEvent):
            word: Literal["client", "uses_client"]
        def f(ev: "Say") -> "StopEvent | None":
            return StopEvent(result=ev.word)
    """)
    assert python("words.py") == "client"


def test_annotations_that_wait_are_written_so(execute, tmp_path):
    cells = execute(
        "%load_ext stepwell",
        "from __future__ import annotations",
        "%%event Later\nname: str",
        f"%%workflow Lazy --write {tmp_path / 'lazy.py'} --run\n"
        "def f(ev: StartEvent) -> Later:\n    return Later(name='x')\n"
        "def g(ev: Later) -> StopEvent:\n    return StopEvent(result=ev.name)",
    )
    assert cells[-1].value == "'x'"
    text = (tmp_path / "lazy.py").read_text()
    assert "from __future__ import annotations\n" in text
    ran = subprocess.run(
        [sys.executable, str(tmp_path / "lazy.py")], capture_output=True, text=True
    )
    assert ran.stdout.strip() == "x", ran.stderr
