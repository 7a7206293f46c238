"""What `Workflow(verbose=True)` prints: a line when a step starts and when it ends."""

from __future__ import annotations

import contextlib

from stepwell.calls import StepCall
from stepwell.record import RunRecord

__all__ = ["Chatter"]


class Chatter:
    """Prints what a run's record tells of calls, as far as it is not printed yet."""

    def __init__(self, record: RunRecord) -> None:
        self._record = record
        self._next = 0

    def go_on(self) -> None:
        """Print what is new."""
        record = self._record
        new = record.marks[max(0, self._next - record.marks_start) :]
        self._next = record.marks_start + len(record.marks)
        for call, status in zip(new[::2], new[1::2], strict=True):
            if isinstance(call, StepCall) and status != "queued":
                # A closed or broken output is no reason to fail a run.
                with contextlib.suppress(OSError, ValueError):
                    print(_line(call, str(status)))


def _line(call: StepCall, status: str) -> str:
    name = call.spec.name
    if status == "running":
        return f"Running step {name}"
    if call.error is not None:
        return f"Step {name} raised {call.error.split(':')[0]} ({status})"
    made = ", ".join(kind.__name__ for kind in call.outputs)
    return (
        f"Step {name} produced event {made}"
        if made
        else (f"Step {name} produced no event")
    )
