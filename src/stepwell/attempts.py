"""What becomes of an attempt that failed: where it was, and when to try again.

The retry policy is asked here, outside the machine, because it may draw random
numbers; its answer rides in the fact. Waiting the delay out is up to `machine`.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

from stepwell.calls import StepCall
from stepwell.events import StepFailedEvent
from stepwell.hints import about_error
from stepwell.journals.base import CallFailed

__all__ = ["add_note", "failed", "step_failed"]


def failed(
    call: StepCall, error: BaseException, now: float, workflow: str
) -> CallFailed:
    """The fact of a failure, with a note on the exception that says where.

    Args:
        call: The call whose attempt failed.
        error: What it raised; another exception may take its place: that of a
            retry policy that raises, or what Python makes of `StopIteration`.
        now: Seconds since the run began.
        workflow: Name of the workflow.
    """
    step = call.spec.name
    error = _holdable(error, f"step `{step}`")
    event = call.event_name
    add_note(
        error, f"in step `{step}` of {workflow}, on {event}, attempt {call.attempt}"
    )
    advice = about_error(error)
    if advice is not None:
        add_note(error, advice)
    policy = call.spec.retry_policy
    delay: float | None = None
    if policy is not None and isinstance(error, Exception):
        try:
            elapsed = now - call.first_started
            delay = _checked(policy.next(elapsed, call.attempt, error))
        except Exception as refused:
            refused.__cause__ = refused.__cause__ or error
            error = _holdable(refused, "the retry policy")
            add_note(error, f"in the retry policy of step `{step}`")
    return CallFailed(now, call.call_id, error, delay)


def step_failed(
    call: StepCall, error: BaseException, at: float, wall: float
) -> StepFailedEvent:
    """What the `@catch_error` step of a call is given.

    Args:
        call: The call that failed for good.
        error: What its last attempt raised.
        at: When, in seconds of the run.
        wall: The time of day at second 0, in epoch seconds.
    """
    return StepFailedEvent(
        step_name=call.spec.name,
        input_event=call.event,
        exception=error,
        attempts=call.attempt,
        elapsed_seconds=at - call.first_started,
        failed_at=datetime.fromtimestamp(wall + at, UTC),
    )


def add_note(error: BaseException, note: str) -> None:
    """Add a note once; exceptions that take none, as frozen ones, stay as they are."""
    with contextlib.suppress(Exception):
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)


def _holdable(error: BaseException, who: str) -> BaseException:
    """The error, or what stands for a `StopIteration`: no future can hold one."""
    if not isinstance(error, StopIteration):
        return error
    turned = RuntimeError(f"{who} raised StopIteration")
    turned.__cause__ = error
    return turned


def _checked(delay: object) -> float | None:
    if delay is None or (isinstance(delay, int | float) and delay == delay):
        return delay
    raise TypeError(
        f"a retry policy's `next` gives seconds or None, not {delay!r}; it is a plain "
        "function, not an async one"
    )
