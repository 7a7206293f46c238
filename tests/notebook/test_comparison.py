"""Runs side by side: the figures, their text, and what a notebook shows of them."""

import asyncio
import base64
import re

import pytest

import stepwell
from stepwell import (
    Context,
    Event,
    RunRecord,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowHandler,
    compare,
    step,
)
from stepwell.notebook.comparison import comparison_html, is_of_one_workflow
from stepwell.notebook.diagram import Diagram
from stepwell.testing import VirtualClock

HOSTILE = "</script><img src=x onerror=pwned()>"


class Work(Event):
    seconds: float


class Job(Workflow):
    @step
    async def plan(self, ev: StartEvent) -> Work:
        return Work(seconds=ev.seconds)

    @step
    async def work(self, ev: Work, ctx: Context) -> StopEvent:
        ctx.count(prompt_tokens=7)
        await asyncio.sleep(ev.seconds)
        if ev.seconds > 100:
            raise RuntimeError(HOSTILE)
        return StopEvent(result=HOSTILE)


class Other(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent()


def run_all(*kinds_and_seconds) -> list[WorkflowHandler]:
    """Runs on a clock that jumps, all over."""

    async def main() -> list[WorkflowHandler]:
        runs = [kind(timeout=None).run(seconds=s) for kind, s in kinds_and_seconds]
        await asyncio.gather(*runs, return_exceptions=True)
        return runs

    return VirtualClock().run(main())


@pytest.fixture(scope="module")
def jobs() -> list[WorkflowHandler]:
    return run_all((Job, 2.0), (Job, 1.0), (Job, 200.0), (Other, 0.0))


def test_each_step_of_each_run_is_a_row(jobs):
    rows = compare(jobs[0], jobs[1]).to_rows()
    assert [(row["step"], row["run"]) for row in rows] == [
        ("plan", 1),
        ("plan", 2),
        ("work", 1),
        ("work", 2),
    ]
    assert rows[3]["calls"] == 1
    assert rows[3]["counts"] == {"prompt_tokens": 7.0}


def test_runs_are_measured_against_the_first(jobs):
    *_, slow, quick = compare(jobs[0], jobs[1]).to_rows()
    assert slow["ratio"] == pytest.approx(1.0)
    assert quick["ratio"] == pytest.approx(0.5)
    assert quick["difference"] == pytest.approx(-1.0)


def test_a_step_that_one_run_lacks_has_no_ratio(jobs):
    rows = {(r["step"], r["run"]): r for r in compare(jobs[0], jobs[3]).to_rows()}
    assert rows["work", 2]["calls"] == 0
    assert rows["work", 2]["ratio"] is None
    assert rows["only", 2]["ratio"] is None
    assert rows["only", 2]["difference"] is None


def test_a_comparison_is_a_table_of_text(jobs):
    lines = repr(compare(*jobs[:3])).splitlines()
    assert lines[0].split() == [
        *("1", "Job", "done", "2", "Job", "done", "3", "Job", "failed"),
    ]
    assert "1 in 1.000 s (0.50×)" in lines[3]


def test_a_run_that_failed_is_compared_by_its_error(jobs):
    done, failed = compare(jobs[0], jobs[2]).runs
    assert not done.failed and done.outcome == repr(HOSTILE)
    assert failed.failed and failed.outcome == f"RuntimeError: {HOSTILE}"
    assert failed.total.failed == 1


def test_records_can_be_compared_without_their_handlers(jobs):
    comparison = compare(jobs[0].record, jobs[1])
    assert comparison.runs[0].elapsed == pytest.approx(2.0)
    assert comparison.runs[0].name == "run"
    assert not is_of_one_workflow(comparison)


def test_a_run_that_goes_on_is_compared_as_it_stands():
    async def main() -> stepwell.Comparison:
        handler = Job(timeout=None).run(seconds=50.0)
        await asyncio.sleep(10)
        comparison = compare(handler, RunRecord())
        await handler
        return comparison

    going_on, empty = VirtualClock().run(main()).runs
    assert going_on.status == "running"
    assert going_on.elapsed == pytest.approx(10)
    assert [call.status for call in going_on.calls] == ["done", "running"]
    assert empty.calls == ()


def test_what_is_no_run_is_refused_with_advice(jobs):
    with pytest.raises(TypeError, match=r"a str as run 2.*\n.*handler = workflow\.run"):
        compare(jobs[0], "run")


# -- in a notebook --------------------------------------------------------------------


def test_runs_side_by_side_need_no_script_and_keep_texts_texts(jobs):
    html = comparison_html(compare(*jobs), None)
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "&lt;img src=x" in html
    assert html.count('alt="Timeline of run') == 4


def ticks(html: str) -> list[list[tuple[str, str]]]:
    """For each timeline the places and the words along its axis."""
    images = re.findall(r"data:image/svg\+xml;base64,([^\"]+)", html)
    drawn = [base64.b64decode(image).decode() for image in images]
    tick = r'<text class="t2" x="([^"]+)"[^>]*text-anchor="middle">([^<]+)'
    return [re.findall(tick, svg) for svg in drawn]


def test_the_timelines_of_runs_share_one_scale(jobs):
    first, second = ticks(comparison_html(compare(jobs[0], jobs[3]), None))
    assert first == second
    assert first[-1][1] == "2 s"


def test_the_graph_shows_what_became_of_each_step(jobs):
    comparison = compare(jobs[0], jobs[1])
    assert is_of_one_workflow(comparison)
    html = comparison_html(comparison, Diagram.of(Job))
    assert "run 2 against run 1" in html
    assert "0.50×" in html


def test_runs_without_calls_can_be_shown():
    comparison = compare(RunRecord(), RunRecord())
    assert "no calls yet" in comparison_html(comparison, None)
    assert repr(comparison)


def test_a_notebook_shows_runs_side_by_side(execute):
    cells = execute(
        """
        import stepwell
        from stepwell import *

        class Short(Workflow):
            @step
            async def only(self, ev: StartEvent) -> StopEvent:
                return StopEvent(result=1)

        first, second = Short().run(), Short().run()
        await first; await second
        """,
        "stepwell.compare(first, second)",
    )
    (bundle,) = cells[1].bundles
    assert set(bundle) == {"text/html", "text/plain"}
    assert "Graph of the workflow Short" in bundle["text/html"]
    assert "1 Short done" in bundle["text/plain"]
