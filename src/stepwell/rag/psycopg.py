"""Connections to PostgreSQL, by psycopg. Nothing else imports it.

What is asked over them is in `pgvector.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from .errors import VectorStoreError


def connect(address: str) -> Any:
    """Return a connection, each statement of which is its own transaction.

    Raises:
        VectorStoreError: The server cannot be reached, or refuses.
    """
    with errors("PostgreSQL cannot be used"):
        return psycopg.connect(address, autocommit=True)


def is_usable(connection: Any) -> bool:
    """Tell whether a connection is neither closed nor broken."""
    return not (connection.closed or connection.broken)


def name(*parts: str) -> Any:
    """Return the name of a table, quoted as it has to be."""
    return sql.Identifier(*parts)


def statement(text: str, **names: Any) -> Any:
    """Return a statement with names, or numbers, put in."""
    values = {
        key: sql.Literal(value) if isinstance(value, int) else value
        for key, value in names.items()
    }
    return sql.SQL(text).format(**values)


@contextmanager
def errors(what: str) -> Iterator[None]:
    """Raise what psycopg raises as `VectorStoreError`."""
    try:
        yield
    except psycopg.Error as error:
        raise VectorStoreError(f"{what}: {str(error).strip()}") from error
