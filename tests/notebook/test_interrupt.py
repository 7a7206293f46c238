"""The stop button: a real kernel, interrupted while a cell waits for a run."""

import pytest

DEFINE = """
import asyncio, os, threading, time
from pathlib import Path
from stepwell import *

class Task(Event):
    how: str

class Work(Workflow):
    @step
    async def prepare(self, ctx: Context, ev: StartEvent) -> Task:
        await ctx.set("prepared", await ctx.get("prepared", 0) + 1)
        return Task(how=ev.how)

    @step
    async def work(self, ctx: Context, ev: Task) -> StopEvent:
        Path(os.environ["MARK"]).touch()
        if in_a_hurry:
            return StopEvent(result=f"{ev.how} after {await ctx.get('prepared')}")
        match ev.how:
            case "future":
                await asyncio.get_running_loop().create_future()
            case "sleep":
                await asyncio.sleep(60)
            case "busy":
                n = 0
                while True:
                    n += 1
            case "blocked":
                time.sleep(60)
            case "deaf":
                while not enough.is_set():
                    try:
                        await asyncio.wait_for(enough.wait(), 60)
                    except asyncio.CancelledError:
                        pass
            case "obliging":
                try:
                    time.sleep(60)
                except KeyboardInterrupt:
                    return StopEvent(result="what there is")
            case "touchy":
                try:
                    time.sleep(60)
                except KeyboardInterrupt as error:
                    raise RuntimeError("half a file is left") from error
        return StopEvent(result=f"done: {ev.how}")

class InThread(Workflow):
    @step
    def work(self, ev: StartEvent) -> StopEvent:
        Path(os.environ["MARK"]).touch()
        go_on.wait()
        return StopEvent(result="never seen")

in_a_hurry = False
enough, go_on = asyncio.Event(), threading.Event()

async def main(how):
    return await Work().run(how=how)

background = Work().run(how="future")
"""


@pytest.fixture(scope="module")
def kernel(start_kernel):
    kernel = start_kernel()
    assert kernel.run(DEFINE).outputs == []
    return kernel


def interrupt(kernel, code, presses=1):
    cell = kernel.run(code, presses=presses)
    assert kernel.seconds < 0.5
    # The kernel takes the next cell, and what runs behind it was not touched.
    assert kernel.run("background.status").value == "'running'"
    return cell


@pytest.mark.parametrize("how", ["future", "sleep", "busy", "blocked"])
def test_an_interrupt_stops_an_awaited_run_at_once(kernel, how):
    cell = interrupt(kernel, f"handler = Work().run(how={how!r})\nawait handler")
    assert cell.error.ename == "WorkflowInterrupted"
    assert "run of Work was cancelled" in cell.error.evalue
    assert "in `work`" in cell.error.evalue
    assert len(cell.error_lines) <= 6
    assert kernel.run("handler.status").value == "'cancelled'"


def test_the_error_names_the_line_that_never_awaited(kernel):
    cell = interrupt(kernel, "await Work().run(how='blocked')")
    assert "in Work.work: time.sleep(60)" in cell.error.evalue


@pytest.mark.parametrize("how", ["sleep", "blocked"])
def test_an_interrupted_run_can_go_on(kernel, how):
    cell = interrupt(kernel, f"handler = Work().run(how={how!r})\nawait handler")
    assert "`await _handler.resume()` goes on from there." in cell.error.evalue
    assert "prepared" in kernel.run("str(handler.ctx.to_dict())").value
    resumed = kernel.run("in_a_hurry = True\nawait _handler.resume()")
    kernel.run("in_a_hurry = False")
    assert resumed.value == f"'{how} after 1'"


def test_a_step_in_a_thread_is_left_behind_and_the_error_says_so(kernel):
    cell = interrupt(kernel, "handler = InThread().run()\nawait handler")
    assert cell.error.ename == "WorkflowInterrupted"
    assert "`work` runs in a thread, which cannot be stopped" in cell.error.evalue
    assert kernel.run("go_on.set()\nhandler.status").value == "'cancelled'"


def test_a_step_that_swallows_its_cancellation_is_left_behind(kernel):
    cell = interrupt(kernel, "handler = Work().run(how='deaf')\nawait handler")
    assert cell.error.ename == "WorkflowInterrupted"
    assert "`work` swallows its cancellation" in cell.error.evalue
    after = kernel.run(
        "enough.set()\nwhile not handler.is_done():\n    await asyncio.sleep(0)"
    )
    assert after.outputs == []
    assert kernel.run("handler.status").value == "'cancelled'"


def test_a_step_may_catch_the_interrupt_and_give_what_it_has(kernel):
    cell = interrupt(kernel, "await Work().run(how='obliging')")
    assert cell.value == "'what there is'"


def test_what_a_step_makes_of_the_interrupt_is_what_the_cell_shows(kernel):
    cell = interrupt(kernel, "await Work().run(how='touchy')")
    assert cell.error.ename == "RuntimeError"
    assert cell.error.evalue == "half a file is left"


@pytest.mark.parametrize("how", ["future", "blocked"])
def test_all_runs_that_a_cell_gathers_are_stopped(kernel, how):
    cell = interrupt(
        kernel,
        f"""
        runs = [Work().run(how={how!r}) for _ in range(3)]
        await asyncio.gather(*runs)
        """,
    )
    assert cell.error.ename == "WorkflowInterrupted"
    assert kernel.run("{run.status for run in runs}").value == "{'cancelled'}"


def test_a_task_group_shows_one_interrupt(kernel):
    cell = interrupt(
        kernel,
        """
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(main("sleep"))
        """,
    )
    assert "WorkflowInterrupted" in cell.error_lines[0]
    assert len(cell.error_lines) <= 6


@pytest.mark.parametrize("await_it", ["main('{}')", "asyncio.create_task(main('{}'))"])
@pytest.mark.parametrize("how", ["future", "busy"])
def test_a_run_within_the_users_own_coroutine_is_stopped(kernel, await_it, how):
    cell = interrupt(kernel, f"await {await_it.format(how)}")
    assert cell.error.ename == "WorkflowInterrupted"


@pytest.mark.parametrize("how", ["future", "busy"])
def test_run_sync_is_stopped(kernel, how):
    cell = interrupt(kernel, f"Work().run_sync(how={how!r})")
    assert cell.error.ename == "KeyboardInterrupt"
    assert len(cell.error_lines) <= 4
    assert "the run that it waited for was cancelled" in cell.error_lines[-1]
    assert kernel.run("Work().run_sync(how='nothing')").value == "'done: nothing'"


def test_pressing_again_and_again_does_no_harm(kernel):
    cell = interrupt(kernel, "await Work().run(how='sleep')", presses=3)
    assert cell.error.ename == "WorkflowInterrupted"


def test_a_cell_that_reads_a_stream_ends_and_its_run_goes_on(kernel):
    cell = interrupt(
        kernel,
        """
        handler = Work().run(how="sleep")
        async for event in handler.stream_events():
            pass
        """,
    )
    assert cell.error.ename == "CancelledError"
    assert len(cell.error_lines) <= 6
    assert "Runs that it did not await go on" in cell.error_lines[-1]
    assert kernel.run("handler.status").value == "'running'"
    kernel.run("await handler.cancel_run()")


def test_after_an_interrupt_a_timeout_is_a_timeout_again(kernel):
    cell = interrupt(
        kernel,
        """
        from stepwell.notebook import WorkflowInterrupted
        try:
            await Work().run(how="sleep")
        except WorkflowInterrupted:
            pass
        await asyncio.sleep(0)
        """,
    )
    assert not [output for output in cell.outputs if output.output_type == "error"]
    later = kernel.run(
        """
        try:
            await asyncio.wait_for(Work().run(how="sleep"), 0.1)
        except TimeoutError:
            print("in time")
        """
    )
    assert later.printed == "in time\n"


def test_other_cancellations_are_no_interrupt(kernel):
    cell = kernel.run(
        """
        try:
            await asyncio.wait_for(Work().run(how="sleep"), 0.1)
        except TimeoutError:
            print("in time")
        """
    )
    assert cell.printed == "in time\n"
