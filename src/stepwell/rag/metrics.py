"""Figures of retrieval, and how sure they are: hit rate, MRR, nDCG, intervals.

Plain functions over numbers; nothing here knows of questions or retrievers, and
nothing needs numpy. Which figures a report has is decided in `reports.py`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

_Z = 1.959964
# Two-sided 95 per cent of the normal distribution.
_RESAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 per cent confidence interval. ``float()`` is the figure."""

    value: float
    low: float
    high: float

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def proportion(hits: int, total: int) -> Estimate:
    """Return a rate with Wilson's (1927) score interval.

    It stays within 0..1 and is honest near its ends, where the usual one is not.
    """
    if total == 0:
        return Estimate(0.0, 0.0, 1.0)
    rate = hits / total
    spread = _Z * _Z / total
    middle = (rate + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(rate * (1 - rate) / total + spread / total / 4) / (1 + spread)
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    high = 1.0 if hits == total else min(1.0, middle + half)
    return Estimate(rate, low, high)


def mean(values: Sequence[float]) -> Estimate:
    """Return a mean with its bootstrap interval; the same one each time.

    Of the differences between two retrievers on the same questions, this is the
    paired bootstrap: chance in the choice of questions falls on both alike.
    """
    if not values:
        return Estimate(0.0, 0.0, 0.0)
    value = sum(values) / len(values)
    if len(set(values)) == 1:
        return Estimate(value, value, value)
    chance = random.Random(0)
    count = len(values)
    means = sorted(
        sum(chance.choices(values, k=count)) / count for _ in range(_RESAMPLES)
    )
    low, high = means[round(0.025 * _RESAMPLES)], means[round(0.975 * _RESAMPLES) - 1]
    return Estimate(value, low, high)


def ndcg(gains: Sequence[bool], wanted: int, k: int) -> float:
    """Return the normalised discounted cumulative gain of one ranking.

    Järvelin and Kekäläinen (2002), with gains of 1 or 0.

    Args:
        gains: Whether the item at each rank is a right one not found before.
        wanted: How many right ones there are.
        k: Ranks that count.
    """
    found = sum(1 / math.log2(rank + 1) for rank, g in enumerate(gains[:k], 1) if g)
    best = sum(1 / math.log2(rank + 1) for rank in range(1, min(wanted, k) + 1))
    return found / best if best else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0..1) of the values are; 0 for none."""
    if not values:
        return 0.0
    place = share * (len(values) - 1)
    below = math.floor(place)
    ordered = sorted(values)
    above = ordered[min(below + 1, len(ordered) - 1)]
    return ordered[below] + (above - ordered[below]) * (place - below)
