"""Rows of a CSV file as lines of text that can be read, found and cited.

Each row becomes one line, ``name: Ada; year: 1815``, so a chunk of lines says what
its values mean, and the number of a line is the number of its row. Choosing files is
in `readers.py`, cutting lines into chunks in `splitting.py`.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

MOST_ROWS = 50_000
MOST_LETTERS = 20_000_000
_DELIMITERS = ",;\t|"
_LOOKED_AT = 50
_NUMBER = re.compile(r"[-+(]?[\s$€£]*\d[\d.,:/\s%)eE+-]*[$€£]?")


@dataclass(frozen=True, slots=True)
class Rows:
    """What a CSV file holds.

    Attributes:
        text: A line for each row.
        columns: The names of the columns.
        rows: How many lines there are.
        left_out: How many rows more the file has, where it is very long.
    """

    text: str
    columns: tuple[str, ...]
    rows: int
    left_out: int


def read_rows(source: str, suffix: str = ".csv") -> Rows:
    """Read CSV whose delimiter may be a comma, semicolon, tab or bar.

    The first row names the columns, unless it holds a number, a blank or the same
    name twice; then they are called ``column 1`` and so on.

    Args:
        source: The decoded file.
        suffix: ``.tsv`` means tabs, without looking.
    """
    marked = re.match(r"sep=(.)\r?\n", source)
    if marked:
        # How spreadsheets tell each other the delimiter.
        source, delimiter = source[marked.end() :], marked[1]
    else:
        delimiter = "\t" if suffix == ".tsv" else _delimiter(source)
    rows = _rows(source, delimiter)
    first = next(rows, [])
    named = _is_header(first)
    columns = [cell or f"column {n}" for n, cell in enumerate(first, start=1)]
    if not named:
        columns = [f"column {n}" for n in range(1, len(first) + 1)]
    lines: list[str] = []
    letters = left_out = 0
    if not named and first:
        lines.append(_line(columns, first))
    for row in rows:
        if len(lines) >= MOST_ROWS or letters >= MOST_LETTERS:
            left_out += 1
            continue
        line = _line(columns, row)
        letters += len(line)
        lines.append(line)
    return Rows("\n".join(lines), tuple(columns), len(lines), left_out)


def _line(columns: list[str], row: Sequence[str]) -> str:
    while len(columns) < len(row):
        columns.append(f"column {len(columns) + 1}")
    return "; ".join(
        f"{name}: {value}" for name, value in zip(columns, row, strict=False) if value
    )


def _rows(source: str, delimiter: str) -> Iterator[list[str]]:
    """Yield the rows that hold something, their cells without line ends.

    Where the quotes make no sense, they are taken for letters like any other.
    """
    lines = io.StringIO(source, newline="")
    if _quotes_close(source, delimiter):
        reader = csv.reader(lines, delimiter=delimiter)
    else:
        reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            # A cell of more than 131,072 letters; the next row is whole again.
            continue
        cells = [" ".join(cell.split()) for cell in row]
        if any(cells):
            yield cells


def _quotes_close(source: str, delimiter: str) -> bool:
    lines = io.StringIO(source, newline="")
    try:
        for _ in csv.reader(lines, delimiter=delimiter, strict=True):
            pass
    except csv.Error:
        return False
    return True


def _delimiter(source: str) -> str:
    """Return the delimiter by which most of the first rows have as many cells."""

    def fit(delimiter: str) -> tuple[float, int]:
        lines = io.StringIO(source[:200_000], newline="")
        try:
            rows = islice(csv.reader(lines, delimiter=delimiter), _LOOKED_AT)
            counts = Counter(len(row) for row in rows if row)
        except csv.Error:
            return 0.0, 0
        looked_at = counts.total()
        counts.pop(1, None)
        if not counts:
            return 0.0, 0
        [(cells, often)] = counts.most_common(1)
        return often / looked_at, cells

    return max(_DELIMITERS, key=fit)


def _is_header(row: Sequence[str]) -> bool:
    names = [cell for cell in row if cell]
    return (
        len(names) == len(row) > 0
        and len(set(names)) == len(names)
        and not any(_NUMBER.fullmatch(name) for name in names)
    )
