"""Cells that are run again: what was defined anew, what goes on, what is resumed."""

import pytest

DEFINE = """
import asyncio
from stepwell import *

class Text(Event):
    text: str

reads = []

class Flow(Workflow):
    @step
    async def read(self, ev: StartEvent) -> Text:
        reads.append(ev.path)
        return Text(text="words")

    @step
    async def count(self, ctx: Context, ev: Text) -> StopEvent:
        await ctx.set("seen", True)
        return StopEvent(result=len(ev.text) / self.none)

    none = 0
"""
MENDED = DEFINE.replace("reads = []", "").replace("/ self.none", "")


def test_a_failed_step_is_mended_and_the_run_goes_on(execute):
    _, failed, _, resumed, reads, again, panel = execute(
        DEFINE,
        "await Flow().run(path='a.txt')",
        MENDED,
        "await _handler.resume()",
        "reads",
        "await _handler.resume()",
        "_handler.resumed_from.status, _handler.status",
    )
    assert failed.error.ename == "ZeroDivisionError"
    assert "await _handler.resume()" in "\n".join(failed.error.traceback)
    assert resumed.value == "5"
    assert resumed.bundles[0]["text/plain"].startswith(
        "Flow: done · 2/2 steps · 1 call"
    )
    assert reads.value == "['a.txt']"
    assert "has its result" in again.error.evalue
    assert panel.value == "('failed', 'done')"


def test_a_step_cell_that_is_run_again_mends_a_run_too(execute):
    cell = """%%step Flow
def count(ev: Text) -> StopEvent:
    return StopEvent(result={})"""
    *_, failed, _, resumed = execute(
        "%load_ext stepwell\nfrom stepwell import *",
        "%%event Text\ntext: str",
        "%%workflow Flow --no-draw\n"
        "def read(ev: StartEvent) -> Text:\n    return Text(text=ev.path)\n"
        "def count(ev: Text) -> StopEvent:\n    return 1 / 0",
        "handler = Flow().run(path='abc')\nawait handler",
        cell.format("ev.text"),
        "await handler.resume()",
    )
    assert failed.error.ename == "ZeroDivisionError"
    assert resumed.value == "'abc'"


def test_a_run_of_the_old_class_goes_on_and_is_stale(execute):
    hold = DEFINE.replace("len(ev.text) / self.none", "await gate")
    *_, before, _, after, result, new = execute(
        "import asyncio; gate = asyncio.get_running_loop().create_future()",
        hold,
        "handler = Flow().run(path='a')\nhandler.is_stale",
        MENDED,
        "handler.is_stale",
        "gate.set_result('old')\nawait handler",
        "await Flow().run(path='b')",
    )
    assert (before.value, after.value) == ("False", "True")
    assert result.value == "'old'"
    assert new.value == "5"


@pytest.mark.parametrize("changed", ["events", "workflow"])
def test_a_module_that_is_edited_is_loaded_anew_by_autoreload(
    execute, tmp_path, monkeypatch, changed
):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    events = "from stepwell import Event\nclass Text(Event):\n    text: str\n"
    flow = (
        "from stepwell import *\nfrom their_events import Text\n"
        "class Flow(Workflow):\n"
        "    @step\n"
        "    async def read(self, ev: StartEvent) -> Text:\n"
        "        return Text(text='one', more=2)\n"
        "    @step\n"
        "    async def tell(self, ev: Text) -> StopEvent:\n"
        "        return StopEvent(result=ev.text)\n"
    )
    (tmp_path / "their_events.py").write_text(events)
    (tmp_path / "their_flow.py").write_text(flow)
    edits = {
        "events": ("their_events.py", events + "    more: int = 0\n"),
        "workflow": ("their_flow.py", flow.replace("ev.text", "ev.text * 2")),
    }
    name, text = edits[changed]
    edit = (
        "import os, time\n"
        f"open({str(tmp_path / name)!r}, 'w').write({text!r})\n"
        f"os.utime({str(tmp_path / name)!r}, (time.time() + 5,) * 2)"
    )
    *_, first, _, second, third = execute(
        "%load_ext autoreload\n%autoreload 2",
        "from their_flow import Flow\nold = Flow()",
        "await old.run()",
        edit,
        "await Flow().run()",
        "await old.run()",
    )
    assert first.value == "'one'"
    wanted = "'oneone'" if changed == "workflow" else "'one'"
    assert (second.value, third.value) == (wanted, wanted)
