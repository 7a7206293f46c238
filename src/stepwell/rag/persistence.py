"""An index in one SQLite file: nodes, vectors, words, and which model made them.

Writes and reads plain parts; `VectorStoreIndex.persist` and `load` give and take
them. The file is written beside its place and then moved there, so that it is
always a whole index, the old one or the new one.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from .documents import TextNode
from .errors import IndexFileError, InvalidOptionError, MissingPathError

_FORMAT = 1
_PART = 64 * 2**20
# Bytes of the word index in a row: SQLite takes a gigabyte at most.
_TABLES = """
create table fact (name text primary key, value) without rowid;
create table node (number integer primary key, node text not null);
create table vectors (number integer primary key, numbers blob not null);
create table words (number integer primary key, part blob not null);
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What an index is, besides its chunks."""

    chunks: int
    language: str | None
    model: str | None = None
    """Name of the embedding model; None where there are no vectors."""
    dim: int | None = None
    """Dimensions of the vectors; None where there is none yet."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What was read from a file."""

    facts: Facts
    nodes: list[TextNode]
    vectors: Iterable[bytes]
    """Little-endian float32, in the order of `nodes`; read as they are asked for."""
    words: bytes | None
    """The word index, where this SQLite can go on with it."""


def write_index(
    path: Path,
    facts: Facts,
    nodes: Iterable[TextNode],
    vectors: Iterable[bytes],
    words: bytes | None,
) -> None:
    """Write an index to `path`, replacing what is there.

    Raises:
        InvalidOptionError: `path` is a folder, or a chunk's metadata cannot be
            written as JSON.
    """
    if path.is_dir():
        raise InvalidOptionError(
            f"{path} is a folder, and an index is written to one file, for instance "
            f"{path / 'index.sqlite'}."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with closing(sqlite3.connect(unfinished)) as db:
            # Nobody else sees this file, and it is thrown away after an error.
            db.execute("pragma journal_mode = off")
            db.executescript(_TABLES)
            with db:
                db.executemany(
                    "insert into fact values (?, ?)",
                    [
                        ("format", _FORMAT),
                        ("chunks", facts.chunks),
                        ("language", facts.language),
                        ("model", facts.model),
                        ("dim", facts.dim),
                    ],
                )
                db.executemany(
                    "insert into node (node) values (?)",
                    ((_as_text(node),) for node in nodes),
                )
                db.executemany(
                    "insert into vectors (numbers) values (?)",
                    ((block,) for block in vectors),
                )
                db.executemany(
                    "insert into words (part) values (?)",
                    (
                        (words[start : start + _PART],)
                        for start in range(0, len(words or b""), _PART)
                    )
                    if words
                    else (),
                )
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def open_index(path: Path, *, with_words: bool = True) -> Iterator[Stored]:
    """Read an index; its vectors are to be taken inside the block.

    Raises:
        MissingPathError: There is no such file.
        IndexFileError: It holds no index, or one that is damaged.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise MissingPathError(
            f"{path} {what}: no index was written there. index.persist(path) writes "
            "one.",
            path=str(path),
        )
    try:
        address = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as db:
            yield _read(db, path, with_words)
    except sqlite3.Error as error:
        raise _damaged(path, str(error)) from error


def _read(db: sqlite3.Connection, path: Path, with_words: bool) -> Stored:
    try:
        told = dict(db.execute("select name, value from fact").fetchall())
    except sqlite3.Error as error:
        raise IndexFileError(
            f"{path} holds no index of stepwell ({error}). An index is written by "
            "index.persist(path).",
            path=str(path),
        ) from error
    if told.get("format") != _FORMAT:
        raise IndexFileError(
            f"{path} was written by another version of stepwell (format "
            f"{told.get('format')}, and this one reads {_FORMAT}). Build the index "
            "anew; with the embedding cache that costs little.",
            path=str(path),
        )
    facts = Facts(told["chunks"], told["language"], told["model"], told["dim"])
    rows = db.execute("select node from node order by number")
    try:
        nodes = [TextNode.model_validate_json(row[0]) for row in rows]
    except ValidationError as error:
        raise _damaged(path, "a chunk is no chunk") from error
    if len(nodes) != facts.chunks:
        raise _damaged(path, f"{len(nodes)} of {facts.chunks} chunks are there")
    blocks = db.execute("select numbers from vectors order by number")
    words = b""
    if with_words:
        parts = db.execute("select part from words order by number")
        words = b"".join(row[0] for row in parts)
    return Stored(facts, nodes, (row[0] for row in blocks), words or None)


def _damaged(path: Path, reason: str) -> IndexFileError:
    return IndexFileError(
        f"{path} is damaged: {reason}. Build the index anew; with the embedding cache "
        "that costs little.",
        path=str(path),
    )


def _as_text(node: TextNode) -> str:
    try:
        return node.model_dump_json()
    except ValueError as error:  # PydanticSerializationError is one
        raise InvalidOptionError(
            f"The metadata of chunk {node.id_!r} cannot be written to a file "
            f"({error}). Keep texts, numbers, dates and lists of these in metadata."
        ) from error
