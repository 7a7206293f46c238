"""What `Workflow(verbose=True)` prints: a line when a step starts and when it ends."""

from __future__ import annotations

import contextlib
from typing import Any

from stepwell.record import RunRecord
from stepwell.rows import CallRecord

__all__ = ["Chatter"]


class Chatter:
    """Prints what a run's record tells of calls, as far as it is not printed yet."""

    def __init__(self, record: RunRecord) -> None:
        record.listen()
        self._record = record
        self._next = 0

    def go_on(self) -> None:
        """Print what is new."""
        record = self._record
        new = record.marks[max(0, self._next - record.marks_start) :]
        self._next = record.marks_start + len(record.marks)
        for _, row, status in new:
            if status and status != "queued":
                # A closed or broken output is no reason to fail a run.
                with contextlib.suppress(OSError, ValueError):
                    print(_line(row, status))


def _line(row: Any, status: str) -> str:
    call = CallRecord(row)
    if status == "running":
        return f"Running step {call.step}"
    if call.error is not None:
        kind = call.error.split(":")[0]
        return f"Step {call.step} raised {kind} ({call.status})"
    made = ", ".join(call.outputs)
    what = f"event {made}" if made else "no event"
    return f"Step {call.step} produced {what}"
