"""Commands: what the machine tells the run to do. The answer to a fact.

Plain objects with slots; deciding on them is the business of `machine`, carrying
them out that of `cycle`. The commonest command has no class: a `StepCall` among them
says to perform that call. The facts they answer are in `journals.base`.
"""

from __future__ import annotations

from stepwell.calls import StepCall
from stepwell.events import Event, StopEvent

__all__ = [
    "Command",
    "DropTimer",
    "Ended",
    "Order",
    "Publish",
    "Quiet",
    "Reply",
    "Resume",
    "StopCall",
    "WakeAt",
]


class Order:
    """An order to the run. Its fields are its constructor's arguments."""

    __slots__ = ()


class StopCall(Order):
    """Cancel a call that runs; its end is reported as any other."""

    __slots__ = ("call",)

    def __init__(self, call: StepCall) -> None:
        self.call = call


class Publish(Order):
    """Show an event on the stream; `internal` ones only to those who ask.

    `call_id` is the call that it is of, 0 for none.
    """

    __slots__ = ("call_id", "event", "internal")

    def __init__(self, event: Event, internal: bool = False, call_id: int = 0) -> None:
        self.event = event
        self.internal = internal
        self.call_id = call_id


class Reply(Order):
    """Answer the call that asked to collect events."""

    __slots__ = ("events",)

    def __init__(self, events: list[Event] | None) -> None:
        self.events = events


class Resume(Order):
    """Let a call that waited go on: with an event, or None when time is up."""

    __slots__ = ("event", "wait_id")

    def __init__(self, wait_id: int, event: Event | None) -> None:
        self.wait_id = wait_id
        self.event = event


class WakeAt(Order):
    """Send `TimerFired(timer)` at `at` seconds of the run."""

    __slots__ = ("at", "timer")

    def __init__(self, at: float, timer: int) -> None:
        self.at = at
        self.timer = timer


class DropTimer(Order):
    """Do not send `TimerFired(timer)` any more."""

    __slots__ = ("timer",)

    def __init__(self, timer: int) -> None:
        self.timer = timer


class Quiet(Order):
    """Nothing runs any more: send `Settled` after one turn of the event loop."""

    __slots__ = ()


class Ended(Order):
    """The run is over: stop what still runs, then give the outcome.

    Attributes:
        stop: The event to put last on the stream.
        error: What awaiting the run raises; None for a result.
        status: done, failed, cancelled, timed out or stalled.
    """

    __slots__ = ("error", "status", "stop")

    def __init__(
        self, stop: StopEvent, error: BaseException | None, status: str
    ) -> None:
        self.stop = stop
        self.error = error
        self.status = status


Command = Order | StepCall
