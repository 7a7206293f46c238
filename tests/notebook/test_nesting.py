"""Pasted `asyncio.run(main())`, and kernels in which something made loops nest."""

import pytest

DEFINE = """
import asyncio, gc, os, sys, time
from pathlib import Path
from stepwell import *

class Shout(Workflow):
    @step
    async def shout(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=ev.text.upper())

class Slow(Workflow):
    @step
    async def wait(self, ev: StartEvent) -> StopEvent:
        Path(os.environ["MARK"]).touch()
        if ev.how == "sleep":
            await asyncio.sleep(60)
        while True:
            time.sleep(0.001)

async def main():
    return await Shout().run(text="a")
"""

PASTED = {
    "asyncio.run": "asyncio.run(main())",
    "loop": "asyncio.get_event_loop().run_until_complete(main())",
    "new loop": "asyncio.new_event_loop().run_until_complete(main())",
    "Runner": "with asyncio.Runner() as runner:\n    runner.run(main())",
}


@pytest.fixture(scope="module")
def pasted(execute):
    """A notebook that has not called `allow_nested()`, and then does."""
    cells = {
        "define": DEFINE,
        **PASTED,
        "noise": "sys.last_value = sys.last_traceback = None\ngc.collect();",
        "unrelated": "raise RuntimeError('This event loop is already running wild')",
        "allow": "import stepwell.notebook\nstepwell.notebook.allow_nested()",
        **{f"{name} again": code for name, code in PASTED.items()},
        "awaited": "await Shout().run(text='b')",
        "after": "1 + 1",
    }
    return dict(zip(cells, execute(*cells.values()), strict=True))


@pytest.mark.parametrize("name", PASTED)
def test_the_error_says_in_one_line_what_to_do(pasted, name):
    lines = pasted[name].error_lines
    assert lines[-1] == (
        "In a notebook a loop runs already: write `await main()`, or call "
        "stepwell.notebook.allow_nested() once and run the cell again."
    )
    assert len(lines) <= 6
    assert pasted[name].error.ename == "RuntimeError"


def test_no_warning_of_a_coroutine_that_was_never_awaited_follows(pasted):
    assert not [
        name for name, cell in pasted.items() if "never awaited" in cell.printed
    ]


@pytest.mark.parametrize("name", ["asyncio.run again", "loop again", "new loop again"])
def test_after_allow_nested_the_same_cell_works(pasted, name):
    assert pasted["allow"].value == "'nest_asyncio2'"
    assert pasted[name].value == "'A'"


def test_after_allow_nested_awaited_runs_have_their_panel(pasted):
    panel, value = pasted["awaited"].bundles
    assert panel["text/plain"].startswith("Shout: done")
    assert value["text/plain"] == "'B'"
    assert pasted["after"].value == "2"


def test_interrupts_work_under_nest_asyncio2(start_kernel):
    kernel = start_kernel()
    kernel.run(DEFINE)
    kernel.run("import stepwell.notebook\nstepwell.notebook.allow_nested()")
    for how in ("sleep", "block"):
        cell = kernel.run(f"await Slow().run(how={how!r})", presses=1)
        assert cell.error.ename == "WorkflowInterrupted"
        assert kernel.seconds < 0.5
    assert kernel.run("await Shout().run(text='b')").value == "'B'"


def test_an_archived_nest_asyncio_is_told_of_once(execute):
    _, _, first, second, refused, _, allowed = execute(
        DEFINE,
        "import nest_asyncio\nnest_asyncio.apply()",
        "await Shout().run(text='a')",
        "await Shout().run(text='b')",
        "import stepwell.notebook\nstepwell.notebook.allow_nested()",
        "del asyncio._nest_patched",
        "stepwell.notebook.allow_nested()",
    )
    (told,) = first.printed.splitlines()
    assert told.startswith("nest_asyncio is archived and loses queued cells")
    assert "Restart the kernel" in told
    assert second.printed == ""
    assert second.value == "'B'"
    assert refused.error.ename == "WorkflowRuntimeError"
    assert "has applied nest_asyncio already" in refused.error.evalue
    assert allowed.value == "'nest_asyncio2'"


def test_nest_asyncio2_is_not_complained_about(execute):
    *_, run = execute(
        DEFINE,
        "import nest_asyncio2\nnest_asyncio2.apply()",
        "await Shout().run(text='a')",
    )
    assert run.printed == ""
