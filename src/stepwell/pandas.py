"""The calls of a run as a table of pandas; the only file that imports pandas.

Imported late, by `RunRecord.to_pandas`. What is in a row is decided in `rows`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas

__all__ = ["frame_of"]

_TEXTS = "string"
_NUMBERS = "Int64"  # with room for "none"
_SECONDS = "float64"
_TYPES = {
    "step": _TEXTS,
    "attempt": "int64",
    "status": _TEXTS,
    "input": _TEXTS,
    "outputs": _TEXTS,
    "started": _SECONDS,
    "ended": _SECONDS,
    "duration": _SECONDS,
    "worker": _NUMBERS,
    "caused_by": _NUMBERS,
    "error": _TEXTS,
}


def frame_of(rows: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """Make a table of calls.

    Args:
        rows: As `RunRecord.to_rows` gives them.

    Returns:
        One row an attempt, by `call_id`, which attempts at one call share. Times are
        seconds since the run began, NaN while there are none; `worker` and `caused_by`
        are whole numbers or missing; `outputs` is text, names joined by commas. Every
        amount that a step counted is a column of floats after these, NaN where the
        call has not counted it.
    """
    columns: dict[str, Any] = {
        name: pandas.array([_value(row, name) for row in rows], dtype=dtype)
        for name, dtype in _TYPES.items()
    }
    for name in dict.fromkeys(name for row in rows for name in row["counts"]):
        amounts = [row["counts"].get(name) for row in rows]
        columns[_free(name, columns)] = pandas.array(amounts, dtype=_SECONDS)
    numbers = pandas.Index([row["call_id"] for row in rows], dtype="int64")
    return pandas.DataFrame(columns, index=numbers.rename("call_id"))


def _value(row: Mapping[str, Any], name: str) -> Any:
    if name == "duration":
        known = row["started"] is not None and row["ended"] is not None
        return row["ended"] - row["started"] if known else None
    if name == "outputs":
        return ", ".join(row["outputs"])
    if name == "worker":
        return row["worker"] if row["worker"] >= 0 else None
    return row[name]


def _free(name: str, taken: Iterable[str]) -> str:
    """The name of a column that is not taken, for an amount of this name."""
    while name in taken or name == "call_id":
        name += "_counted"
    return name
