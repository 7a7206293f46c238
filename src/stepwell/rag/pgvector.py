"""Chunks in PostgreSQL, with its extension pgvector: PGVectorStore.

What an index asks of a store, as SQL; psycopg is imported by `psycopg.py`, at the
first call.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from .documents import TextNode
from .errors import MissingExtraError, VectorStoreError

_AT_A_TIME = 1_000


class PGVectorStore:
    """Chunks and their vectors in a table of PostgreSQL, by pgvector.

    Pass it as ``vector_store=`` when an index is built, and open it again with
    `VectorStoreIndex.from_vector_store`. Extension and table are made if they are
    not there. Search is exact. For millions of chunks make an index of pgvector's
    own, which is quicker and may miss some: ``create index on chunks using hnsw
    (vector vector_ip_ops)``.

    Args:
        connection: Where the database is, for instance
            ``"postgresql://me@localhost/mydata"``, with all that libpq knows.
        table_name: The table, in the first schema of the search path.

    Raises:
        MissingExtraError: psycopg is not installed; by the first call.
        VectorStoreError: The server said no, or cannot be reached; so too.
    """

    def __init__(self, connection: str, table_name: str = "chunks") -> None:
        self._address = connection
        self.table_name = table_name
        self._start()

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._connection: Any = None
        self._dim: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_address": self._address, "table_name": self.table_name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()

    def __repr__(self) -> str:
        # Without the address: it may hold a password.
        return f"PGVectorStore(table_name={self.table_name!r})"

    def __del__(self) -> None:
        if getattr(self, "_connection", None) is not None:
            self.close()

    def close(self) -> None:
        """Close the connection; the next call opens one again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @property
    def dim(self) -> int | None:
        """Dimensions, or None before the first vector."""
        if self._dim is None:
            found = self._ask(
                "select atttypmod from pg_attribute where attname = 'vector'"
                " and attrelid = to_regclass(%s)",
                ['"' + self.table_name.replace('"', '""') + '"'],
            )
            self._dim = int(found[0][0]) if found else None
        return self._dim

    def __len__(self) -> int:
        if self.dim is None:
            return 0
        return int(self._ask("select count(*) from {table}")[0][0])

    def add(self, ids: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
        """Store ``(n, dim)`` vectors without texts; known ids are replaced.

        Raises:
            IndexMismatchError: Not one vector an id, or of other dimensions.
            InvalidVectorError: NaN or infinity among the numbers.
        """
        self.add_nodes([TextNode(id_=id_) for id_ in ids], vectors)

    def add_nodes(
        self,
        nodes: Sequence[TextNode],
        vectors: Sequence[Sequence[float]],
        *,
        model_name: str | None = None,
    ) -> None:
        """Store nodes with their vectors, all or none; known ids are replaced.

        Raises:
            IndexMismatchError: Not one vector a node, or of other dimensions.
            InvalidVectorError: NaN or infinity among the numbers.
        """
        library = _library()
        from .numpy import check_dimensions, unit_matrix

        matrix = unit_matrix([node.id_ for node in nodes], vectors)
        if not nodes:
            return
        if self.dim is None:
            self._make_table(int(matrix.shape[1]))
        check_dimensions(self.dim, matrix.shape[1])
        rows = (
            (
                node.id_,
                node.ref_doc_id or node.id_,
                model_name,
                # As JSON, since PostgreSQL takes no NUL in a text.
                node.model_dump_json(),
                str(vector.tolist()),
            )
            for node, vector in zip(nodes, matrix, strict=True)
        )
        insert = (
            "insert into {table} (id, document, model, node, vector)"
            " values (%s, %s, %s, %s, %s) on conflict (id) do update set"
            " document = excluded.document, model = excluded.model,"
            " node = excluded.node, vector = excluded.vector"
        )
        with self._lock, library.errors(f"{self!r} cannot store chunks"):
            connection = self._connected()
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(self._statement(insert), rows)

    def delete(self, ids: Sequence[str]) -> None:
        """Forget the ids; unknown ones are ignored."""
        if self.dim is not None and ids:
            self._ask("delete from {table} where id = any(%s)", [list(ids)])

    def query(
        self, vector: Sequence[float], k: int, *, allowed: set[str] | None = None
    ) -> list[tuple[str, float]]:
        """Return up to `k` ``(id, cosine)`` pairs, best first.

        Raises:
            IndexMismatchError: The vector has other dimensions than the store.
            InvalidVectorError: NaN or infinity among the numbers.
        """
        if self.dim is None or k < 1 or allowed == set():
            return []
        from .numpy import check_dimensions, unit_matrix

        [wanted] = unit_matrix([""], [vector])
        check_dimensions(self.dim, len(wanted))
        values: list[Any] = [str(wanted.tolist())]
        condition = ""
        if allowed is not None:
            condition = " where id = any(%s)"
            values.append(list(allowed))
        # What pgvector calls a distance is the product with its sign turned.
        found = self._ask(
            "select id, vector <#> %s::vector as distance from {table}"
            f"{condition} order by distance limit %s",
            [*values, k],
        )
        return [(id_, -float(distance)) for id_, distance in found]

    def get_nodes(self, node_ids: Sequence[str] | None = None) -> Iterator[TextNode]:
        """Return those of the nodes that are there, or all, in no order."""
        if self.dim is None:
            return
        if node_ids is not None:
            for start in range(0, len(node_ids), _AT_A_TIME):
                some = list(node_ids[start : start + _AT_A_TIME])
                query = "select node from {table} where id = any(%s)"
                for (text,) in self._ask(query, [some]):
                    yield TextNode.model_validate_json(text)
            return
        # Page by page, so that nothing stays open while the caller works.
        last = None
        while True:
            page = self._ask(
                "select id, node from {table} where %s::text is null or id > %s"
                " order by id limit %s",
                [last, last, _AT_A_TIME],
            )
            for last, text in page:  # noqa: B007
                yield TextNode.model_validate_json(text)
            if len(page) < _AT_A_TIME:
                return

    def get_model_name(self) -> str | None:
        """Return which model made the vectors, where that was told."""
        if self.dim is None:
            return None
        found = self._ask("select model from {table} limit 1")
        return found[0][0] if found else None

    def _make_table(self, dim: int) -> None:
        with self._lock, self._connected().transaction():
            # Of two that make the table at once, one waits here.
            self._ask("select pg_advisory_xact_lock(hashtext('stepwell'))")
            try:
                self._ask("create extension if not exists vector")
            except VectorStoreError as error:
                raise VectorStoreError(
                    f"{error}\nThe server needs pgvector, and the right to make it an "
                    "extension of the database. Once it is installed there, its owner "
                    "says: create extension vector."
                ) from error
            self._ask(
                "create table if not exists {table} (id text primary key,"
                " document text not null, model text, node text not null,"
                " vector vector({dim}) not null)",
                dim=dim,
            )

    def _ask(
        self, text: str, values: Sequence[Any] = (), *, dim: int = 0
    ) -> list[tuple[Any, ...]]:
        library = _library()
        with self._lock, library.errors(f"{self!r} got an error"):
            cursor = self._connected().execute(self._statement(text, dim), values)
            return cursor.fetchall() if cursor.description else []

    def _connected(self) -> Any:
        library = _library()
        if self._connection is None or not library.is_usable(self._connection):
            self._connection = library.connect(self._address)
        return self._connection

    def _statement(self, text: str, dim: int = 0) -> Any:
        library = _library()
        table = library.name(self.table_name)
        return library.statement(text, table=table, dim=dim)


def _library() -> ModuleType:
    try:
        from . import psycopg
    except ImportError as error:  # also where it finds no libpq
        raise MissingExtraError.for_package(
            "psycopg", "pgvector", "PGVectorStore"
        ) from error
    return psycopg
