"""What steps print and log: in their run's panel, or in the cell without one."""

import pytest

DEFINE = """
import asyncio, logging, sys, warnings
from stepwell import *

class Talk(Workflow):
    @step
    async def talk(self, ctx: Context, ev: StartEvent) -> Event:
        print("from the loop")
        await asyncio.to_thread(print, "from to_thread")
        logging.getLogger("mine").warning("logged %d", 3)
        sys.stderr.write("to stderr\\n")
        print("no end of line", end="")
        return Event()

    @step
    def thread(self, ev: Event) -> StopEvent:
        print("from a plain step <b>")
        try:
            1 / 0
        except ZeroDivisionError:
            logging.getLogger("mine").exception("went wrong")
        return StopEvent(result="over")
"""
SAID = [
    "[talk] from the loop",
    "[talk] from to_thread",
    "[talk] mine: logged 3",
    "[talk] to stderr",
    "[thread] from a plain step <b>",
    "[thread] mine: went wrong",
    "[thread] ZeroDivisionError: division by zero",
    "[talk] no end of line",
]


@pytest.fixture(scope="module")
def said(execute):
    cells = {
        "define": DEFINE,
        "before": "print('before')",
        "awaited": "await Talk().run()",
        "after": "print('after'); logging.warning('of the cell')",
        "unshown": "handler = Talk().run()\n"
        "async for _ in handler.stream_events(): pass",
        "configured": "logging.basicConfig(force=True)\nawait Talk().run()",
        "echo": "import stepwell\nstepwell.notebook.configure(echo=True)\n"
        "await Talk().run()",
        "off": "stepwell.notebook.configure(echo=False, panel='off')\n"
        "await Talk().run()",
        "wrong": "stepwell.notebook.configure(panel='tiny')",
        "many": "stepwell.notebook.configure(panel='live')\n"
        "_ = await asyncio.gather(*[Talk().run() for _ in range(9)])",
        "captured": "%%capture got\nprint('hidden')",
        "seen": "got.stdout",
        "unloaded": "%load_ext stepwell\n%unload_ext stepwell\nawait Talk().run()",
        "streams": "type(sys.stdout).__name__",
    }
    return dict(zip(cells, execute(*cells.values()), strict=True))


def lines_of(cell):
    (panel,) = [b for b in cell.bundles if "text/html" in b]
    return panel["text/plain"].splitlines()[1:]


def test_prints_and_logs_of_steps_go_to_their_panel(said):
    assert lines_of(said["awaited"]) == SAID
    assert said["awaited"].printed == ""
    assert "from a plain step &lt;b&gt;" in said["awaited"].bundles[0]["text/html"]


def test_the_cells_own_prints_and_logs_stay_where_they_were(said):
    assert said["before"].printed == "before\n"
    assert said["after"].printed.splitlines().count("after") == 1
    assert "WARNING:root:of the cell\n" in said["after"].printed
    assert said["seen"].value == "'hidden\\n'"


def test_without_a_panel_prints_go_to_the_cell(said):
    for cell in ("unshown", "off"):
        assert "from the loop\nfrom to_thread\n" in said[cell].printed
        assert "logged 3" in said[cell].printed


def test_a_handler_that_writes_to_stderr_does_not_say_it_twice(said):
    assert lines_of(said["configured"]) == SAID
    assert said["configured"].printed == ""


def test_echo_shows_them_in_both_places(said):
    assert lines_of(said["echo"]) == SAID
    assert "from the loop\nfrom to_thread\n" in said["echo"].printed


def test_another_choice_is_refused_with_those_there_are(said):
    assert "live, final, off" in said["wrong"].error.evalue


def test_runs_that_share_a_table_lose_no_line(said):
    assert said["many"].printed.count("from the loop") == 9
    (table,) = said["many"].bundles
    assert table["text/plain"] == "9 runs: 9 done"


def test_unloading_gives_the_streams_back(said):
    assert "from the loop" in said["unloaded"].printed
    assert said["streams"].value == "'OutStream'"


WITHIN = """
import contextlib, io

class Inner(Workflow):
    @step
    async def inner(self, ctx: Context, ev: StartEvent) -> StopEvent:
        print("from within")
        logging.getLogger("mine").warning("logged within")
        return StopEvent()

class Outer(Workflow):
    @step
    async def by_ctx(self, ctx: Context, ev: StartEvent) -> Event:
        await ctx.run(Inner())
        return Event()

    @step
    async def by_hand(self, ev: Event) -> StopEvent:
        await Inner().run()
        return StopEvent()
"""
ODD = """
import threading

class Odd(Workflow):
    @step
    async def bar(self, ev: StartEvent) -> Event:
        for n in range(3):
            print(f"{n}0%", end="\\r", flush=True)
        print("nul \\0, \\x1b[31mred\\x1b[0m")
        return Event()

    @step
    async def log(self, ev: Event) -> StopEvent:
        quiet = logging.getLogger("quiet")
        quiet.propagate = False
        quiet.addHandler(logging.NullHandler())
        quiet.warning("bad")
        print("it is bad", file=sys.stderr)
        own = logging.StreamHandler(sys.stderr)
        quiet.addHandler(own)
        quiet.warning("worse")
        print("it is worse", file=sys.stderr)
        quiet.warning("%d", "no number")
        quiet.removeHandler(own)
        warnings.warn("careful")
        with contextlib.redirect_stdout(io.StringIO()) as kept:
            print("kept")
        print(f"had {kept.getvalue()!r}")
        print("x" * 5_000_000)
        def late():
            over.wait()
            print("too late")
        globals()["thread"] = threading.Thread(target=late)
        thread.start()
        return StopEvent()

over = threading.Event()
"""


@pytest.fixture(scope="module")
def odd(execute):
    late = "over.set()\nthread.join()"
    return execute(
        DEFINE, WITHIN, "await Outer().run()", ODD, "await Odd().run()", late
    )


def test_what_runs_within_a_step_say_is_the_steps(odd):
    assert lines_of(odd[2]) == [
        "[by_ctx] from within",
        "[by_ctx] mine: logged within",
        "[by_hand] from within",
        "[by_hand] mine: logged within",
    ]
    assert odd[2].printed == ""


def test_lines_written_over_and_colours_are_shown_as_in_a_terminal(odd):
    bars = [line for line in lines_of(odd[4]) if line.startswith("[bar]")]
    assert bars == ["[bar] nul \0, red"]


def test_what_a_step_prints_after_logging_it_is_not_lost(odd):
    lines = [line for line in lines_of(odd[4]) if "bad" in line or "worse" in line]
    assert lines == [
        "[log] quiet: bad",
        "[log] it is bad",
        "[log] quiet: worse",
        "[log] it is worse",
    ]


def test_arguments_that_fit_no_message_and_warnings_are_told_of(odd):
    lines = lines_of(odd[4])
    assert "[log] --- Logging error ---" in lines
    assert any(line.endswith("UserWarning: careful") for line in lines)
    assert "[log] had 'kept\\n'" in lines


def test_five_megabytes_printed_at_once_are_cut_and_said_to_be(odd):
    assert "[log] … 4,900,000 letters not kept" in lines_of(odd[4])
    assert len(odd[4].bundles[0]["text/html"]) < 100_000


def test_a_thread_that_outlives_its_run_prints_to_a_cell(odd):
    assert "too late" in odd[5].printed + odd[4].printed
