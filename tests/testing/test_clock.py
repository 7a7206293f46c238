"""`VirtualClock`: time that jumps from timer to timer."""

import asyncio
import time

import pytest

from stepwell.testing import VirtualClock


def test_sleeping_takes_no_time_and_is_counted():
    clock = VirtualClock()
    before = time.monotonic()
    assert clock.run(asyncio.sleep(86_400, "a day later")) == "a day later"
    assert clock.now == 86_400
    assert time.monotonic() - before < 60


def test_timers_end_in_the_order_of_their_times():
    ended = []

    async def nap(seconds):
        await asyncio.sleep(seconds)
        ended.append(seconds)

    async def main():
        await asyncio.gather(nap(30), nap(10), nap(20))

    clock = VirtualClock()
    clock.run(main())
    assert ended == [10, 20, 30]
    assert clock.now == 30


def test_a_timeout_strikes_before_what_takes_longer():
    async def main():
        async with asyncio.timeout(5):
            await asyncio.sleep(10)

    clock = VirtualClock()
    with pytest.raises(TimeoutError):
        clock.run(main())
    assert clock.now == 5


def test_one_clock_goes_on_over_several_runs():
    clock = VirtualClock()
    clock.run(asyncio.sleep(1))
    clock.run(asyncio.sleep(2))
    assert clock.now == 3
