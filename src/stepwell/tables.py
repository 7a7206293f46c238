"""The calls of a run for other programs: as JSON text, and as a table of pandas.

What is in a row is decided in `rows`; the columns of the table, in `pandas`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from stepwell.errors import MissingExtraError

__all__ = ["json_of", "table_of"]

_VERSION = 1


def json_of(
    rows: Sequence[Mapping[str, Any]],
    dropped: Mapping[str, int],
    *,
    indent: int | None = None,
) -> str:
    """Write calls as JSON text, with how much was dropped before them."""
    import json  # late: a plain import of stepwell does without it

    calls = [{**row, "counts": _finite(row["counts"])} for row in rows]
    told = {"version": _VERSION, "calls": calls, **dropped}
    return json.dumps(told, indent=indent, allow_nan=False)


def _finite(counts: Mapping[str, float]) -> dict[str, float | None]:
    return {name: v if isfinite(v) else None for name, v in counts.items()}


def table_of(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Make a `pandas.DataFrame` of calls; pandas is loaded here, when first needed."""
    try:
        from stepwell.pandas import frame_of
    except ModuleNotFoundError as error:
        if error.name != "pandas":
            raise
        raise MissingExtraError(
            "pandas", extra="pandas", feature="RunRecord.to_pandas()"
        ) from error
    return frame_of(rows)
