"""What an evaluation found: EvaluationReport, EvaluationComparison.

Results of questions, and the figures made of them. Asking the questions is in
`evaluation.py`, a figure in `metrics.py`, what a notebook shows in `scoreboard.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from .errors import InvalidOptionError, MissingExtraError
from .metrics import Estimate, mean, ndcg, percentile, proportion
from .questions import Question
from .scoreboard import render_comparison, render_report


@dataclass(frozen=True, slots=True)
class QuestionResult:
    """What became of one question.

    Attributes:
        question: The question, with its gold.
        rank: Place, from 1, of the first chunk that answers it, or None.
        gains: For each chunk returned, whether it holds a gold place that none
            before it held.
        seconds: How long the search took.
        sources: Where the chunks stand that were returned, best first.
    """

    question: Question
    rank: int | None
    gains: tuple[bool, ...]
    seconds: float
    sources: tuple[str, ...]

    def found(self, k: int) -> bool:
        """Tell whether an answer is among the first `k` chunks."""
        return self.rank is not None and self.rank <= k

    @property
    def reciprocal_rank(self) -> float:
        """One divided by the rank; 0 where nothing was found."""
        return 0.0 if self.rank is None else 1 / self.rank

    def ndcg(self, k: int) -> float:
        """Return the normalised discounted cumulative gain of the first `k`."""
        return ndcg(self.gains, len(self.question.gold), k)


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """How well one retriever did on a list of questions.

    Attributes:
        name: What it is called in tables.
        results: One for each question, in the order given.
        k: How many chunks from the top count, ascending.
        left_out: Values of `k` that were asked for, and are more chunks than the
            retriever returns.
    """

    name: str
    results: tuple[QuestionResult, ...]
    k: tuple[int, ...]
    left_out: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.results)

    @property
    def hit_rate(self) -> dict[int, Estimate]:
        """By `k`: share of questions with an answer among the first `k` chunks.

        Also called recall@k. The interval is Wilson's.
        """
        return {
            k: proportion(sum(r.found(k) for r in self.results), len(self.results))
            for k in self.k
        }

    @property
    def mrr(self) -> Estimate:
        """Mean of one divided by the rank of the first answer; bootstrapped."""
        return mean([result.reciprocal_rank for result in self.results])

    @property
    def ndcg(self) -> dict[int, Estimate]:
        """By `k`: mean discounted cumulative gain, 1 at best; bootstrapped."""
        return {k: mean([r.ndcg(k) for r in self.results]) for k in self.k}

    @property
    def latency_p50(self) -> float:
        """Seconds within which half of the searches were done."""
        return percentile([result.seconds for result in self.results], 0.5)

    @property
    def latency_p95(self) -> float:
        """Seconds within which 95 per cent of the searches were done."""
        return percentile([result.seconds for result in self.results], 0.95)

    @property
    def missed(self) -> list[Question]:
        """The questions with no answer among the chunks returned."""
        return [r.question for r in self.results if not r.found(self.k[-1])]

    def figures(self) -> dict[str, Estimate]:
        """Return all figures but latency by name: ``hit@1``, ``mrr`` and so on."""
        return {
            **{f"hit@{k}": estimate for k, estimate in self.hit_rate.items()},
            "mrr": self.mrr,
            **{f"ndcg@{k}": estimate for k, estimate in self.ndcg.items() if k > 1},
        }

    def by_kind(self) -> dict[str, EvaluationReport]:
        """Return a report for each kind of question, in order of appearance."""
        kinds: dict[str, list[QuestionResult]] = {}
        for result in self.results:
            kinds.setdefault(result.question.kind, []).append(result)
        return {kind: replace(self, results=tuple(r)) for kind, r in kinds.items()}

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each question, for tables and files."""
        return [
            {
                "question": result.question.question,
                "kind": result.question.kind,
                "gold": [str(gold) for gold in result.question.gold],
                "rank": result.rank,
                "reciprocal_rank": result.reciprocal_rank,
                **{f"hit@{k}": result.found(k) for k in self.k},
                **{f"ndcg@{k}": result.ndcg(k) for k in self.k},
                "seconds": result.seconds,
                "sources": list(result.sources),
            }
            for result in self.results
        ]

    def to_pandas(self) -> Any:
        """Return `to_rows` as a table of pandas.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return _frame(self.to_rows())

    def __repr__(self) -> str:
        rates = ", ".join(f"hit@{k} {e.value:.3f}" for k, e in self.hit_rate.items())
        return (
            f"<EvaluationReport {self.name}: {len(self)} questions, {rates}, "
            f"MRR {self.mrr.value:.3f}>"
        )

    def _repr_html_(self) -> str:
        return render_report(self)


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better a retriever did than the first, on the same questions.

    Attributes:
        name: Which retriever.
        figure: Which figure, for instance ``"hit@5"``.
        estimate: Its figure less that of the first, with the interval of the
            paired bootstrap.
    """

    name: str
    figure: str
    estimate: Estimate

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.estimate.low > 0 or self.estimate.high < 0


@dataclass(frozen=True, slots=True)
class EvaluationComparison:
    """Several retrievers on the same questions, side by side.

    Attributes:
        reports: One for each retriever, by name; the first is what the others are
            measured against.
    """

    reports: dict[str, EvaluationReport]

    @property
    def baseline(self) -> EvaluationReport:
        """The report of the first retriever."""
        return next(iter(self.reports.values()))

    @property
    def k(self) -> tuple[int, ...]:
        """Numbers of chunks that all retrievers return."""
        shared = set.intersection(*(set(r.k) for r in self.reports.values()))
        return tuple(sorted(shared))

    @property
    def differences(self) -> list[Difference]:
        """How each retriever but the first differs from it, figure by figure."""
        first = _figures(self.baseline, self.k)
        found = []
        for name, report in list(self.reports.items())[1:]:
            for figure, values in _figures(report, self.k).items():
                gaps = [a - b for a, b in zip(values, first[figure], strict=True)]
                found.append(Difference(name, figure, mean(gaps)))
        return found

    def found_only_by(self, name: str, other: str, *, k: int = 5) -> list[Question]:
        """Return the questions `name` answers among its first `k`, and `other` not.

        Raises:
            InvalidOptionError: A name that is not compared here.
        """
        for each in (name, other):
            if each not in self.reports:
                raise InvalidOptionError(
                    f"{each!r} is none of {', '.join(map(repr, self.reports))}."
                )
        pairs = zip(
            self.reports[name].results, self.reports[other].results, strict=True
        )
        return [a.question for a, b in pairs if a.found(k) and not b.found(k)]

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each retriever and kind of question.

        ``kind`` is ``"all"`` for all questions together. Figures have columns
        ``…_low`` and ``…_high`` beside them for their intervals.
        """
        rows = []
        for name, report in self.reports.items():
            kinds = report.by_kind()
            for kind, part in {
                "all": report,
                **(kinds if len(kinds) > 1 else {}),
            }.items():
                row: dict[str, Any] = {
                    "name": name,
                    "kind": kind,
                    "questions": len(part),
                }
                for figure, estimate in part.figures().items():
                    row[figure] = estimate.value
                    row[f"{figure}_low"] = estimate.low
                    row[f"{figure}_high"] = estimate.high
                row["latency_p50"] = part.latency_p50
                row["latency_p95"] = part.latency_p95
                rows.append(row)
        return rows

    def to_pandas(self) -> Any:
        """Return `to_rows` as a table of pandas.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return _frame(self.to_rows())

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.reports.values()))

    def _repr_html_(self) -> str:
        return render_comparison(self)


def _figures(report: EvaluationReport, ks: Sequence[int]) -> dict[str, list[float]]:
    """Return what each question adds to each figure."""
    return {
        **{f"hit@{k}": [float(r.found(k)) for r in report.results] for k in ks},
        "mrr": [r.reciprocal_rank for r in report.results],
        **{f"ndcg@{k}": [r.ndcg(k) for r in report.results] for k in ks if k > 1},
    }


def _frame(rows: Sequence[Mapping[str, Any]]) -> Any:
    try:
        return import_module(".pandas", __package__).frame_of(rows)
    except ModuleNotFoundError as error:
        if error.name != "pandas":
            raise
        raise MissingExtraError.for_package(
            "pandas", "pandas", "to_pandas()"
        ) from error
