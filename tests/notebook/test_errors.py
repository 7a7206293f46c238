"""What a cell shows of errors: few lines, the user's own, and a real error output."""

import re
import subprocess
import sys

import nbformat
import pytest

MOST_LINES = 15

DEFINE = r"""
import asyncio, gc, json, sys
import pydantic
from stepwell import *

class Word(Event):
    text: str

class Model(pydantic.BaseModel):
    number: int
    numbers: list[int]

class Mute(Exception):
    def __str__(self):
        raise TypeError("no text")

class Broken(Workflow):
    @step
    async def prepare(self, ev: StartEvent) -> Word:
        return Word(text=ev.how)

    @step
    async def fail(self, ctx: Context, ev: Word) -> StopEvent:
        await FAILURES[ev.text]()
        return StopEvent()

class Stalled(Workflow):
    @step
    async def first(self, ev: StartEvent) -> Word:
        return Word(text="x")

    @step
    async def join(self, ctx: Context, ev: Word) -> StopEvent | None:
        return ctx.collect_events(ev, [Word] * 3)

FAILURES = {}

def failure(function):
    FAILURES[function.__name__] = function

def descend(n):
    if n == 0:
        return {}["missing"]
    return descend(n - 1)

def for_ever():
    return for_ever()

def load(name):
    try:
        return {}[name]
    except KeyError as error:
        raise LookupError(f"there is no {name}") from error

async def part(n):
    raise ValueError(f"part {n}")

@failure
async def deep():
    descend(13)

@failure
async def library():
    json.loads("{")

@failure
async def chain():
    load("file")

@failure
async def context():
    try:
        load("other file")
    except LookupError:
        1 / 0

@failure
async def group():
    async with asyncio.TaskGroup() as tasks:
        for n in range(9):
            tasks.create_task(part(n))

@failure
async def validation():
    Model(number="x", numbers=[1, "y", "z", "u"])

@failure
async def huge():
    raise RuntimeError("x" * 2_000_000)

@failure
async def long():
    raise RuntimeError("\n".join(f"line {n}" for n in range(500)))

@failure
async def mute():
    raise Mute

@failure
async def syntax():
    eval("1 +")

@failure
async def recursion():
    for_ever()

@failure
async def notes():
    error = ValueError("noted")
    for n in range(50):
        error.add_note(f"note {n}")
    raise error

@failure
async def hostile():
    raise ValueError("\x1b[31mred\x1b[0m <b>b</b> \u202e ünï 日本 \x07\r\nnext\x0cpage")

@failure
async def silent():
    raise AssertionError

@failure
async def stop():
    raise KeyboardInterrupt

@failure
async def leave():
    sys.exit(3)
"""

FAILURES = re.findall(r"@failure\nasync def (\w+)", DEFINE)

CELLS = {
    "stall": "await Stalled().run()",
    "signature": "@step\nasync def lost(x): ...",
    "positional": "Broken().run(1, 2)",
    "attribute": "handler = Broken().run(how='chain')\nhandler.reslt",
    "result": "handler.result()",
    "awaited again": "await handler",
    "run_sync": "Broken().run_sync(how='chain')",
    "gather": "await asyncio.gather(*(Broken().run(how='chain') for _ in range(3)))",
    "stream": """
        handler = Broken().run(how="chain")
        async for event in handler.stream_events():
            pass
        await handler
    """,
    "task group": """
        async def one(how):
            return await Broken().run(how=how)
        async with asyncio.TaskGroup() as group:
            for how in ("chain", "deep"):
                group.create_task(one(how))
    """,
    "exit in a task": "await asyncio.create_task(one('leave'))",
    "raised from": """
        try:
            await Broken().run(how="deep")
        except KeyError as error:
            raise RuntimeError("mine") from error
    """,
    "rag": "import stepwell.rag.errors\n"
    "raise stepwell.rag.errors.RagError('no documents\\nput some there')",
}
ASIDE = {
    "load": "%load_ext stepwell",
    "magic": "%workflow Nobody",
    "not ours": "1 / 0",
    "typo": "1 +",
    "whole": """
        try:
            await Broken().run(how="deep")
        except KeyError as caught:
            error, names = caught, []
            trace = error.__traceback__
            while trace:
                names.append(trace.tb_frame.f_code.co_name)
                trace = trace.tb_next
        names.count("descend"), error.__notes__
    """,
    "once more": "await Broken().run(how='deep')",
    "%tb": "%tb",
    "debugger": "get_ipython().InteractiveTB.tb is sys.last_value.__traceback__",
    "verbose": "%xmode Verbose\n%tb",
    "default again": "%xmode Context",
    "background": "_ = Broken().run(how='chain')",
    "next": "1",
    "next but one": "2",
    "noise": "del _\ngc.collect();",
    "shown": "shown = Broken().run(how='chain')\nshown",
    "after shown": "3",
    "many": "for _ in range(20): Broken().run(how='chain')",
    "after many": "4",
    "cancelled": "handler = Broken().run(how='chain')\nawait handler.cancel_run()",
    "last": "del handler\ngc.collect();",
}


@pytest.fixture(scope="module")
def cells(execute):
    """One notebook of errors."""
    named = {
        "define": DEFINE,
        **{name: f"await Broken().run(how={name!r})" for name in FAILURES},
        **CELLS,
        **ASIDE,
    }
    return dict(zip(named, execute(*named.values()), strict=True))


def lines_of(cell):
    return [plain(line) for line in cell.error_lines]


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("name", [*FAILURES, *CELLS])
def test_an_error_takes_few_lines_and_shows_nothing_of_ours(cells, name):
    text = "\n".join(cells[name].error.traceback)
    assert len(text.splitlines()) <= MOST_LINES
    assert max(map(len, plain(text).splitlines())) <= 300
    assert "site-packages" not in text
    assert "stepwell/" not in text
    assert "asyncio/" not in text


@pytest.mark.parametrize("name", FAILURES)
def test_an_error_of_a_step_says_which_step_event_and_attempt(cells, name):
    assert "in step `fail` of Broken, on Word, attempt 1" in lines_of(cells[name])
    (panel,) = cells[name].bundles
    assert panel["text/plain"].startswith("Broken: failed")


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("deep", "KeyError", "'missing'"),
        ("chain", "LookupError", "there is no file"),
        ("syntax", "SyntaxError", "invalid syntax (<string>, line 1)"),
        (
            "group",
            "ExceptionGroup",
            "unhandled errors in a TaskGroup (9 sub-exceptions)",
        ),
        ("mute", "Mute", "(no text: its __str__ raised TypeError)"),
        ("leave", "SystemExit", "3"),
        ("stop", "KeyboardInterrupt", ""),
        ("stall", "WorkflowStalledError", None),
        ("magic", "MagicError", None),
    ],
)
def test_the_error_output_bears_the_name_and_the_message(cells, name, kind, message):
    assert cells[name].error.ename == kind
    assert lines_of(cells[name])[0].startswith(kind)
    if message is not None:
        assert cells[name].error.evalue == message


def test_the_first_and_the_last_frame_of_the_user_are_shown(cells):
    lines = lines_of(cells["deep"])
    assert "… 14 frames of yours not shown" in lines
    assert lines[2].startswith("Cell In[1], line ")
    assert lines[2].endswith("in Broken.fail")
    assert any(re.match(r'-+> \d+ +return \{\}\["missing"\]', line) for line in lines)


def test_an_error_from_a_library_shows_the_users_line_and_names_the_library(cells):
    lines = lines_of(cells["library"])
    assert any(re.match(r'-+> \d+ +json\.loads\("\{"\)', line) for line in lines)
    assert any(line.startswith("raised in json (decoder.py, line") for line in lines)


def test_causes_take_a_line_each(cells):
    lines = lines_of(cells["context"])
    assert any(
        line.startswith("while handling LookupError: there is no") for line in lines
    )
    assert any(line.startswith("caused by KeyError: 'other file'") for line in lines)


def test_the_members_of_a_group_are_listed(cells):
    lines = lines_of(cells["group"])
    assert any(
        line.startswith("  1. ValueError: part 0 · Cell In[1]") for line in lines
    )
    assert "more" in "\n".join(lines)
    ours = lines_of(cells["task group"])
    assert "  1. LookupError: there is no file" in ours[1]
    assert "in step `fail` of Broken" in ours[2]


def test_long_messages_and_many_notes_are_cut_and_counted(cells):
    assert any(re.match("… 49. more lines", line) for line in lines_of(cells["long"]))
    assert any("more lines" in line for line in lines_of(cells["notes"]))
    assert "note 0" in lines_of(cells["notes"])


def test_control_characters_of_a_message_reach_no_page(cells):
    text = "\n".join(lines_of(cells["hostile"]))
    assert "red <b>b</b> \\u202e ünï 日本 \\x07" in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", text)


@pytest.mark.parametrize(
    "name", ["result", "awaited again", "run_sync", "gather", "stream"]
)
def test_an_error_looks_the_same_however_it_is_come_by(cells, name):
    lines = lines_of(cells[name])
    assert lines[:2] == lines_of(cells["chain"])[:2]
    assert any("raise LookupError" in line for line in lines)


def test_a_stall_shows_its_diagnosis_and_no_frames(cells):
    text = "\n".join(lines_of(cells["stall"]))
    assert "has 1 of 3 Word" in text
    assert "---->" not in text


@pytest.mark.parametrize("name", ["signature", "positional", "attribute"])
def test_an_error_of_the_engine_is_its_message_and_the_line(cells, name):
    lines = lines_of(cells[name])
    assert len(lines) <= 5
    assert any("Cell In[" in line for line in lines)


def test_an_exit_in_a_task_ends_the_run_and_not_the_kernel(cells):
    cell = cells["exit in a task"]
    assert cell.error.ename == "StepExited"
    assert "SystemExit was raised in step `fail` of Broken" in cell.error.evalue
    assert "return a StopEvent" in cell.error.evalue


def test_what_the_user_raises_from_an_error_of_a_run_is_short_too(cells):
    lines = lines_of(cells["raised from"])
    assert lines[0] == "RuntimeError: mine"
    assert any(line.startswith("caused by KeyError: 'missing'") for line in lines)


def test_the_error_says_how_the_run_may_go_on(cells):
    for name in ("deep", "syntax", "mute", "stream"):
        assert lines_of(cells[name])[-1] == (
            "After mending it: await _handler.resume()"
        )
    # Several ended, and `_handler` can name only one.
    assert "resume" not in "\n".join(lines_of(cells["raised from"]))


def test_an_error_of_the_rag_parts_is_its_message_and_the_line(cells):
    lines = lines_of(cells["rag"])
    assert lines[:2] == ["RagError: no documents", "put some there"]
    assert len(lines) == 3


def test_errors_that_are_not_ours_look_as_ever(cells):
    assert lines_of(cells["not ours"])[1].endswith("Traceback (most recent call last)")
    assert lines_of(cells["typo"])[-1] == "SyntaxError: invalid syntax"


def test_a_caught_exception_keeps_its_whole_traceback(cells):
    assert cells["whole"].value.startswith("(14, ['in step `fail` of Broken")


def test_the_tools_of_ipython_work_on_the_last_error(cells):
    assert lines_of(cells["%tb"]) == lines_of(cells["once more"])
    assert cells["debugger"].value == "True"
    whole = "\n".join(lines_of(cells["verbose"]))
    assert whole.count("descend(n - 1)") > 10
    assert "handler.py" in whole


def test_a_failure_in_the_background_is_told_once_below_the_next_cell(cells):
    after = [cells[name].printed for name in ("next", "next but one", "noise")]
    told = [text for text in (cells["background"].printed, *after) if text]
    assert len(told) == 1
    assert re.fullmatch(
        r"The run of Broken \(cell In\[\d+\]\) failed: LookupError: there is no file\. "
        "Await its handler to see where.\n",
        told[0],
    )


def test_a_failure_that_a_panel_shows_is_told_by_nothing_else(start_kernel):
    kernel = start_kernel()
    kernel.run(DEFINE)
    shown = kernel.run("handler = Broken().run(how='chain')\nhandler")
    assert shown.bundles
    after = kernel.run(
        "from stepwell.notebook.panel import panel_of\n"
        "await panel_of(handler).wait_for_end()\nhandler.status"
    )
    assert after.value == "'failed'"
    assert shown.printed + after.printed + kernel.run("1").printed == ""


def test_many_failures_in_the_background_are_told_in_few_lines(cells):
    printed = cells["many"].printed + cells["after many"].printed
    assert len(printed.splitlines()) <= 5
    assert "more runs failed" in printed


def test_a_cancelled_run_makes_no_noise(cells):
    assert cells["cancelled"].outputs == cells["last"].outputs == []


def test_a_failing_run_fails_nbconvert(tmp_path):
    cell = nbformat.v4.new_code_cell
    made = nbformat.v4.new_notebook(
        cells=[cell(DEFINE.strip()), cell("await Broken().run(how='deep')"), cell("1")]
    )
    path = tmp_path / "failing.ipynb"
    nbformat.write(made, path)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "jupyter",
            "nbconvert",
            "--to",
            "html",
            "--execute",
            path,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "KeyError" in done.stderr
    assert "in step `fail` of Broken, on Word, attempt 1" in done.stderr
