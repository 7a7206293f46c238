"""Retry policies: which errors, after how long, until when."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell import StartEvent, StopEvent, Workflow, retry, step
from stepwell.retry import (
    ConstantDelayRetryPolicy,
    ExponentialBackoffRetryPolicy,
    RetryPolicy,
    retry_always,
    retry_if_exception,
    retry_if_exception_cause_type,
    retry_if_exception_message,
    retry_if_exception_type,
    retry_if_not_exception_message,
    retry_if_not_exception_type,
    retry_never,
    retry_policy,
    stop_after_attempt,
    stop_after_delay,
    stop_before_delay,
    stop_never,
    wait_chain,
    wait_exponential,
    wait_exponential_jitter,
    wait_fixed,
    wait_incrementing,
    wait_none,
    wait_random,
    wait_random_exponential,
)
from stepwell.testing import VirtualClock


def caused_by(cause: Exception) -> Exception:
    error = ValueError("outer")
    error.__cause__ = RuntimeError("between")
    error.__cause__.__cause__ = cause
    return error


CONDITIONS = [
    (retry_always(), ValueError(), True),
    (retry_never(), ValueError(), False),
    (retry_if_exception(lambda e: "busy" in str(e)), OSError("busy now"), True),
    (retry_if_exception_type(OSError), TimeoutError(), True),
    (retry_if_exception_type((OSError, KeyError)), ValueError(), False),
    (retry_if_not_exception_type(OSError), ValueError(), True),
    (retry_if_not_exception_type(OSError), OSError(), False),
    (retry_if_exception_message("busy"), OSError("busy"), True),
    (retry_if_exception_message("busy"), OSError("busy now"), False),
    (retry_if_exception_message(match=r"50\d"), OSError("status 503"), True),
    (retry_if_not_exception_message("busy"), OSError("busy"), False),
    (retry_if_exception_cause_type(OSError), caused_by(OSError()), True),
    (retry_if_exception_cause_type(OSError), OSError(), False),
    (retry_if_exception_type(OSError) & retry_never(), OSError(), False),
    (retry_if_exception_type(OSError) | retry_always(), ValueError(), True),
]


@pytest.mark.parametrize("condition, error, again", CONDITIONS)
def test_conditions(condition, error, again):
    assert condition(error) is again


def test_a_cause_that_is_its_own_cause_ends():
    error = ValueError()
    error.__cause__ = error
    assert not retry_if_exception_cause_type(OSError)(error)


WAITS = [
    (wait_none(), [0, 0, 0]),
    (wait_fixed(2), [2, 2, 2]),
    (wait_fixed(timedelta(minutes=1)), [60, 60, 60]),
    (wait_incrementing(1, 10, max=15), [1, 11, 15]),
    (wait_exponential(multiplier=3), [3, 6, 12]),
    (wait_exponential(min=2, max=3), [2, 2, 3]),
    (wait_chain(wait_fixed(1), wait_fixed(5)), [1, 5, 5]),
    (wait_fixed(1) + wait_exponential(), [2, 3, 5]),
    (wait_exponential_jitter(jitter=0), [1, 2, 4]),
]


@pytest.mark.parametrize("wait, delays", WAITS)
def test_waits_count_from_the_first_failure(wait, delays):
    assert [wait(n) for n in range(3)] == delays


RANDOM_WAITS = st.sampled_from(
    [
        wait_random(1, 2),
        wait_exponential(max=2),
        wait_exponential_jitter(max=2),
        wait_random_exponential(max=2),
        wait_incrementing(-5, 1, max=2),
    ]
)


@given(RANDOM_WAITS, st.integers(0, 100_000))
def test_no_wait_is_negative_or_above_its_cap(wait, attempts):
    assert 0 <= wait(attempts) <= 2


def test_stops():
    assert [stop_after_attempt(3)(n, 0) for n in (2, 3)] == [False, True]
    assert [stop_after_delay(10)(1, t) for t in (9, 10)] == [False, True]
    assert [stop_before_delay(10)(1, 6, t) for t in (3, 4)] == [False, True]
    assert not stop_never()(10**6, 10**6)
    either = stop_after_attempt(3) | stop_after_delay(10)
    both = stop_after_attempt(3) & stop_after_delay(10)
    assert either(3, 0) and either(1, 10) and not either(1, 1)
    assert both(3, 10) and not both(3, 0)


def test_the_default_policy_is_three_attempts_five_seconds_apart():
    policy = retry_policy()
    assert isinstance(policy, RetryPolicy)
    assert [policy.next(0, n, OSError()) for n in (1, 2, 3)] == [5, 5, None]


def test_the_two_named_policies():
    constant = ConstantDelayRetryPolicy(maximum_attempts=2, delay=1)
    assert [constant.next(0, n, OSError()) for n in (1, 2)] == [1, None]
    backoff = ExponentialBackoffRetryPolicy(maximum_attempts=4, jitter=False)
    assert [backoff.next(0, n, OSError()) for n in (1, 2, 3, 4)] == [1, 2, 4, None]


@given(st.integers(1, 50))
def test_jitter_takes_at_most_half(attempt):
    policy = ExponentialBackoffRetryPolicy(maximum_attempts=100, max_delay=8)
    full = min(8, 2.0 ** (attempt - 1))
    assert full / 2 <= policy.next(0, attempt, OSError()) <= full


def test_a_message_condition_needs_one_text():
    with pytest.raises(ValueError, match="either message= or match="):
        retry_if_exception_message()
    with pytest.raises(ValueError, match="at least one"):
        wait_chain()


def test_a_policy_in_a_run_waits_its_delays_and_gives_up_on_other_errors():
    errors = [TimeoutError("1"), TimeoutError("2"), KeyError("other")]
    times = []

    class Flow(Workflow):
        @step(
            retry_policy=retry_policy(
                retry=retry_if_exception_type(TimeoutError),
                wait=wait_exponential(),
                stop=stop_after_attempt(10),
            )
        )
        async def flaky(self, ev: StartEvent) -> StopEvent:
            times.append(asyncio.get_running_loop().time())
            raise errors[len(times) - 1]

    async def main():
        await Flow().run()

    with pytest.raises(KeyError, match="other"):
        VirtualClock().run(main())
    assert times == pytest.approx([0, 1, 3])


def test_every_name_is_in_the_face_too():
    import stepwell

    assert set(retry.__all__) <= set(stepwell.__all__)
