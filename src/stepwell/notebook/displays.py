"""How a shell shows workflows, handlers and errors; installed once per shell.

Formatters are registered by type name, so nothing of the engine is touched. Only a
Jupyter kernel gets pictures and panels; a terminal keeps plain text and still gets
short errors.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

from stepwell import RunRecord, StepwellError, present_with

from . import failures, interrupts, kernel, nesting, output, tracebacks
from .chronicle import chronicle_html
from .comparison import Comparison, comparison_html, is_of_one_workflow
from .diagram import Diagram
from .history import History, last_time
from .markup import problem_html
from .panel import diagram_of, panel_of_record, show_handler
from .presenter import flush, present
from .svg import Mark

_MARK = "_stepwell_displays"


def install(ip: Any) -> None:
    """Register everything with a shell; a second call does nothing."""
    if getattr(ip, _MARK, False):
        return
    setattr(ip, _MARK, True)
    kernel.show_errors_by(ip, tracebacks.lines_of, tracebacks.text_of)
    ip.events.register("pre_run_cell", _before_cell)
    if not kernel.in_notebook():
        return
    ip.events.register("post_run_cell", _after_cell)
    formatter = ip.display_formatter
    formatter.mimebundle_formatter.for_type_by_name(
        "stepwell.workflow", "Workflow", bundle_of
    )
    formatter.mimebundle_formatter.for_type_by_name(
        "stepwell.classes", "WorkflowMeta", bundle_of
    )
    # The shell's own printer for classes would win over the bundle's text.
    formatter.formatters["text/plain"].for_type_by_name(
        "stepwell.classes", "WorkflowMeta", _print_class
    )
    formatter.ipython_display_formatter.for_type_by_name(
        "stepwell.handler", "WorkflowHandler", show_handler
    )
    for room, name, shown in (
        ("record", "RunRecord", bundle_of_record),
        ("comparison", "Comparison", bundle_of_comparison),
    ):
        formatter.mimebundle_formatter.for_type_by_name(f"stepwell.{room}", name, shown)
    ip.events.register("post_execute", flush)
    lead_output()
    present_with(present, failures.note)
    notices = logging.getLogger("stepwell.redefined")
    notices.setLevel(logging.INFO)
    notices.propagate = False
    notices.addHandler(_Notices())


def lead_output() -> None:
    """Lead what steps print into the logs of their runs, where those are shown."""
    if kernel.in_notebook():
        output.install()


def bundle_of(
    workflow: Any,
    include: Any = None,
    exclude: Any = None,
    *,
    marks: Mapping[str, Mark] | None = None,
) -> dict[str, str]:
    """What a workflow class or instance shows as a cell's last value."""
    try:
        if isinstance(workflow, type):
            return Diagram.of(workflow).bundle(marks=marks)
        return diagram_of(workflow).bundle()
    except StepwellError as error:
        # An unfinished workflow is a thing to look at, not an error of the cell.
        return {
            "text/html": problem_html(str(error)),
            "text/plain": _problem_line(workflow, error),
        }


def bundle_of_record(
    record: RunRecord, include: Any = None, exclude: Any = None
) -> dict[str, str]:
    """What a run's record shows as a cell's last value."""
    panel = panel_of_record(record)
    calls = list(record)
    if panel is None:
        history = History("Record", calls, dropped=record.dropped_calls)
        html = chronicle_html(history, None)
    else:
        history = History(
            panel.name,
            calls,
            changes=panel.view.states,
            steps=panel.diagram.steps_in_order(),
            dropped=record.dropped_calls,
            elapsed=max(panel.view.elapsed, last_time(calls)),
        )
        html = chronicle_html(history, panel.diagram, state=panel.state)
    return {"text/html": html, "text/plain": repr(record)}


def bundle_of_comparison(
    comparison: Comparison, include: Any = None, exclude: Any = None
) -> dict[str, str]:
    """What runs side by side show as a cell's last value."""
    alike = is_of_one_workflow(comparison)
    diagram = diagram_of(comparison.runs[-1].workflow) if alike else None
    html = comparison_html(comparison, diagram)
    return {"text/html": html, "text/plain": repr(comparison)}


def show_diagram(workflow: Any, *, marks: Mapping[str, Mark] | None = None) -> None:
    """Show a workflow's graph in the current cell, some of its steps marked."""
    kernel.show_once(bundle_of(workflow, marks=marks))


def _print_class(workflow: Any, printer: Any, cycle: bool) -> None:
    try:
        printer.text(Diagram.of(workflow).line())
    except StepwellError as error:
        printer.text(_problem_line(workflow, error))


def _problem_line(workflow: Any, error: StepwellError) -> str:
    kind = workflow if isinstance(workflow, type) else type(workflow)
    return f"<Workflow {kind.__name__}: {str(error).splitlines()[0]}>"


def _before_cell(_: Any) -> None:
    kernel.count_cell()
    if kernel.awaits_cell():
        interrupts.watch()


def _after_cell(result: Any) -> None:
    """Tell of runs that failed behind the cell's back; tidy up after its error."""
    error = getattr(result, "error_in_exec", None)
    if error is not None and nesting.advice_on(error):
        nesting.close_what_was_refused(error)
    interrupts.end()
    for line in failures.unseen():
        print(line, file=sys.stderr)


class _Notices(logging.Handler):
    """Prints what a re-run cell redefined, in that cell."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        print(self.format(record))
