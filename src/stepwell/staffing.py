"""Who works: calls begin when a worker is free; the run's clock, and its end.

Between `state`, where all that is known about a run is held, and `routing`, which
says where events go. As there, no await, no clock, no I/O: what is to be done is put
into `_out`, for `cycle` to carry out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stepwell.calls import NOTHING, Branch, StepCall, Workers
from stepwell.commands import Command, DropTimer, Ended, Resume, WakeAt
from stepwell.diagnosis import too_many_visits
from stepwell.events import Event, StopEvent, WorkflowFailedEvent
from stepwell.plan import Plan
from stepwell.signature import StepSpec
from stepwell.state import RunState
from stepwell.waits import NO_WAITS, Wait

__all__ = ["Staffing"]


class Staffing(RunState):
    """Gives workers to calls, keeps the clock, and ends the run."""

    __slots__ = ("_out", "_start")

    def __init__(self, plan: Plan, timeout: float | None) -> None:
        super().__init__(plan, timeout)
        # What is to be done about a fact, and where calls that begin are put: among
        # that, or straight where they are performed.
        self._out: list[Command] = []
        self._start: Callable[[StepCall], object] | None = None

    def _offer(
        self,
        at: float,
        spec: StepSpec,
        event: Any,
        cause: int | None,
        branch: Branch | None,
        recoveries: Mapping[str, int],
    ) -> None:
        """Make a call of a step, and begin it or have it wait for a worker."""
        if self.over:
            return self._lose_track()  # a call before it went round too often
        if branch is not None:
            if branch.is_cut():
                return
            branch.fanout.alive += 1
        workers = self._workers[spec.index] or self._workers_of(spec)
        number = self._next_call
        self._next_call = number + 1
        self._admit(at, StepCall(number, workers, event, cause, branch, recoveries))

    def _admit(self, at: float, call: StepCall) -> None:
        """Begin a call, or have it wait for a worker."""
        if self.over:
            return self._lose_track()  # a call before it went round too often
        workers = call.workers
        if workers.busy < workers.spec.num_workers:
            self._begin(at, call)
        else:
            self.record.write_queued(call, at)
            workers.enqueue(call)

    def _begin(self, at: float, call: StepCall) -> None:
        workers = call.workers
        self._occupy(at, call)
        if call.attempt == 1:
            call.first_started = at
            workers.ran += 1
            limit = workers.spec.max_visits
            if limit is not None and workers.ran > limit:
                return self._fail(at, call, too_many_visits(self.plan, call))
        record = self.record
        call.started, call.status = at, "running"
        call.begun_as = record.number = record.number + 1
        if record.listeners:
            record.mark(call.begun_as, call, "running")
        if self._start is not None:
            self._start(call)
        else:
            self._out.append(call)

    def _release(self, at: float, call: StepCall) -> None:
        """Let others have the worker of a call."""
        workers = call.workers
        busy = workers.busy = workers.busy - 1
        if not busy:
            workers.free = None
        elif workers.free is None:
            workers.free = [call.worker]
        else:
            workers.free.append(call.worker)
        if workers.queue:
            self._fill(at, workers)

    def _fill(self, at: float, workers: Workers) -> None:
        """Begin the calls that wait, as far as there are workers."""
        queue, limit = workers.queue, workers.spec.num_workers
        while queue and workers.busy < limit:
            call = queue.popleft()
            if self._resuming and call.call_id in self._resuming:
                self._occupy(at, call)
                self._out.append(self._resuming.pop(call.call_id)[1])
            else:
                self._begin(at, call)

    def _wake_call(self, at: float, wait: Wait, event: Event | None) -> None:
        """Let a call go on with the event it waited for; None says time is up."""
        if wait.timer:
            self._out.append(DropTimer(wait.timer))
        call, resume = wait.call, Resume(wait.wait_id, event)
        if event is not None:
            past = call.own_past()
            past.answers = (*past.answers, event)
        if not self._waits.remove(wait):
            self._out.append(resume)
        elif call.workers.busy < call.spec.num_workers:
            self._occupy(at, call)
            self._out.append(resume)
        else:
            if self._resuming is NOTHING:
                self._resuming = {}
            self._resuming[call.call_id] = (call, resume)
            call.workers.enqueue(call, first=True)

    def _occupy(self, at: float, call: StepCall) -> None:
        """Give a call a worker and count it among the running ones."""
        if self.status == "waiting":
            self._resume(at)
        workers = call.workers
        free = workers.free
        call.worker = free.pop() if free else workers.busy
        workers.busy += 1
        self.calls[call.call_id] = call

    # -- the end ---------------------------------------------------------------

    def _fail(self, at: float, call: StepCall, error: BaseException) -> None:
        self.record.write_ended(call, at, "failed", error=error)
        stop = WorkflowFailedEvent(
            step_name=call.spec.name,
            exception=error,
            attempts=call.attempt,
            elapsed_seconds=at - call.first_started,
        )
        self.calls[call.call_id] = call  # it is among what is left to do
        if call.started is None:
            call.started = at  # or would be, had it not gone round too often
        self._end(at, stop, error, "failed")

    def _lose_track(self) -> None:
        """Note that not all is known of what is left: nobody can go on from there."""
        self.left = None

    def _end(
        self, at: float, stop: StopEvent, error: BaseException | None, status: str
    ) -> None:
        if error is not None:
            # Only a run that had begun and that somebody stopped is one to go on with.
            left = self.snapshot(at)
            resumable = left.is_running and status == "cancelled"
            self.left = left._replace(is_running=resumable)
        self.over = True
        self.status = status
        self.record.part()
        if self.record.open:
            self.calls.clear()
            for workers in self._workers:
                if workers is not None and workers.queue:
                    workers.queue.clear()
        self._resuming = self._delayed = self._joins = NOTHING
        self._recent = self._root = self._last_silent = None
        if self._waits is not NO_WAITS:
            self._waits.clear()
        self._out.append(Ended(stop, error, status))

    # -- the clock -------------------------------------------------------------

    def _wake(self, at: float) -> int:
        timer = self._next_timer
        self._next_timer += 1
        self._out.append(WakeAt(at, timer))
        return timer

    def _start_clock(self, at: float) -> None:
        self._clock_since = at
        if self.timeout is not None:
            self._clock_timer = self._wake(at + self.timeout - self._clock_used)

    def _stop_clock(self, at: float) -> None:
        if self._clock_since is not None:
            self._clock_used += at - self._clock_since
            self._clock_since = None
            if self._clock_timer:
                self._out.append(DropTimer(self._clock_timer))
                self._clock_timer = 0

    def _resume(self, at: float) -> None:
        if self.status == "waiting":
            self.status = "running"
        if self._clock_since is None:
            self._start_clock(at)
