"""Questions whose answers are known, for evaluation: Question, Gold.

Says what a labelled question is, how one is read from a file or made from
headings, and when a retrieved chunk holds the answer. Asking them is in
`evaluation.py`.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .documents import Document, NodeWithScore
from .errors import InvalidOptionError, MissingPathError
from .headings import sections


class Gold(BaseModel):
    """A place that answers a question: a document, and where in it.

    The most exact of what is given decides: `quote`, else `start` and `end`,
    else `heading`, else the whole document. A quote is the surest, since it does
    not depend on how the document was cut.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    document: str
    """Id of the document: for a folder that was read, the file's path in it."""
    heading: str | None = None
    """Heading of its section, or the last of the headings that lead there, joined
    by `` › ``. Empty is what stands before the first heading."""
    quote: str | None = None
    """Words that stand in the answer; white space does not matter."""
    start: int | None = None
    """Where the answer begins in the document's text."""
    end: int | None = None
    """Where it ends."""

    def __str__(self) -> str:
        place = self.document
        if self.heading:
            place += f" § {' › '.join(self.heading.split(' › ')[-2:])}"
        elif self.start is not None:
            place += f" [{self.start}:{self.end}]"
        return place

    def matches(self, node: NodeWithScore) -> bool:
        """Tell whether a chunk holds the answer, or overlaps it."""
        chunk = node.node
        if self.document not in (chunk.ref_doc_id, chunk.metadata.get("file_name")):
            return False
        if self.quote is not None:
            return _on_one_line(self.quote) in _on_one_line(chunk.text)
        if self.start is not None and self.end is not None:
            begin, stop = chunk.start_char_idx, chunk.end_char_idx
            if begin is None or stop is None:
                return False
            return begin < self.end and self.start < stop
        if self.heading is not None:
            path = str(chunk.metadata.get("heading") or "").split(" › ")
            wanted = self.heading.split(" › ")
            return path[-len(wanted) :] == wanted
        return True


class Question(BaseModel):
    """A question and the places that answer it, each by itself enough."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str = Field(min_length=1)
    gold: tuple[Gold, ...] = Field(min_length=1)
    kind: str = ""
    """What sort of question it is; figures are given for each kind too."""

    def __str__(self) -> str:
        return self.question


def load_questions(path: str | os.PathLike[str]) -> list[Question]:
    """Read labelled questions from a file of JSON lines.

    A line holds ``question``, ``gold``, and if wanted ``kind``; `gold` is a list
    of objects with the fields of `Gold`.

    Raises:
        MissingPathError: The file is not there.
        InvalidOptionError: A line that is no question; the message names it.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingPathError(f"There is no file {str(path)!r}.", path=str(path))
    found = []
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found.append(Question.model_validate_json(line))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise InvalidOptionError(
                f"Line {number} of {file.name} is no question: "
                f"{place + ': ' if place else ''}{first['msg']}."
            ) from error
    return found


def as_questions(questions: Iterable[Any]) -> list[Question]:
    """Return questions in full, whichever short way they were written.

    Args:
        questions: `Question` objects, or ``(text, gold)`` with a gold that is a
            document's id, ``(id, heading)``, ``(id, start, end)``, a `Gold`, or a
            list of several of these.

    Raises:
        InvalidOptionError: One that is none of these, or no question at all.
    """
    found = [_as_question(number, each) for number, each in enumerate(questions, 1)]
    if not found:
        raise InvalidOptionError(
            "There are no questions to evaluate with. Pass a list of (question, "
            "document id), or questions_from_headings(documents)."
        )
    return found


def _as_question(number: int, given: Any) -> Question:
    if isinstance(given, Question):
        return given
    try:
        text, gold = given
        places = gold if isinstance(gold, list) else [gold]
        return Question(question=text, gold=tuple(map(_as_gold, places)))
    except (TypeError, ValueError) as error:
        raise InvalidOptionError(
            f"Question {number}, {given!r:.80}, must be (text, gold): gold is a "
            "document id, (id, heading), (id, start, end), or a list of these."
        ) from error


def _as_gold(given: Any) -> Gold:
    if isinstance(given, Gold):
        return given
    if isinstance(given, str):
        return Gold(document=given)
    if len(given) == 2:
        return Gold(document=given[0], heading=given[1])
    document, start, end = given
    return Gold(document=document, start=start, end=end)


_TELLING = re.compile(r"[^\W\d_]{3,}")


def questions_from_headings(
    documents: Sequence[Document], limit: int | None = None, *, seed: int = 0
) -> list[Question]:
    """Make questions of the headings in documents, without a model or a key.

    Good for a first look: a heading's words stand in its section, so search by
    words does better on these than on what people ask. Headings that stand more
    than once are left out, and so are those that a number or a sign makes up.

    Args:
        documents: Markdown, reStructuredText, HTML or the like, with headings.
        limit: How many at most, chosen at random; all if not given.
        seed: Makes the choice the same each time.

    Raises:
        InvalidOptionError: No document has a heading.
    """
    made: dict[str, list[Question]] = {}
    for document in documents:
        suffix = PurePath(str(document.metadata.get("file_name", ""))).suffix.lower()
        for section in sections(document.text, suffix):
            if not section.path or not _TELLING.search(section.path[-1]):
                continue
            text = ": ".join(section.path[-2:])
            place = Gold(
                document=document.id_,
                heading=" › ".join(section.path),
                start=section.start,
                end=section.end,
            )
            question = Question(question=text, gold=(place,), kind="heading")
            made.setdefault(text.lower(), []).append(question)
    distinct = [same[0] for same in made.values() if len(same) == 1]
    if not distinct:
        raise InvalidOptionError(
            "No document has headings to make questions of. Write (question, "
            "document id) pairs, or read .md, .rst or .html files."
        )
    if limit is not None and limit < len(distinct):
        distinct = random.Random(seed).sample(distinct, limit)
    return distinct


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
