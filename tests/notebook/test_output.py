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
