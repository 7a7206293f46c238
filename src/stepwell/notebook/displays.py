"""How a shell shows workflows, handlers and errors; installed once per shell.

Formatters are registered by type name, so nothing of the engine is touched. Only a
Jupyter kernel gets pictures and panels; a terminal keeps plain text and still gets
short errors.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from stepwell import StepwellError, present_with

from . import kernel, tracebacks
from .diagram import Diagram
from .markup import problem_html
from .panel import diagram_of, show_handler
from .presenter import flush, present

_MARK = "_stepwell_displays"


def install(ip: Any) -> None:
    """Register everything with a shell; a second call does nothing."""
    if getattr(ip, _MARK, False):
        return
    setattr(ip, _MARK, True)
    tracebacks.install()
    ip.events.register("pre_run_cell", _before_cell)
    if not kernel.in_notebook():
        return
    ip.events.register("post_run_cell", _after_cell)
    formatter = ip.display_formatter
    formatter.mimebundle_formatter.for_type_by_name(
        "stepwell.workflow", "Workflow", bundle_of
    )
    formatter.mimebundle_formatter.for_type_by_name(
        "stepwell.workflow", "WorkflowMeta", bundle_of
    )
    # The shell's own printer for classes would win over the bundle's text.
    formatter.formatters["text/plain"].for_type_by_name(
        "stepwell.workflow", "WorkflowMeta", _print_class
    )
    formatter.ipython_display_formatter.for_type_by_name(
        "stepwell.handler", "WorkflowHandler", show_handler
    )
    ip.events.register("post_execute", flush)
    present_with(present)
    notices = logging.getLogger("stepwell.redefined")
    notices.setLevel(logging.INFO)
    notices.propagate = False
    notices.addHandler(_Notices())


def bundle_of(
    workflow: Any, include: Any = None, exclude: Any = None
) -> dict[str, str]:
    """What a workflow class or instance shows as a cell's last value."""
    try:
        if isinstance(workflow, type):
            return Diagram.of(workflow).bundle()
        return diagram_of(workflow).bundle()
    except StepwellError as error:
        # An unfinished workflow is a thing to look at, not an error of the cell.
        return {
            "text/html": problem_html(str(error)),
            "text/plain": _problem_line(workflow, error),
        }


def show_diagram(workflow: Any) -> None:
    """Show a workflow's graph in the current cell."""
    kernel.show_once(bundle_of(workflow))


def _print_class(workflow: Any, printer: Any, cycle: bool) -> None:
    try:
        printer.text(Diagram.of(workflow).line())
    except StepwellError as error:
        printer.text(_problem_line(workflow, error))


def _problem_line(workflow: Any, error: StepwellError) -> str:
    kind = workflow if isinstance(workflow, type) else type(workflow)
    return f"<Workflow {kind.__name__}: {str(error).splitlines()[0]}>"


def _before_cell(_: Any) -> None:
    tracebacks.install_rag()


def _after_cell(result: Any) -> None:
    """Say what to do about a pasted `asyncio.run(main())`."""
    error = getattr(result, "error_in_exec", None)
    if isinstance(error, RuntimeError) and "from a running event loop" in str(error):
        print(
            "In a notebook a loop runs already: write `await main()`, or call "
            "stepwell.notebook.allow_nested() once and run the cell again.",
            file=sys.stderr,
        )


class _Notices(logging.Handler):
    """Prints what a re-run cell redefined, in that cell."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        print(self.format(record))
