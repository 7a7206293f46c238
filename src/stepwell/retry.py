"""Whether to try a failed step again, and after how long.

A policy is any object with `next`. `retry_policy` builds one from three small
answers: which errors (`retry_…`, joined by `&` and `|`), after how long
(`wait_…`, added by `+`), and until when (`stop_…`, joined by `&` and `|`). When a
policy is asked, and how a delay is waited out, is the business of `run` and
`machine`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol, runtime_checkable

__all__ = [
    "ConstantDelayRetryPolicy",
    "ExponentialBackoffRetryPolicy",
    "RetryCondition",
    "RetryInfo",
    "RetryPolicy",
    "StopCondition",
    "WaitStrategy",
    "retry_all",
    "retry_always",
    "retry_any",
    "retry_if_exception",
    "retry_if_exception_cause_type",
    "retry_if_exception_message",
    "retry_if_exception_type",
    "retry_if_not_exception_message",
    "retry_if_not_exception_type",
    "retry_never",
    "retry_policy",
    "retry_unless_exception_type",
    "stop_after_attempt",
    "stop_after_delay",
    "stop_all",
    "stop_any",
    "stop_before_delay",
    "stop_never",
    "wait_chain",
    "wait_combine",
    "wait_exponential",
    "wait_exponential_jitter",
    "wait_fixed",
    "wait_full_jitter",
    "wait_incrementing",
    "wait_none",
    "wait_random",
    "wait_random_exponential",
]

_Seconds = float | timedelta
_Errors = type[BaseException] | tuple[type[BaseException], ...]


class RetryInfo(NamedTuple):
    """Where a step stands in its attempts; given by `ctx.retry_info()`.

    Attributes:
        retry_number: 0 in the first attempt, 1 in the first retry.
        elapsed_seconds: Since the first attempt began; 0 in the first attempt.
        last_exception: What the attempt before raised, None in the first.
        last_failed_at: When it did, with UTC as time zone; None in the first.
    """

    retry_number: int
    elapsed_seconds: float
    last_exception: BaseException | None
    last_failed_at: datetime | None


@runtime_checkable
class RetryPolicy(Protocol):
    """Decides after each failure of a step."""

    def next(
        self, elapsed_time: float, attempts: int, error: Exception
    ) -> float | None:
        """Say how long to wait before the next attempt.

        Args:
            elapsed_time: Seconds since the first attempt began.
            attempts: Attempts that failed so far, counted from 1.
            error: What the last attempt raised.

        Returns:
            Seconds to wait, or None to give up.
        """
        ...


class RetryCondition:
    """Whether an error is worth another attempt; joins with `&` and `|`.

    Args:
        test: Gets the error.
    """

    def __init__(self, test: Callable[[BaseException], bool]) -> None:
        self._test = test

    def __call__(self, error: BaseException) -> bool:
        """Whether to try again after `error`."""
        return self._test(error)

    def __and__(self, other: RetryCondition) -> RetryCondition:
        """Both must say yes."""
        return retry_all(self, other)

    def __or__(self, other: RetryCondition) -> RetryCondition:
        """One must say yes."""
        return retry_any(self, other)


class WaitStrategy:
    """How long to wait before the next attempt; adds up with `+`.

    Args:
        delay: Gets the number of attempts before the last one, so 0 the first
            time; gives seconds. What is below zero counts as zero.
    """

    def __init__(self, delay: Callable[[int], float]) -> None:
        self._delay = delay

    def __call__(self, attempts: int) -> float:
        """Seconds to wait after `attempts` earlier failures, from 0."""
        return max(0.0, self._delay(attempts))

    def __add__(self, other: WaitStrategy) -> WaitStrategy:
        """The sum of both delays."""
        return wait_combine(self, other)


class StopCondition:
    """Whether to give up; joins with `&` and `|`.

    Args:
        test: Gets the number of failed attempts, the seconds since the first one
            began, and the seconds that would now be waited.
    """

    def __init__(self, test: Callable[[int, float, float], bool]) -> None:
        self._test = test

    def __call__(self, attempts: int, elapsed: float, upcoming: float = 0.0) -> bool:
        """Whether to give up after `attempts` failures in `elapsed` seconds."""
        return self._test(attempts, elapsed, upcoming)

    def __and__(self, other: StopCondition) -> StopCondition:
        """Both must say stop."""
        return stop_all(self, other)

    def __or__(self, other: StopCondition) -> StopCondition:
        """One must say stop."""
        return stop_any(self, other)


# -- which errors ------------------------------------------------------------------


def retry_if_exception(predicate: Callable[[BaseException], bool]) -> RetryCondition:
    """Errors for which `predicate` is true."""
    return RetryCondition(predicate)


def retry_if_exception_type(exception_types: _Errors = Exception) -> RetryCondition:
    """Errors of these classes."""
    return RetryCondition(lambda error: isinstance(error, exception_types))


def retry_if_not_exception_type(exception_types: _Errors) -> RetryCondition:
    """Errors of other classes than these."""
    return RetryCondition(lambda error: not isinstance(error, exception_types))


retry_unless_exception_type = retry_if_not_exception_type


def retry_if_exception_message(
    message: str | None = None, match: str | re.Pattern[str] | None = None
) -> RetryCondition:
    """Errors whose text is `message`, or holds a match of the pattern `match`.

    Raises:
        ValueError: Not exactly one of the two was given.
    """
    if (message is None) == (match is None):
        raise ValueError("give either message= or match=, and not both")
    exactly = rf"\A{re.escape(message or '')}\Z"
    pattern = re.compile(exactly if match is None else match)
    return RetryCondition(lambda error: pattern.search(str(error)) is not None)


def retry_if_not_exception_message(
    message: str | None = None, match: str | re.Pattern[str] | None = None
) -> RetryCondition:
    """Errors whose text is another one; see `retry_if_exception_message`."""
    same = retry_if_exception_message(message, match)
    return RetryCondition(lambda error: not same(error))


def retry_if_exception_cause_type(exception_types: _Errors) -> RetryCondition:
    """Errors that were raised `from` one of these classes, however far back."""

    def caused(error: BaseException) -> bool:
        seen: set[int] = set()
        cause = error.__cause__
        while cause is not None and id(cause) not in seen:
            if isinstance(cause, exception_types):
                return True
            seen.add(id(cause))
            cause = cause.__cause__
        return False

    return RetryCondition(caused)


def retry_any(*retries: Callable[[BaseException], bool]) -> RetryCondition:
    """Errors that one of the conditions takes."""
    return RetryCondition(lambda error: any(r(error) for r in retries))


def retry_all(*retries: Callable[[BaseException], bool]) -> RetryCondition:
    """Errors that all of the conditions take."""
    return RetryCondition(lambda error: all(r(error) for r in retries))


def retry_always() -> RetryCondition:
    """Every error."""
    return RetryCondition(lambda error: True)


def retry_never() -> RetryCondition:
    """No error."""
    return RetryCondition(lambda error: False)


# -- after how long ----------------------------------------------------------------


def wait_fixed(wait: _Seconds) -> WaitStrategy:
    """The same delay each time."""
    seconds = _seconds(wait)
    return WaitStrategy(lambda attempts: seconds)


def wait_none() -> WaitStrategy:
    """No delay."""
    return wait_fixed(0.0)


def wait_random(min: _Seconds = 0.0, max: _Seconds = 1.0) -> WaitStrategy:
    """A delay drawn evenly between two bounds."""
    low, high = _seconds(min), _seconds(max)
    return WaitStrategy(lambda attempts: random.uniform(low, high))


def wait_incrementing(
    start: _Seconds = 0.0, increment: _Seconds = 100.0, max: _Seconds = float("inf")
) -> WaitStrategy:
    """A delay that grows by the same amount each time, up to `max`."""
    first, more, high = _seconds(start), _seconds(increment), _seconds(max)
    return WaitStrategy(lambda attempts: _at_most(first + more * attempts, high))


def wait_exponential(
    multiplier: float = 1.0,
    exp_base: float = 2.0,
    max: _Seconds = 60.0,
    min: _Seconds = 0.0,
) -> WaitStrategy:
    """`multiplier * exp_base ** n`, kept between `min` and `max`; n from 0."""
    low, high = _seconds(min), _seconds(max)

    def delay(attempts: int) -> float:
        return _at_least(_at_most(multiplier * _power(exp_base, attempts), high), low)

    return WaitStrategy(delay)


def wait_exponential_jitter(
    initial: float = 1.0, exp_base: float = 2.0, max: float = 60.0, jitter: float = 1.0
) -> WaitStrategy:
    """`initial * exp_base ** n` plus up to `jitter` seconds, up to `max`."""

    def delay(attempts: int) -> float:
        grown = initial * _power(exp_base, attempts)
        return _at_most(grown + random.uniform(0, jitter), max)

    return WaitStrategy(delay)


def wait_random_exponential(
    multiplier: float = 1.0,
    exp_base: float = 2.0,
    max: _Seconds = 60.0,
    min: _Seconds = 0.0,
) -> WaitStrategy:
    """A delay drawn evenly between `min` and what `wait_exponential` gives.

    Runs that failed together do not come back together ("full jitter": Brooker,
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """
    upper, low = wait_exponential(multiplier, exp_base, max, min), _seconds(min)
    return WaitStrategy(lambda attempts: random.uniform(low, upper(attempts)))


wait_full_jitter = wait_random_exponential


def wait_chain(*strategies: Callable[[int], float]) -> WaitStrategy:
    """The first strategy after the first failure, and so on; the last one stays.

    Raises:
        ValueError: There is none.
    """
    if not strategies:
        raise ValueError("wait_chain needs at least one strategy")

    def delay(attempts: int) -> float:
        return strategies[min(attempts, len(strategies) - 1)](attempts)

    return WaitStrategy(delay)


def wait_combine(*strategies: Callable[[int], float]) -> WaitStrategy:
    """The sum of all delays."""
    return WaitStrategy(lambda attempts: sum(s(attempts) for s in strategies))


# -- until when --------------------------------------------------------------------


def stop_after_attempt(max_attempt_number: int) -> StopCondition:
    """After so many attempts, the first one counted."""
    return StopCondition(lambda attempts, *_: attempts >= max_attempt_number)


def stop_after_delay(max_delay: _Seconds) -> StopCondition:
    """Once so many seconds have passed since the first attempt began."""
    limit = _seconds(max_delay)
    return StopCondition(lambda _, elapsed, __: elapsed >= limit)


def stop_before_delay(max_delay: _Seconds) -> StopCondition:
    """Before a wait that would end later than so many seconds after the first."""
    limit = _seconds(max_delay)
    return StopCondition(lambda _, elapsed, upcoming: elapsed + upcoming >= limit)


def stop_any(*stops: StopCondition) -> StopCondition:
    """When one of the conditions says so."""
    return StopCondition(lambda *now: any(stop(*now) for stop in stops))


def stop_all(*stops: StopCondition) -> StopCondition:
    """When all of the conditions say so."""
    return StopCondition(lambda *now: all(stop(*now) for stop in stops))


def stop_never() -> StopCondition:
    """Never: the workflow's timeout is the only end."""
    return StopCondition(lambda *_: False)


# -- whole policies ----------------------------------------------------------------


class _Composed:
    def __init__(
        self,
        retry: Callable[[BaseException], bool] | None,
        wait: Callable[[int], float],
        stop: StopCondition,
    ) -> None:
        self._retry = retry
        self._wait = wait
        self._stop = stop

    def next(
        self, elapsed_time: float, attempts: int, error: Exception
    ) -> float | None:
        if self._retry is not None and not self._retry(error):
            return None
        delay = self._wait(attempts - 1)
        return None if self._stop(attempts, elapsed_time, delay) else delay


def retry_policy(
    retry: Callable[[BaseException], bool] | None = None,
    wait: Callable[[int], float] | None = None,
    stop: StopCondition | None = None,
) -> RetryPolicy:
    """A policy made of its three answers.

    Args:
        retry: Which errors; all of them by default.
        wait: After how long; 5 seconds by default.
        stop: Until when; 3 attempts by default.

    Example:
        >>> policy = retry_policy(
        ...     retry=retry_if_exception_type((TimeoutError, ConnectionError)),
        ...     wait=wait_exponential(max=30) + wait_random(0, 1),
        ...     stop=stop_after_attempt(5) | stop_after_delay(60),
        ... )
        >>> policy.next(0.0, 1, ValueError("not one of them")) is None
        True
    """
    return _Composed(
        retry,
        wait_fixed(5.0) if wait is None else wait,
        stop_after_attempt(3) if stop is None else stop,
    )


def ConstantDelayRetryPolicy(
    maximum_attempts: int = 3, delay: float = 5.0
) -> RetryPolicy:
    """Try again after the same delay, in seconds, so many times in all."""
    return retry_policy(
        wait=wait_fixed(delay), stop=stop_after_attempt(maximum_attempts)
    )


def ExponentialBackoffRetryPolicy(
    maximum_attempts: int = 5,
    initial_delay: float = 1.0,
    multiplier: float = 2.0,
    max_delay: float = 60.0,
    jitter: bool = True,
) -> RetryPolicy:
    """Try again after delays that grow by a factor.

    Args:
        maximum_attempts: Attempts in all, the first one counted.
        initial_delay: _Seconds before the second attempt.
        multiplier: What each delay is multiplied by for the next.
        max_delay: Upper bound of a delay, in seconds.
        jitter: Draw each delay evenly between half of it and all of it.
    """
    grown = wait_exponential(initial_delay, multiplier, max_delay)
    drawn = WaitStrategy(lambda attempts: grown(attempts) * random.uniform(0.5, 1.0))
    return retry_policy(
        wait=drawn if jitter else grown, stop=stop_after_attempt(maximum_attempts)
    )


def _seconds(time: _Seconds) -> float:
    return time.total_seconds() if isinstance(time, timedelta) else float(time)


def _power(base: float, exponent: int) -> float:
    try:
        return base**exponent
    except OverflowError:
        return float("inf")


# `min` and `max` are names of arguments here, as users know them.
def _at_most(value: float, bound: float) -> float:
    return bound if value > bound else value


def _at_least(value: float, bound: float) -> float:
    return bound if value < bound else value
