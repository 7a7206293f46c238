"""What a viewer, such as a notebook, is told of runs, and what it keeps alive."""

import asyncio
import traceback

import pytest

from stepwell import StartEvent, StopEvent, Workflow, present_with, step


class Failing(Workflow):
    @step
    async def fail(self, ev: StartEvent) -> StopEvent:
        raise ev.error


async def alone(handler, outcome):
    return await outcome


@pytest.fixture
def told():
    """The failures that a viewer is told of."""
    found = []
    before = present_with(alone, lambda *failure: found.append(failure))
    yield found
    present_with(before)


async def test_a_viewer_is_told_of_a_run_that_failed(told):
    handler = Failing().run(error=KeyError("x"))
    while not handler.is_done():
        await asyncio.sleep(0)
    ((name, error, outcome),) = told
    assert name == "Failing"
    assert error is handler.error is outcome.exception()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
async def test_an_exit_of_a_step_ends_its_run_and_not_the_viewers_loop(told, kind):
    handler = Failing().run(error=kind())
    while not handler.is_done():
        await asyncio.sleep(0)
    assert type(handler.error) is kind
    assert handler.status == "failed"


async def test_an_error_keeps_its_traceback_however_often_it_is_raised():
    handler = Failing().run(error=KeyError("x"))
    for _ in range(3):
        with pytest.raises(KeyError):
            await handler
        with pytest.raises(KeyError) as caught:
            handler.result()
        names = [frame.name for frame in traceback.extract_tb(caught.tb)]
        assert names.count("fail") == 1
        assert len(names) < 8
