"""Words, stems and sentences, for search and quoting without a model.

Pure functions over text. Storing and ranking is in `lexical.py`, choosing what
to quote in `extractive.py`.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+")
_CJK = re.compile(
    "([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
    "\U00020000-\U0002ffff])"
)
_VOWEL = re.compile(r"[aeiouy]")

_STOP_WORDS = """
a about after all also am an and any are as at be because been before being but by can
could did do does doing done for from get got had has have having he her here him his
how i if in into is it its just like make may me might more most must my no nor not of
off on one or other our out over own shall she should so some such tell than that the
their them then there these they this those through to too under until up us use used
using very want was we were what when where which while who whom why will with would
you your please explain mean means show s t
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words a question is full of and an answer is not found by."""


def space_cjk(text: str) -> str:
    r"""Put spaces around CJK characters, so that each is a word of its own.

    Neither ``\w+`` nor the unicode61 tokenizer of SQLite separates them.
    """
    return _CJK.sub(r" \1 ", text)


_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


def spell_out(text: str) -> str:
    """Add the parts of joined names, so that *streaming* finds StreamingResponse."""
    parts = [
        part
        for name in re.findall(r"\b\w*[a-z][A-Z]\w*|\b[A-Z]{2,}[a-z]\w*", text)
        for part in _PART.findall(name)
    ]
    return " ".join([text, *parts])


def words(text: str) -> list[str]:
    """Return the lower-case words of `text`, in order."""
    return _WORD.findall(space_cjk(text).lower())


def query_words(query: str) -> list[str]:
    """Return the words worth searching for, each once, in order.

    Stop words are left out, unless nothing else would remain.
    """
    found = list(dict.fromkeys(words(query)))
    telling = [word for word in found if word not in STOP_WORDS]
    return telling or found


def stem(word: str) -> str:
    """Cut an English ending off, so that *configure* and *configuration* meet.

    A few rules in the spirit of Porter (1980), enough to compare the words of a
    question with those of a sentence; not for showing.
    """
    if len(word) < 4 or not word.isascii():
        return word
    if word.endswith("ies"):
        word = word[:-3] + "y"
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending, least in (
        ("ization", 3),
        ("ation", 4),
        ("ment", 4),
        ("ing", 3),
        ("ion", 4),
        ("ed", 3),
        ("er", 5),
        ("or", 5),
        ("able", 4),
        ("ly", 4),
    ):
        rest = word[: -len(ending)]
        if word.endswith(ending) and len(rest) >= least and _VOWEL.search(rest):
            word = rest
            if word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    if word.endswith("e") and len(word) > 4:
        word = word[:-1]
    if word.endswith("y") and len(word) > 4:
        word = word[:-1] + "i"
    return word


def stems(text: str) -> list[str]:
    """Return the stems of all words of `text`, in order."""
    return [stem(word) for word in words(text)]


_SENTENCE_END = re.compile(
    r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[`*_]*[A-Z0-9])|(?<=[。！？])"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|cf|vs|Dr|Mr|Mrs|Ms|Prof|Fig|No|approx|[A-Z])\.)$"
)


def sentences(paragraph: str) -> list[str]:
    """Split one paragraph into sentences, whitespace made single."""
    text = " ".join(paragraph.split())
    found: list[str] = []
    begin = 0
    for match in _SENTENCE_END.finditer(text):
        piece = text[begin : match.start()]
        if _ABBREVIATION.search(piece):
            continue
        found.append(text[begin : match.end()].strip())
        begin = match.end()
    found.append(text[begin:].strip())
    return [sentence for sentence in found if sentence]
