"""Chunks without any library: by paragraphs, else sentences, else words.

Used where semantic-text-splitter has no wheel; four letters are counted as a token.
What is done with chunks is in `splitting.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_LETTERS = 4
_PARAGRAPH = re.compile(r"(?:[^\n]|\n(?![ \t]*\n))+")
# From the best place to cut at to the worst.
_CUTS = (
    re.compile(r"[.!?][\"'”’)\]]*\s+|[。！？]"),
    re.compile(r"\n"),
    re.compile(r"\s+"),
)


def split_by_paragraph(
    text: str, chunk_size: int, chunk_overlap: int = 0
) -> list[tuple[int, str]]:
    """Return ``(offset, chunk)`` pairs, no chunk longer than four letters a token.

    Args:
        text: What to cut.
        chunk_size: Most tokens in a chunk.
        chunk_overlap: Most tokens repeated from the chunk before: whole pieces that
            fit, paragraphs or sentences.
    """
    most, again = _LETTERS * chunk_size, _LETTERS * chunk_overlap
    pieces = [
        piece
        for match in _PARAGRAPH.finditer(text)
        if match.group().strip()
        for piece in _pieces(text, match.start(), match.end(), most)
    ]
    chunks: list[tuple[int, int]] = []
    begun = 0
    for index, (_, end) in enumerate(pieces):
        if chunks and end - chunks[-1][0] <= most:
            chunks[-1] = (chunks[-1][0], end)
            continue
        first = index
        while (
            first - 1 > begun
            and pieces[index - 1][1] - pieces[first - 1][0] <= again
            and end - pieces[first - 1][0] <= most
        ):
            first -= 1
        begun = first
        chunks.append((pieces[first][0], end))
    return [
        _trimmed(text, start, end) for start, end in chunks if text[start:end].strip()
    ]


def _pieces(text: str, start: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield stretches that may be put together, none longer than `most`."""
    # Half as long as a chunk, so that sentences are left to overlap by.
    while end - start > max(1, most // 2):
        cut = _cut(text, start, min(end, start + max(1, most // 2)))
        yield start, cut
        start = cut
    if start < end:
        yield start, end


def _cut(text: str, start: int, end: int) -> int:
    for mark in _CUTS:
        places = [match.end() for match in mark.finditer(text, start, end)]
        if places and places[-1] > start:
            return places[-1]
    return end


def _trimmed(text: str, start: int, end: int) -> tuple[int, str]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), piece.strip()
