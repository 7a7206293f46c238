"""Contexts that LlamaIndex Workflows saved, taken over as far as they can be.

Their state is; of a run, what was queued, at work, to be tried again, or waiting for
an event. Runs in the middle of a join or a list of events are refused, because there
both engines mean different things. The library itself is not imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired

from typing_extensions import TypedDict

from stepwell.events import Event
from stepwell.left import CallLeft, Snapshot
from stepwell.saved import Count, Moment, Reader
from stepwell.serializers import JsonSerializer
from stepwell.signature import StepSpec

__all__ = ["take_over"]


class _Failure(TypedDict):
    exception_type: str
    exception_message: str


class _Attempt(TypedDict):
    event: str
    bound_events: NotRequired[dict[str, str] | None]
    attempts: NotRequired[Count]
    first_attempt_at: NotRequired[Moment | None]
    last_exception: NotRequired[_Failure | None]
    last_failed_at: NotRequired[Moment | None]
    recovery_counts: NotRequired[dict[str, Count]]
    not_before: NotRequired[Moment | None]
    scope_path: NotRequired[list[str]]
    collection_release_payload: NotRequired[dict[str, Any] | None]


class _Waiter(TypedDict):
    event: str
    waiting_for_event: str
    bound_events: NotRequired[dict[str, str] | None]
    resolved_event: NotRequired[str | None]
    work_item_id: NotRequired[str | None]


class _Worker(TypedDict):
    queue: NotRequired[list[_Attempt]]
    in_progress: NotRequired[list[_Attempt | str]]  # text alone, in version 1
    collected_events: NotRequired[dict[str, list[str]]]
    static_collect_events: NotRequired[list[str]]
    collected_waiters: NotRequired[list[_Waiter]]


class _Delivery(TypedDict):
    event: str
    step_id: NotRequired[str | None]


class _Context(TypedDict):
    workers: dict[str, _Worker]
    deliveries: NotRequired[list[_Delivery]]
    streams: NotRequired[dict[str, Any]]


def take_over(data: Mapping[str, Any], reader: Reader) -> Snapshot:
    """What a run of the other engine had left to do.

    Its clock starts anew: there, the time that people think counts too.

    Raises:
        ContextSerdeError: It does not fit the workflow, or cannot be taken over.
    """
    saved = reader.layout(_Context, dict(data))
    calls: list[CallLeft] = []

    def add(spec: StepSpec, event: Any, **more: Any) -> None:
        number = len(calls) + 1
        given = reader.given(spec, event)
        calls.append(CallLeft(spec.name, given, call_id=number, **more))

    if saved.get("streams"):
        _refuse(reader, "a list of events was worked on")
    for name, worker in saved["workers"].items():
        if not any(worker.values()):
            continue
        spec = reader.step(name)
        collected = worker.get("collected_events", {})
        if any(collected.values()) or worker.get("static_collect_events"):
            _refuse(reader, f"step `{name}` waited for the rest of its events")
        for each in (*worker.get("in_progress", ()), *worker.get("queue", ())):
            attempt: _Attempt = {"event": each} if isinstance(each, str) else each
            if attempt.get("scope_path") or attempt.get("collection_release_payload"):
                _refuse(reader, "a list of events was worked on")
            add(spec, _event(reader, spec, attempt), **_history(attempt))
        for waiters in _by_call(worker.get("collected_waiters", [])):
            add(
                spec,
                _event(reader, spec, waiters[0]),
                running=True,
                answers=_answers(reader, waiters),
                awaited=tuple(
                    waiter["waiting_for_event"]
                    for waiter in waiters
                    if not waiter.get("resolved_event")
                ),
            )
    for delivery in saved.get("deliveries", ()):
        event = reader.event(delivery["event"], "an event on its way")
        named = delivery.get("step_id")
        takers = reader.plan.route(type(event)).takers
        for spec in takers if named is None else [reader.step(named)]:
            if spec.joins:
                _refuse(reader, f"an event was on its way to step `{spec.name}`")
            add(spec, event)
    return Snapshot(calls=calls, next_call=len(calls) + 1)


def _refuse(reader: Reader, what: str) -> None:
    reader.refuse(
        f"it comes from another engine, which saved it while {what}; "
        "that cannot be taken over."
    )


def _event(reader: Reader, spec: StepSpec, given: _Attempt | _Waiter) -> Any:
    what = f"an event of step `{spec.name}`"
    texts = given.get("bound_events")
    if texts is None:
        return reader.event(given["event"], what)
    bound = {name: reader.event(text, what) for name, text in texts.items()}
    return [bound[name] for name in spec.event_parameters if name in bound]


def _history(attempt: _Attempt) -> dict[str, Any]:
    """What happened to a call before, by the names that `CallLeft` has for it."""
    began, due = attempt.get("first_attempt_at"), attempt.get("not_before")
    told: dict[str, Any] = {
        "attempt": attempt.get("attempts", 0) + 1,
        "recoveries": attempt.get("recovery_counts", {}),
        "running": began is not None and due is None,
    }
    failure, failed = attempt.get("last_exception"), attempt.get("last_failed_at")
    if failure is None or failed is None:
        return told
    told |= {"last_error": _exception(failure), "last_failed": failed}
    if began is not None:
        told["spent"] = max(0.0, failed - began)
    if due is not None:
        # The whole delay again: how much of it was over, the data does not say.
        told["delay"] = max(0.0, due - failed)
    return told


def _exception(failure: _Failure) -> BaseException:
    import json  # late: a plain import of stepwell does without it

    message = failure["exception_message"]
    tagged = {
        "__is_exception": True,
        "value": {"message": message, "args": [message], "state": None},
        "qualified_name": failure["exception_type"],
    }
    error: BaseException = JsonSerializer().deserialize(json.dumps(tagged))
    return error


def _answers(reader: Reader, waiters: list[_Waiter]) -> tuple[Event, ...]:
    texts = [waiter.get("resolved_event") for waiter in waiters]
    return tuple(reader.event(text, "an answer") for text in texts if text)


def _by_call(waiters: list[_Waiter]) -> list[list[_Waiter]]:
    """The waits of each call together, in the order in which they began."""
    found: dict[str, list[_Waiter]] = {}
    for number, waiter in enumerate(waiters):
        found.setdefault(waiter.get("work_item_id") or str(number), []).append(waiter)
    return list(found.values())
