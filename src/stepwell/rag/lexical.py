"""Search by words: SQLite FTS5 with BM25, in memory, from the standard library.

Keeps what is needed to rank, and the ids; the nodes themselves stay with the
index. Measured against other engines in the project's notes: as good as a
stemming BM25, incremental, and nothing to install.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePath

from .documents import TextNode
from .errors import RagError
from .words import query_words, space_cjk, spell_out


class LexicalStore:
    """A BM25 index over title, heading and body of chunks.

    Args:
        language: ``"english"`` stems words; None leaves them as they are.
        on_disk: Keep the words in a temporary file in place of memory; it goes
            when the store goes.

    May be used from several threads; a lock serialises them.
    """

    def __init__(
        self, language: str | None = "english", *, on_disk: bool = False
    ) -> None:
        stemmer = "porter " if language == "english" else ""
        self._language = language
        self._lock = threading.Lock()
        # A connection is bound to its thread by default; the lock replaces that.
        self._db = sqlite3.connect(
            "" if on_disk else ":memory:", check_same_thread=False
        )
        try:
            self._db.execute(
                "create virtual table chunk using fts5(id unindexed, title, heading,"
                f" body, tokenize = '{stemmer}unicode61 remove_diacritics 2')"
            )
        except sqlite3.OperationalError as error:
            raise RagError(
                "This Python's SQLite was built without FTS5, which the lexical "
                "index needs. Use a Python from python.org, conda or your system."
            ) from error
        self._rows: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Free the connection; the store cannot be used afterwards."""
        if (db := getattr(self, "_db", None)) is not None:
            db.close()

    def add(self, nodes: Iterable[TextNode]) -> None:
        """Index the nodes; one whose id is there already replaces it."""
        with self._lock, self._db:
            for node in nodes:
                self._forget(node.id_)
                title = _title(node)
                heading = spell_out(str(node.metadata.get("heading") or ""))
                cursor = self._db.execute(
                    "insert into chunk (id, title, heading, body) values (?, ?, ?, ?)",
                    (node.id_, *map(space_cjk, (title, heading, node.text))),
                )
                assert cursor.lastrowid is not None
                self._rows[node.id_] = cursor.lastrowid

    def to_bytes(self) -> bytes | None:
        """Return the whole index, for `load`; None where SQLite cannot do that."""
        if not hasattr(self._db, "serialize"):
            return None
        with self._lock:
            return self._db.serialize()

    def load(self, words: bytes | None, nodes: Collection[TextNode]) -> None:
        """Take what `to_bytes` gave in place of what is here.

        Args:
            words: What it gave. Another version of SQLite may be unable to go on
                with it, and then, as for None, `nodes` are indexed anew.
            nodes: What is in the index.
        """
        if words is not None and hasattr(self._db, "deserialize"):
            try:
                with self._lock:
                    self._db.deserialize(words)
                    rows = self._db.execute("select id, rowid from chunk").fetchall()
                    # Reads what a search reads, so that it shows now if it cannot.
                    self._db.execute(
                        "select 1 from chunk where chunk match 'a' limit 1"
                    )
            except sqlite3.Error:
                rows = []
            if {id_ for id_, _ in rows} == {node.id_ for node in nodes}:
                self._rows = dict(rows)
                return
            fresh = LexicalStore(self._language)
            self.close()
            self._db, fresh._db = fresh._db, self._db
        self.add(nodes)

    def delete(self, ids: Iterable[str]) -> None:
        """Forget the ids; unknown ones are ignored."""
        with self._lock, self._db:
            for id_ in ids:
                self._forget(id_)

    def _forget(self, id_: str) -> None:
        if (row := self._rows.pop(id_, None)) is not None:
            self._db.execute("delete from chunk where rowid = ?", (row,))

    def query(
        self, text: str, k: int, *, allowed: set[str] | None = None
    ) -> list[tuple[str, float]]:
        """Return up to `k` ``(id, bm25)`` pairs, best first.

        Any text is a valid query: it is cut into words, never read as FTS5
        syntax. Chunks with any of the words qualify; a chunk without one never
        comes back, so the list may be shorter than `k`, or empty.

        Args:
            text: The question.
            k: How many at most.
            allowed: Ids to choose among; None allows all.
        """
        if k < 1 or not (match := match_expression(query_words(text))):
            return []
        limit = k if allowed is None else -1
        with self._lock:
            # FTS5's bm25() is negative and lower is better: turn it round.
            rows = self._db.execute(
                "select id, -bm25(chunk, 0, 3, 2, 1) as score from chunk"
                " where chunk match ? order by score desc, rowid limit ?",
                (match, limit),
            ).fetchall()
        if allowed is not None:
            rows = [row for row in rows if row[0] in allowed][:k]
        return rows


def _title(node: TextNode) -> str:
    """Return what the whole document is called: its title, and its file's name."""
    file = PurePath(str(node.metadata.get("file_name", ""))).stem.replace("_", " ")
    return f"{node.metadata.get('title', '')} {file}".strip()


def match_expression(words: Sequence[str]) -> str:
    """Return an FTS5 expression that matches any of `words`.

    Quoting makes each word a string of FTS5, so that ``AND`` or ``NEAR`` is
    searched for and not obeyed. NUL would end the string early.
    """
    return " OR ".join(f'"{word}"' for word in words if "\0" not in word)
