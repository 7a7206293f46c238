"""Tables on disk, by LanceDB. Nothing else imports it, or pyarrow.

What is kept in them, and how it is asked for, is in `lancedb_store.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import lancedb
import pyarrow

_TEXTS = ("id", "document", "model", "node")


def connect(uri: str) -> Any:
    """Return the database in a folder, which is made if it is not there."""
    # Every question sees what other processes have written by then.
    return lancedb.connect(uri, read_consistency_interval=timedelta(0))


def open_table(database: Any, name: str) -> Any:
    """Return a table, or None if there is none of that name."""
    try:
        return database.open_table(name)
    except (ValueError, FileNotFoundError):
        return None


def create_table(database: Any, name: str, dim: int) -> Any:
    """Return a table for vectors of `dim` dimensions, made if it is not there."""
    return database.create_table(name, schema=_schema(dim), exist_ok=True)


def dimensions(table: Any) -> int:
    """Return how many dimensions the vectors of a table have."""
    return int(table.schema.field("vector").type.list_size)


def rows(texts: Sequence[tuple[str, str, str | None, str]], matrix: Any) -> Any:
    """Return rows to be stored.

    Args:
        texts: Id, document, model and node of each.
        matrix: Their vectors, ``(n, dim)`` in float32.
    """
    columns = zip(*texts, strict=True)
    dim = int(matrix.shape[1])
    table = {
        name: pyarrow.array(list(values), pyarrow.string())
        for name, values in zip(_TEXTS, columns, strict=True)
    }
    table["vector"] = pyarrow.FixedSizeListArray.from_arrays(
        pyarrow.array(matrix.reshape(-1)), dim
    )
    return pyarrow.table(table, schema=_schema(dim))


def _schema(dim: int) -> Any:
    texts = [pyarrow.field(name, pyarrow.string()) for name in _TEXTS]
    vector = pyarrow.field("vector", pyarrow.list_(pyarrow.float32(), dim))
    return pyarrow.schema([*texts, vector])
