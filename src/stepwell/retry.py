"""Whether to try a failed step again, and after how long.

A policy is any object with `next`; when it is asked, and how the delay is
waited out, is the business of `run` and `machine`.
"""

from __future__ import annotations

import random
from typing import Protocol, runtime_checkable

__all__ = ["ConstantDelayRetryPolicy", "ExponentialBackoffRetryPolicy", "RetryPolicy"]


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


class ConstantDelayRetryPolicy:
    """Try again after the same delay each time.

    Args:
        maximum_attempts: Attempts in all, the first one counted.
        delay: Seconds between attempts.
    """

    __slots__ = ("delay", "maximum_attempts")

    def __init__(self, *, maximum_attempts: int = 3, delay: float = 5.0) -> None:
        self.maximum_attempts = maximum_attempts
        self.delay = delay

    def next(
        self, elapsed_time: float, attempts: int, error: Exception
    ) -> float | None:
        """Seconds to wait, or None when the attempts are used up."""
        return None if attempts >= self.maximum_attempts else self.delay


class ExponentialBackoffRetryPolicy:
    """Try again after delays that grow by a factor.

    Args:
        initial_delay: Seconds before the second attempt.
        multiplier: What each delay is multiplied by for the next.
        max_delay: Upper bound of a delay, in seconds.
        maximum_attempts: Attempts in all, the first one counted.
        jitter: Draw each delay evenly between half of it and all of it, so that
            many runs that failed together do not come back together.
    """

    __slots__ = (
        "initial_delay",
        "jitter",
        "max_delay",
        "maximum_attempts",
        "multiplier",
    )

    def __init__(
        self,
        *,
        initial_delay: float = 1.0,
        multiplier: float = 2.0,
        max_delay: float = 60.0,
        maximum_attempts: int = 5,
        jitter: bool = True,
    ) -> None:
        self.initial_delay = initial_delay
        self.multiplier = multiplier
        self.max_delay = max_delay
        self.maximum_attempts = maximum_attempts
        self.jitter = jitter

    def next(
        self, elapsed_time: float, attempts: int, error: Exception
    ) -> float | None:
        """Seconds to wait, or None when the attempts are used up."""
        if attempts >= self.maximum_attempts:
            return None
        # Capped in the exponent too: 2.0 ** 5000 overflows.
        grown = self.initial_delay * self.multiplier ** min(attempts - 1, 64)
        delay = min(grown, self.max_delay)
        return delay * random.uniform(0.5, 1.0) if self.jitter else delay
