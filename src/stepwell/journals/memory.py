"""A journal that lives as long as its process: for tests and for looking back.

It keeps every fact of every run until `forget` is called, so a long loop grows
it; the bounded story of a run, which is always on, is in `record`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

from stepwell.journals.base import Fact

__all__ = ["MemoryJournal"]


class MemoryJournal:
    """Facts in a list for each run."""

    def __init__(self) -> None:
        self._facts: defaultdict[str, list[Fact]] = defaultdict(list)

    async def append(self, run_id: str, facts: Sequence[Fact]) -> int:
        """Keep `facts` after those already kept; returns how many there are now."""
        kept = self._facts[run_id]
        kept.extend(facts)
        return len(kept)

    async def read(self, run_id: str, *, after: int = 0) -> AsyncIterator[Fact]:
        """The facts of a run in order, leaving out the first `after`."""
        for fact in list(self._facts.get(run_id, ()))[after:]:
            yield fact

    def runs(self) -> list[str]:
        """The ids of the runs that have facts, oldest first."""
        return list(self._facts)

    def forget(self, run_id: str) -> None:
        """Drop what is kept of a run; unknown ids are fine."""
        self._facts.pop(run_id, None)
