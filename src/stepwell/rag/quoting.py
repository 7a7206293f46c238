"""Which sentences of some passages answer a question best, without a model.

Ranks the units that `markup.py` finds and remembers which text came from which
place, so that a quote from an unmarked prompt can still be cited. Wording the
answer is in `extractive.py`.
"""

from __future__ import annotations

import math
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .documents import NodeWithScore
from .markup import Unit, units
from .words import query_words, spell_out, stem, stems


@dataclass(frozen=True, slots=True)
class Passage:
    """A text that may be quoted, and where it stands (or "" if unknown)."""

    text: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """Words out of a passage.

    Attributes:
        text: The sentences, inline markup removed.
        code: Code that belongs to them, or "".
        passage: Position of the passage in the list given, from 0.
        score: How well they match; comparable within one call only.
        matched: Stems of the question's words that they, or their heading, hold.
    """

    text: str
    code: str
    passage: int
    score: float
    matched: frozenset[str]


_MOST_REMEMBERED = 2_000
# Words; what is shorter would be found in the middle of other passages.
_SHORTEST = 3
_remembered: OrderedDict[str, str] = OrderedDict()
_lock = threading.Lock()


def remember(nodes: Iterable[NodeWithScore]) -> None:
    """Note where the texts of retrieved nodes stand; the last 2,000 are kept."""
    with _lock:
        for node in nodes:
            text = node.text.strip()
            if len(text.split()) < _SHORTEST:
                continue
            _remembered[text] = node.source
            _remembered.move_to_end(text)
        while len(_remembered) > _MOST_REMEMBERED:
            _remembered.popitem(last=False)


def passages_of(context: str) -> list[Passage]:
    """Cut the context of a prompt into passages, with sources where remembered.

    What was not retrieved in this process has no source.
    """
    with _lock:
        known = list(_remembered.items())
    spans: list[tuple[int, int, str]] = []
    for text, source in reversed(known):
        start = context.find(text) if text else -1
        end = start + len(text)
        if start >= 0 and not any(s < end and start < e for s, e, _ in spans):
            spans.append((start, end, source))
    spans.sort()
    found: list[Passage] = []
    position = 0
    for start, end, source in [*spans, (len(context), len(context), "")]:
        rest = context[position:start].strip(" \n-=#*[]0123456789")
        if len(rest.split()) >= _SHORTEST:
            found.append(Passage(context[position:start].strip()))
        if end > start:
            found.append(Passage(context[start:end], source))
        position = end
    return found


_LONGEST_WINDOW = 420
_LEAST_OF_BEST = 0.5
_QUESTION_PENALTY = 0.4
_HEADING_WEIGHT = 0.5
_RANK_PRIOR = 0.25
_MOST_CODE_LINES = 14


@dataclass(slots=True)
class _Candidate:
    unit: Unit
    passage: int
    stems: Counter[str]
    around: frozenset[str]


def best_quotes(
    question: str, passages: Sequence[Passage], most: int = 3
) -> list[Quote]:
    """Return the up to `most` stretches that match the question best.

    BM25 over sentences, with the rarity of words taken from the passages
    themselves; a sentence's heading counts in part, an earlier passage a
    little more than a later one. The better of the two sentences beside a match
    belongs to the quote, as the answer often stands next to what names the
    topic, and so does code that a quoted sentence introduces.
    """
    asked = list(dict.fromkeys(stem(word) for word in query_words(question)))
    candidates = [
        _Candidate(
            unit,
            number,
            Counter(stems(unit.text)),
            frozenset(stems(spell_out(f"{unit.heading} {passage.source}"))),
        )
        for number, passage in enumerate(passages)
        for unit in units(passage.text)
    ]
    prose = [c for c in candidates if c.unit.kind != "code"]
    if not asked or not prose:
        return []
    n = len(prose)
    idf = {}
    for word in asked:
        holding = sum(1 for c in prose if word in c.stems or word in c.around)
        # Milder than BM25's own: the passages were chosen for these words, so the
        # topic's words are in all of them and would count for nothing.
        idf[word] = math.log(1 + n / (holding + 1))
    average = sum(c.stems.total() for c in prose) / n
    own = [_own_score(c, idf, average) for c in candidates]
    windows: list[tuple[float, list[int]]] = []
    for index, candidate in enumerate(candidates):
        if candidate.unit.kind == "code" or own[index] == 0:
            continue
        members = _window(candidates, own, index)
        if len(members) == 1 and not _says_something(candidate.unit):
            continue
        score = own[index] + 0.35 * sum(own[m] for m in members if m != index)
        score += _HEADING_WEIGHT * sum(
            idf[w] for w in asked if w in candidate.around and w not in candidate.stems
        )
        score /= 1 + _RANK_PRIOR * candidate.passage
        if candidate.unit.text.endswith("?"):
            score *= _QUESTION_PENALTY
        windows.append((score, members))
    windows.sort(key=lambda item: -item[0])
    quotes: list[Quote] = []
    taken: list[tuple[set[int], set[str]]] = []
    for score, members in windows:
        if len(quotes) == most or score < _LEAST_OF_BEST * windows[0][0]:
            break
        held = set().union(*(candidates[m].stems for m in members))
        if any(ids & set(members) or _alike(held, other) for ids, other in taken):
            continue
        taken.append((set(members), held))
        held |= candidates[members[-1]].around
        quotes.append(
            _quote(candidates, members, score, frozenset(held.intersection(asked)))
        )
    return quotes


def _says_something(unit: Unit) -> bool:
    """Tell a statement from a bare name or a line of code quoted as text."""
    return len(re.sub(r"`[^`]*`", " ", unit.text).split()) >= 4


def _own_score(candidate: _Candidate, idf: dict[str, float], average: float) -> float:
    length = 0.5 + 0.5 * candidate.stems.total() / average
    return sum(
        weight * tf * 2.2 / (tf + 1.2 * length)
        for word, weight in idf.items()
        if (tf := candidate.stems[word])
    )


def _window(candidates: list[_Candidate], own: list[float], index: int) -> list[int]:
    """Return the unit, its better neighbour, and the code they announce."""
    members = [index]
    before, after = index - 1, index + 1
    follows = after < len(candidates) and (
        _together(candidates, index, after) or _introduced(candidates, index, after)
    )
    precedes = before >= 0 and _together(candidates, before, index)
    if precedes and (not follows or own[before] > own[after]):
        members = [before, index]
    elif follows:
        members = [index, after]
    after = members[-1] + 1
    if after < len(candidates):
        last, code = candidates[members[-1]], candidates[after]
        if (
            code.unit.kind == "code"
            and code.passage == last.passage
            and (last.unit.text.endswith(":") or code.unit.block == last.unit.block + 1)
        ):
            members.append(after)
    return members


def _together(
    candidates: list[_Candidate], one: int, other: int, *, blocks_apart: int = 0
) -> bool:
    first, second = candidates[one], candidates[other]
    return (
        first.passage == second.passage
        and first.unit.heading == second.unit.heading
        and first.unit.block + blocks_apart == second.unit.block
        and first.unit.kind == second.unit.kind == "sentence"
        and len(first.unit.text) + len(second.unit.text) <= _LONGEST_WINDOW
    )


def _introduced(candidates: list[_Candidate], index: int, after: int) -> bool:
    """Tell a paragraph of one sentence that the next paragraph goes on from."""
    alone = index == 0 or not _together(candidates, index - 1, index)
    return (
        alone
        and not candidates[index].unit.text.endswith((":", "?"))
        and _together(candidates, index, after, blocks_apart=1)
    )


def _alike(one: set[str], other: set[str]) -> bool:
    return len(one & other) > 0.6 * min(len(one), len(other))


def _quote(
    candidates: list[_Candidate],
    members: list[int],
    score: float,
    matched: frozenset[str],
) -> Quote:
    chosen = [candidates[m].unit for m in members]
    said = " ".join(unit.text for unit in chosen if unit.kind != "code")
    lines = [line for u in chosen if u.kind == "code" for line in u.text.split("\n")]
    if len(lines) > _MOST_CODE_LINES:
        lines = [*lines[: _MOST_CODE_LINES - 1], "…"]
    return Quote(said, "\n".join(lines), candidates[members[0]].passage, score, matched)


def coverage(question: str, quotes: Iterable[Quote]) -> float:
    """Return the share of the question's telling words that the quotes hold, 0..1."""
    asked = {stem(word) for word in query_words(question)}
    held = frozenset[str]().union(*(quote.matched for quote in quotes))
    return len(asked & held) / len(asked) if asked else 0.0
