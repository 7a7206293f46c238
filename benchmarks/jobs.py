"""What is measured: each job and its sizes.

How it is timed stands in `measurements` and `fresh_process`; how an engine does it, in
`engines`, a file for each. An engine without the method that a job needs takes no part.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import fresh_process
import measurements

__all__ = ["JOBS", "Job"]


@dataclass(frozen=True)
class Job:
    """One kind of work.

    Attributes:
        about: What it is, in a few words.
        method: The engine's method, or attribute, that it needs.
        sizes: Numbers of items.
        small: The one size of `--small`.
        measure: Given the engine and a size; gives figures by name and unit.
        beside_limit: Whether the job by hand is something to compare with.
    """

    about: str
    method: str
    sizes: tuple[int, ...]
    small: int
    measure: Callable[[Any, int], Awaitable[dict[str, float]]]
    beside_limit: bool = True


FAN = (100, 1_000, 10_000)
JOBS = {
    "latency": Job(
        "3-step runs, one after another", "three", (300,), 30, measurements.latency
    ),
    "loop": Job(
        "a step that returns its own event",
        "loop",
        (1_000, 10_000, 50_000),
        500,
        measurements.loop,
    ),
    "held": Job(
        "memory after a loop, handler kept",
        "loop",
        (20_000,),
        500,
        measurements.held,
        beside_limit=False,
    ),
    "chain": Job(
        "that many distinct steps", "chain", (100, 300), 20, measurements.chain
    ),
    "fanout": Job(
        "send_event, collect_events; 8 workers",
        "fan_out",
        FAN,
        50,
        measurements.fan_out,
    ),
    "fanout-free": Job(
        "the same, no limit", "fan_out_free", FAN, 50, measurements.fan_out_free
    ),
    "list": Job("list[E] out and in; 8 workers", "lists", FAN, 50, measurements.lists),
    "list-free": Job(
        "the same, no limit", "lists_free", FAN, 50, measurements.lists_free
    ),
    "naps": Job(
        "fan-out of 1 ms sleeps, 50 workers; ideal 20",
        "fan_out",
        (1_000,),
        50,
        measurements.naps,
    ),
    "concurrent": Job(
        "3-step runs at once", "three", (1_000, 10_000), 50, measurements.concurrent
    ),
    "concurrent-memory": Job(
        "the same, traced", "three", (1_000, 10_000), 50, measurements.concurrent_memory
    ),
    "idle": Job(
        "runs of 5 × 10 ms sleeps; ideal 50", "idle", (1_000,), 20, measurements.idle
    ),
    "heartbeat": Job(
        "1 ms heartbeat beside busy runs",
        "busy",
        (1, 100),
        2,
        measurements.heartbeat,
        beside_limit=False,
    ),
    "stream": Job(
        "events written and read", "stream", (100_000,), 1_000, measurements.stream
    ),
    "stream-latency": Job(
        "from write to receive", "stream", (1_000,), 50, measurements.stream_latency
    ),
    "state": Job(
        "store.set and store.get", "state", (10_000,), 500, measurements.state
    ),
    "snapshot": Job(
        "to_dict, events pending", "pending", (1_000,), 50, measurements.snapshot
    ),
    "finished": Job(
        "to_dict after that many steps",
        "finished",
        (1_000,),
        100,
        measurements.finished,
        beside_limit=False,
    ),
    "cancel": Job(
        "sleeping workers, cancelled", "sleepers", (1_000,), 50, measurements.cancel
    ),
    "cancel-memory": Job(
        "sleeping workers, traced", "sleepers", (1_000,), 50, measurements.cancel_memory
    ),
    "stalled": Job(
        "until a run that cannot end is reported",
        "stalled",
        (1,),
        1,
        measurements.stalled,
        beside_limit=False,
    ),
    "import": Job("over bare Python; starts", "IMPORT", (5,), 1, fresh_process.import_),
    "own-import": Job(
        "over asyncio and pydantic",
        "IMPORT",
        (5,),
        1,
        fresh_process.own_import,
        beside_limit=False,
    ),
    "first": Job(
        "start to first result; starts", "FIRST", (5,), 1, fresh_process.first
    ),
}
