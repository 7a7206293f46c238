"""Chunks in a folder, for more than fits into memory: LanceDBVectorStore.

What an index asks of a store, in LanceDB's words; LanceDB itself is imported by
`lancedb.py`, at the first call.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from .documents import TextNode
from .errors import MissingExtraError

_AT_A_TIME = 500
# Ids in one condition.


class LanceDBVectorStore:
    """Chunks and their vectors in a folder, by LanceDB.

    Pass it as ``vector_store=`` when an index is built, and open it again with
    `VectorStoreIndex.from_vector_store`. Search is exact. For millions of chunks
    make an index of LanceDB's own, which is quicker and may miss some:
    ``store.table.create_index(metric="dot")``.

    Args:
        uri: The folder; made when first written.
        table_name: Which table in it.

    Raises:
        MissingExtraError: LanceDB is not installed; by the first call.
    """

    def __init__(self, uri: str | os.PathLike[str], table_name: str = "chunks") -> None:
        self.uri = os.fspath(uri)
        self.table_name = table_name
        self._start()

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._database: Any = None
        self._table: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"uri": self.uri, "table_name": self.table_name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()

    def __repr__(self) -> str:
        return f"LanceDBVectorStore({self.uri!r}, {self.table_name!r})"

    @property
    def table(self) -> Any:
        """The table of LanceDB; None before anything was stored."""
        with self._lock:
            if self._database is None:
                self._database = _library().connect(self.uri)
            if self._table is None:
                self._table = _library().open_table(self._database, self.table_name)
            return self._table

    @property
    def dim(self) -> int | None:
        """Dimensions, or None before the first vector."""
        table = self.table
        return None if table is None else int(_library().dimensions(table))

    def __len__(self) -> int:
        table = self.table
        return 0 if table is None else int(table.count_rows())

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
        """Store nodes with their vectors; one whose id is there is replaced.

        Raises:
            IndexMismatchError: Not one vector a node, or of other dimensions.
            InvalidVectorError: NaN or infinity among the numbers.
        """
        library = _library()
        from .numpy import check_dimensions, unit_matrix

        matrix = unit_matrix([node.id_ for node in nodes], vectors)
        if not nodes:
            return
        check_dimensions(self.dim, matrix.shape[1])
        last = {node.id_: at for at, node in enumerate(nodes)}
        if len(last) < len(nodes):
            nodes, matrix = (
                [nodes[at] for at in last.values()],
                matrix[[*last.values()]],
            )
        texts = [
            (node.id_, node.ref_doc_id or node.id_, model_name, node.model_dump_json())
            for node in nodes
        ]
        with self._lock:
            if self.table is None:
                self._table = library.create_table(
                    self._database, self.table_name, matrix.shape[1]
                )
            merge = self.table.merge_insert("id").when_matched_update_all()
            merge.when_not_matched_insert_all().execute(library.rows(texts, matrix))

    def delete(self, ids: Sequence[str]) -> None:
        """Forget the ids; unknown ones are ignored."""
        with self._lock:
            if self.table is not None:
                for condition in _conditions(ids):
                    self.table.delete(condition)

    def query(
        self, vector: Sequence[float], k: int, *, allowed: set[str] | None = None
    ) -> list[tuple[str, float]]:
        """Return up to `k` ``(id, cosine)`` pairs, best first.

        Raises:
            IndexMismatchError: The vector has other dimensions than the store.
            InvalidVectorError: NaN or infinity among the numbers.
        """
        table = self.table
        if table is None or k < 1 or allowed == set():
            return []
        from .numpy import check_dimensions, unit_matrix

        [wanted] = unit_matrix([""], [vector])
        check_dimensions(self.dim, len(wanted))
        search = table.search(wanted).distance_type("dot").limit(k)
        if allowed is not None:
            search = search.where(_among(sorted(allowed)), prefilter=True)
        found = search.select(["id", "_distance"]).to_list()
        # What LanceDB calls a distance is 1 less the product.
        return [(row["id"], 1.0 - float(row["_distance"])) for row in found]

    def get_nodes(self, node_ids: Sequence[str] | None = None) -> Iterator[TextNode]:
        """Return those of the nodes that are there, or all, in no order."""
        table = self.table
        if table is None:
            return
        conditions = [None] if node_ids is None else _conditions(node_ids)
        for condition in conditions:
            search = table.search().select(["node"])
            if condition is not None:
                search = search.where(condition)
            for batch in search.to_batches(_AT_A_TIME):
                for text in batch.column("node").to_pylist():
                    yield TextNode.model_validate_json(text)

    def get_model_name(self) -> str | None:
        """Return which model made the vectors, where that was told."""
        if self.table is None:
            return None
        found = self.table.search().select(["model"]).limit(1).to_list()
        return found[0]["model"] if found else None


def _library() -> ModuleType:
    try:
        from . import lancedb
    except ModuleNotFoundError as error:
        raise MissingExtraError.for_package(
            "lancedb", "lancedb", "LanceDBVectorStore"
        ) from error
    return lancedb


def _conditions(ids: Sequence[str]) -> list[str]:
    starts = range(0, len(ids), _AT_A_TIME)
    return [_among(ids[start : start + _AT_A_TIME]) for start in starts]


def _among(ids: Sequence[str]) -> str:
    quoted = ", ".join("'" + id_.replace("'", "''") + "'" for id_ in ids)
    return f"id in ({quoted})"
