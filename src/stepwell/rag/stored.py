"""The nodes of an index whose vector store keeps them: StoredNodes.

Reads a node when it is asked for, and remembers some: what is too large for
memory stays where it is. Ids are held, texts are not.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import ItemsView, Iterator, Mapping, Sequence, ValuesView
from typing import Any

from .base import NodeVectorStore
from .documents import TextNode

_REMEMBERED = 2_000
_BLOCK = 1_000


class StoredNodes(Mapping[str, TextNode]):
    """Nodes by id, read from their store.

    Args:
        store: Where they are.

    Attributes:
        documents: The document of each node, by the node's id.
    """

    def __init__(self, store: NodeVectorStore) -> None:
        self._store = store
        self.documents: dict[str, str] = {
            node.id_: node.ref_doc_id or node.id_ for node in store.get_nodes()
        }
        self._start()

    def _start(self) -> None:
        self._remembered: OrderedDict[str, TextNode] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"_store": self._store, "documents": dict(self.documents)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()

    def __len__(self) -> int:
        return len(self.documents)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self.documents))

    def __contains__(self, id_: object) -> bool:
        return id_ in self.documents

    def __getitem__(self, id_: str) -> TextNode:
        return self.of([id_])[id_]

    def of(self, ids: Sequence[str]) -> dict[str, TextNode]:
        """Return the nodes that are there of `ids`, read in one go."""
        wanted = [id_ for id_ in ids if id_ in self.documents]
        with self._lock:
            found = {
                id_: self._remembered[id_] for id_ in wanted if id_ in self._remembered
            }
        missing = [id_ for id_ in wanted if id_ not in found]
        if missing:
            read = {node.id_: node for node in self._store.get_nodes(missing)}
            found.update(read)
            with self._lock:
                self._remembered.update(read)
                while len(self._remembered) > _REMEMBERED:
                    self._remembered.popitem(last=False)
        return found

    def forget(self, id_: str) -> None:
        """Read the node anew when it is asked for again."""
        with self._lock:
            self._remembered.pop(id_, None)

    def items(self) -> ItemsView[str, TextNode]:
        """Return ids and nodes, read some at a time."""
        return _Items(self)

    def values(self) -> ValuesView[TextNode]:
        """Return the nodes, read some at a time."""
        return _Values(self)

    def read(self) -> Iterator[TextNode]:
        """Read all nodes, and remember none."""
        ids = list(self.documents)
        for start in range(0, len(ids), _BLOCK):
            yield from self._store.get_nodes(ids[start : start + _BLOCK])


class _Items(ItemsView[str, TextNode]):
    _mapping: StoredNodes

    def __iter__(self) -> Iterator[tuple[str, TextNode]]:
        return ((node.id_, node) for node in self._mapping.read())


class _Values(ValuesView[TextNode]):
    _mapping: StoredNodes

    def __iter__(self) -> Iterator[TextNode]:
        return self._mapping.read()
