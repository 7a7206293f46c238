"""What we want to reach, as ratios within one run of the benchmark, and whether we do.

The bounds leave twice what a bare engine without journal, retries and waits needed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from results import LIMIT, OURS, Results

__all__ = ["PEER", "TARGETS", "Target"]

PEER = "llama-index-workflows"


@dataclass(frozen=True)
class Target:
    """One thing to reach.

    Attributes:
        what: Of which job and size.
        unit: What the number counts.
        bound: The number wanted.
        at_least: Whether more is better; else less is.
        measured: Finds the number; None where it was not measured.
    """

    what: str
    unit: str
    bound: float
    at_least: bool
    measured: Callable[[Results], float | None]

    def is_met_by(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


def times_peer(job, n, figure, bound):
    return Target(
        f"{job} {n:,}",
        "× faster than LlamaIndex",
        bound,
        True,
        lambda results: results.ratio(job, n, figure, PEER, OURS),
    )


def times_limit(job, n, figure, bound):
    return Target(
        f"{job} {n:,}",
        "× the limit",
        bound,
        False,
        lambda results: results.ratio(job, n, figure, OURS, LIMIT),
    )


def at_most(job, n, figure, bound):
    return Target(
        f"{job} {n:,}",
        figure,
        bound,
        False,
        lambda results: results.value(job, n, figure),
    )


def grows(job, few, many, figure, bound):
    return Target(
        f"{job} {few:,} to {many:,}",
        "exponent",
        bound,
        False,
        lambda results: results.growth(job, few, many, figure),
    )


def all_targets() -> Iterator[Target]:
    yield times_peer("latency", 300, "µs/run", 33)
    yield times_limit("latency", 300, "µs/run", 4.4)
    yield times_peer("loop", 50_000, "µs/step", 70)
    yield times_limit("loop", 50_000, "µs/step", 5.5)
    yield grows("loop", 1_000, 50_000, "µs/step", 1.05)
    yield at_most("held", 20_000, "kB held", 2 * 1024**2 / 1000)
    yield times_peer("chain", 100, "µs/step", 120)
    yield times_peer("chain", 300, "µs/step", 390)
    for job in ("fanout", "fanout-free", "list", "list-free"):
        yield times_peer(job, 100, "µs/event", 100)
        yield times_peer(job, 1_000, "µs/event", 440)
        yield times_limit(job, 1_000, "µs/event", 4)
        yield grows(job, 100, 10_000, "µs/event", 1.1)
    yield times_peer("naps", 1_000, "elapsed µs/event", 128)
    yield times_peer("concurrent", 1_000, "µs/run", 34)
    yield times_peer("concurrent", 10_000, "µs/run", 36)
    yield at_most("concurrent-memory", 1_000, "kB/run", 6)
    yield at_most("concurrent-memory", 10_000, "kB/run", 6)
    yield times_peer("idle", 1_000, "elapsed ms", 35)
    yield at_most("heartbeat", 1, "worst gap, CPU ms", 5)
    yield at_most("heartbeat", 100, "worst gap, CPU ms", 5)
    yield times_peer("stream", 100_000, "µs/event", 7)
    yield times_limit("stream", 100_000, "µs/event", 1.5)
    yield at_most("stream-latency", 1_000, "p50 µs", 40)
    yield at_most("stream-latency", 1_000, "p99 µs", 120)
    yield times_peer("state", 10_000, "µs/set+get", 26)
    yield times_peer("snapshot", 1_000, "µs/event", 270)
    yield times_peer("finished", 1_000, "ms", 740)
    yield times_peer("cancel", 1_000, "µs/worker", 4)
    yield at_most("cancel-memory", 1_000, "kB/worker", 4)
    yield times_peer("cancel-memory", 1_000, "kB/worker", 139)
    yield at_most("stalled", 1, "elapsed ms", 50)
    yield times_peer("import", 5, "CPU ms", 2)
    yield at_most("import", 5, "MB", 30)
    yield at_most("own-import", 5, "CPU ms", 15)
    yield times_peer("first", 5, "CPU ms", 1.5)


TARGETS = list(all_targets())
