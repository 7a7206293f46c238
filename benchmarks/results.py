"""The figures of a benchmark: the least of all rounds, and what could not be had."""

import math
from dataclasses import dataclass, field

__all__ = ["LIMIT", "OURS", "Results"]

LIMIT, OURS = "limit", "stepwell"
Cell = tuple[str, int, str]


@dataclass
class Results:
    """Figures by job, size, engine and the figure's name.

    Attributes:
        figures: The least value seen.
        notes: By job, size and engine: why there is no figure.
    """

    figures: dict[Cell, dict[str, float]] = field(default_factory=dict)
    notes: dict[Cell, str] = field(default_factory=dict)

    def add(self, job: str, n: int, engine: str, measured: dict[str, float]) -> None:
        """Keep what is less than before."""
        kept = self.figures.setdefault((job, n, engine), {})
        for figure, value in measured.items():
            kept[figure] = min(value, kept.get(figure, math.inf))

    def value(self, job: str, n: int, figure: str, engine: str = OURS) -> float | None:
        return self.figures.get((job, n, engine), {}).get(figure)

    def ratio(
        self, job: str, n: int, figure: str, engine: str, to: str
    ) -> float | None:
        """How many times what `to` needs, an engine needs."""
        value, base = (self.value(job, n, figure, e) for e in (engine, to))
        return value / base if value is not None and base else None

    def growth(
        self, job: str, few: int, many: int, figure: str, engine: str = OURS
    ) -> float | None:
        """The exponent with which the whole grows: 1 is linear, 2 quadratic."""
        a, b = (self.value(job, n, figure, engine) for n in (few, many))
        return 1 + math.log(b / a) / math.log(many / few) if a and b else None

    def to_rows(self) -> list[dict[str, object]]:
        """All of it, as data for JSON."""
        found = [
            {"job": job, "n": n, "engine": engine, "figure": name, "value": value}
            for (job, n, engine), figures in self.figures.items()
            for name, value in figures.items()
        ]
        lacking = [
            {"job": job, "n": n, "engine": engine, "note": note}
            for (job, n, engine), note in self.notes.items()
        ]
        return found + lacking

    @classmethod
    def from_rows(cls, rows: list[dict]) -> "Results":
        """What `to_rows` gave."""
        results = cls()
        for row in rows:
            if "note" in row:
                results.notes[row["job"], row["n"], row["engine"]] = row["note"]
            else:
                measured = {row["figure"]: row["value"]}
                results.add(row["job"], row["n"], row["engine"], measured)
        return results
