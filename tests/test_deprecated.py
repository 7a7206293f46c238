"""Names that programs from elsewhere use: they work, and say what to use instead."""

import asyncio
import warnings

import pytest

from stepwell import Context, StartEvent, StopEvent, Workflow, step
from stepwell.errors import (
    ContextStateError,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
)


class Echo(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        if "error" in ev:
            raise ev.error
        return StopEvent(result=ev.get("x"))


class Endless(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        await asyncio.Event().wait()


def told(what, instead, act):
    """What a deprecated call gives; it must warn, and at the line that called it."""
    with pytest.warns(DeprecationWarning) as caught:
        result = act()
    [warning] = caught
    assert what in str(warning.message) and instead in str(warning.message)
    assert warning.filename == __file__
    return result


async def test_done_says_whether_the_run_is_over():
    handler = Echo().run()
    assert told("done()", "is_done()", lambda: handler.done()) is False
    await handler
    assert told("done()", "is_done()", lambda: handler.done()) is True


async def test_cancel_asks_the_run_to_stop():
    handler = Endless().run()
    told("cancel()", "cancel_run()", lambda: handler.cancel())
    with pytest.raises(WorkflowCancelledByUser, match=r"cancel\(\) was called"):
        await handler
    assert told("cancelled()", "status", lambda: handler.cancelled()) is True


async def test_cancel_after_the_end_does_nothing():
    handler = Echo().run(x=1)
    await handler
    told("cancel()", "cancel_run()", lambda: handler.cancel())
    assert await handler == 1


@pytest.mark.parametrize("fields", [{}, {"error": OSError()}], ids=["done", "failed"])
async def test_cancelled_is_false_for_a_run_that_ended_otherwise(fields):
    handler = Echo().run(**fields)
    assert told("cancelled()", "status", lambda: handler.cancelled()) is False
    await asyncio.wait([asyncio.ensure_future(handler.stop_event_result())])
    assert told("cancelled()", "status", lambda: handler.cancelled()) is False


async def test_exception_is_what_ended_the_run():
    error = OSError()
    failed, fine = Echo().run(error=error), Echo().run()
    assert told("exception()", "error", lambda: failed.exception()) is None
    await fine
    with pytest.raises(OSError):
        await failed
    assert told("exception()", "error", lambda: failed.exception()) is error
    assert told("exception()", "error", lambda: fine.exception()) is None


async def test_get_result_of_a_context_is_the_result_of_its_run():
    handler = Echo().run(x=3)
    await handler
    result = told("get_result()", "await", lambda: handler.ctx.get_result())
    assert result == 3


async def test_get_result_raises_what_ended_the_run():
    handler = Echo().run(error=OSError("mine"))
    with pytest.raises(OSError, match="mine"):
        await handler
    with pytest.warns(DeprecationWarning), pytest.raises(OSError, match="mine"):
        handler.ctx.get_result()


async def test_get_result_before_the_end_says_what_to_do():
    handler = Echo().run(x=3)
    with (
        pytest.warns(DeprecationWarning),
        pytest.raises((ContextStateError, WorkflowRuntimeError), match="await workf"),
    ):
        handler.ctx.get_result()
    with (
        pytest.warns(DeprecationWarning),
        pytest.raises(ContextStateError, match="none yet"),
    ):
        Context(Echo()).get_result()
    await handler


async def test_what_is_not_deprecated_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        handler = Echo().run(x=1)
        await handler
        assert handler.is_done() and handler.status == "done" and handler.error is None
