"""Results of an evaluation as a table of pandas. Nothing else here imports it.

Imported late, by `to_pandas`. What is in a row is decided in `reports.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas

__all__ = ["frame_of"]


def frame_of(rows: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """Make a table of rows: a rank that is missing stays missing, not NaN."""
    frame = pandas.DataFrame(list(rows))
    if "rank" in frame:
        frame["rank"] = frame["rank"].astype("Int64")
    return frame
