"""How well something finds what answers a question: evaluate, compare.

Asks labelled questions, one by one. A question is defined in `questions.py`; what
comes of them, and the figures of it, are in `reports.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .documents import NodeWithScore
from .errors import InvalidOptionError
from .progress import Progress
from .questions import Question, as_questions
from .reports import EvaluationComparison, EvaluationReport, QuestionResult
from .rerank import apostprocess, postprocess

_ASKED = "questions asked"


def evaluate(
    retriever: Any,
    questions: Iterable[Any],
    *,
    k: Sequence[int] = (1, 5, 15),
    name: str | None = None,
    show_progress: bool = False,
) -> EvaluationReport:
    """Ask a retriever labelled questions, one by one; blocks the caller.

    Args:
        retriever: Anything with ``retrieve``, or a query engine: of one of ours,
            retriever and postprocessors run, and no language model is asked.
        questions: `Question` objects or ``(text, gold)``; see `load_questions` and
            `questions_from_headings`.
        k: How many chunks from the top count. Give the retriever at least the
            largest as its `similarity_top_k`: what it never returns is left out.
        name: What the retriever is called in tables.
        show_progress: Tell how many questions were asked.

    Raises:
        InvalidOptionError: No questions, a question that is none, no retriever.
    """
    asked, ks = as_questions(questions), _checked(k)
    search = _sync_search(retriever)
    results = []
    with Progress(_ASKED, len(asked), shown=show_progress) as progress:
        for question in asked:
            began = time.perf_counter()
            nodes = search(question.question)
            results.append(_result(question, nodes, time.perf_counter() - began))
            progress.advance()
    return _report(name or _name_of(retriever), results, ks)


async def aevaluate(
    retriever: Any,
    questions: Iterable[Any],
    *,
    k: Sequence[int] = (1, 5, 15),
    name: str | None = None,
    show_progress: bool = False,
) -> EvaluationReport:
    """Do as `evaluate`, leaving the event loop free; still one question at a time."""
    asked, ks = as_questions(questions), _checked(k)
    search = _async_search(retriever)
    results = []
    with Progress(_ASKED, len(asked), shown=show_progress) as progress:
        for question in asked:
            began = time.perf_counter()
            nodes = await search(question.question)
            results.append(_result(question, nodes, time.perf_counter() - began))
            progress.advance()
            await asyncio.sleep(0)
    return _report(name or _name_of(retriever), results, ks)


def compare(
    retrievers: Mapping[str, Any],
    questions: Iterable[Any],
    *,
    k: Sequence[int] = (1, 5, 15),
    show_progress: bool = False,
) -> EvaluationComparison:
    """Ask several retrievers the same questions; blocks the caller.

    In a notebook it shows a plot, a table with differences from the first, and the
    questions that one finds and another does not.

    Args:
        retrievers: Retrievers or query engines by name, what the others are
            measured against first.
        questions: As for `evaluate`.
        k: As for `evaluate`.
        show_progress: As for `evaluate`.

    Raises:
        InvalidOptionError: As for `evaluate`; or nothing to compare.
    """
    _check_several(retrievers)
    asked = as_questions(questions)
    reports = {}
    for name, retriever in retrievers.items():
        reports[name] = evaluate(
            retriever, asked, k=k, name=name, show_progress=show_progress
        )
    return EvaluationComparison(reports)


async def acompare(
    retrievers: Mapping[str, Any],
    questions: Iterable[Any],
    *,
    k: Sequence[int] = (1, 5, 15),
    show_progress: bool = False,
) -> EvaluationComparison:
    """Do as `compare`, leaving the event loop free."""
    _check_several(retrievers)
    asked = as_questions(questions)
    reports = {}
    for name, retriever in retrievers.items():
        reports[name] = await aevaluate(
            retriever, asked, k=k, name=name, show_progress=show_progress
        )
    return EvaluationComparison(reports)


def _checked(k: Sequence[int]) -> tuple[int, ...]:
    ks = (k,) if isinstance(k, int) else tuple(sorted(set(k)))
    if not ks or ks[0] < 1:
        raise InvalidOptionError(f"k={k!r} must be numbers of chunks, 1 or more.")
    return ks


def _check_several(retrievers: Any) -> None:
    if not isinstance(retrievers, Mapping) or not retrievers:
        raise InvalidOptionError(
            'compare() takes retrievers by name: compare({"words": one, "both": two}, '
            "questions)."
        )


def _sync_search(retriever: Any) -> Any:
    if hasattr(retriever, "retrieve"):
        return retriever.retrieve
    if _is_engine(retriever):
        # What its language model would read; the model itself is not asked.
        def search(text: str) -> Any:
            nodes = retriever.retriever.retrieve(text)
            return postprocess(nodes, retriever.node_postprocessors, text)

        return search
    if hasattr(retriever, "query"):
        return lambda text: retriever.query(text).source_nodes
    raise _no_retriever(retriever)


def _async_search(retriever: Any) -> Any:
    if hasattr(retriever, "aretrieve"):
        return retriever.aretrieve
    if _is_engine(retriever):

        async def search(text: str) -> Any:
            nodes = await retriever.retriever.aretrieve(text)
            return await apostprocess(nodes, retriever.node_postprocessors, text)

        return search
    if hasattr(retriever, "aquery"):

        async def ask(text: str) -> Any:
            return (await retriever.aquery(text)).source_nodes

        return ask
    blocking = _sync_search(retriever)
    return lambda text: asyncio.to_thread(blocking, text)


def _is_engine(retriever: Any) -> bool:
    inner = getattr(retriever, "retriever", None)
    return hasattr(inner, "retrieve") and hasattr(retriever, "node_postprocessors")


def _no_retriever(retriever: Any) -> InvalidOptionError:
    hint = " Pass index.as_retriever(15)." if hasattr(retriever, "as_retriever") else ""
    return InvalidOptionError(
        f"{type(retriever).__name__} has neither retrieve() nor query().{hint}"
    )


def _name_of(retriever: Any) -> str:
    mode = getattr(retriever, "mode", None)
    return mode if isinstance(mode, str) else type(retriever).__name__


def _result(
    question: Question, nodes: Sequence[NodeWithScore], seconds: float
) -> QuestionResult:
    rank = None
    open_gold = list(question.gold)
    gains = []
    for place, node in enumerate(nodes, start=1):
        held = [gold for gold in open_gold if gold.matches(node)]
        if held and rank is None:
            rank = place
        gains.append(bool(held))
        open_gold = [gold for gold in open_gold if gold not in held]
    sources = tuple(node.source for node in nodes)
    return QuestionResult(question, rank, tuple(gains), seconds, sources)


def _report(
    name: str, results: Sequence[QuestionResult], ks: tuple[int, ...]
) -> EvaluationReport:
    deepest = max(len(result.sources) for result in results)
    # A rate at 15 of a retriever that returns 5 would be its rate at 5.
    kept = tuple(k for k in ks if k <= deepest) or ks[:1]
    left_out = tuple(k for k in ks if k not in kept)
    return EvaluationReport(name, tuple(results), kept, left_out)
