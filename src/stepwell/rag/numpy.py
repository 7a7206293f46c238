"""Vectors in one float32 matrix, searched exactly, by numpy. Nothing else imports it.

Exact search over 100,000 chunks of 384 dimensions takes about 9 ms, so there is
no approximate index here; beyond a gigabyte of vectors give the index a
`VectorStore` that keeps them elsewhere. What every store does with vectors
before it takes them is here too: checking them, and scaling them to length 1.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import IndexMismatchError, InvalidVectorError, RagWarning

Matrix = NDArray[np.float32]

_BLOCK = 4_096
# Rows that are scaled, and written to a file, at a time: what is made on the way
# stays small beside the matrix.
_LARGE = 10**9
# Bytes of vectors above which people are told of other stores.


class NumpyVectorStore:
    """Unit vectors in a matrix that doubles when it is full. Safe from any thread."""

    def __init__(self) -> None:
        self._matrix: Matrix | None = None
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._lock = threading.RLock()
        self._warned = False

    def __len__(self) -> int:
        return len(self._ids)

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            state = {key: value for key, value in vars(self).items() if key != "_lock"}
            # Without the room that is kept for more, and not shared with what
            # goes on changing here.
            state["_ids"], state["_rows"] = list(self._ids), dict(self._rows)
            if self._matrix is not None:
                state["_matrix"] = self._matrix[: len(self._ids)].copy()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.RLock()

    @property
    def dim(self) -> int | None:
        """Dimensions, or None before the first vector."""
        return None if self._matrix is None else int(self._matrix.shape[1])

    def add(self, ids: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
        """Store ``(n, dim)`` vectors, scaled to length 1; known ids are replaced.

        A vector of zeros stays zeros, and so is like nothing: cosine 0. Of an id
        that comes twice the later counts. After an error nothing has changed.

        Raises:
            IndexMismatchError: Not one vector an id, or of other dimensions.
            InvalidVectorError: NaN or infinity among the numbers.
        """
        new = as_matrix(ids, vectors)
        if new is None:
            return
        lengths = _lengths(new, ids)
        with self._lock:
            check_dimensions(self.dim, new.shape[1])
            fresh = [id_ for id_ in dict.fromkeys(ids) if id_ not in self._rows]
            began = len(self._ids)
            matrix = self._grown(began + len(fresh), new.shape[1])
            self._rows.update(zip(fresh, range(began, began + len(fresh)), strict=True))
            self._ids.extend(fresh)
            # Where all are new they stand in a row, and need no table of places.
            places = (
                None if len(fresh) == len(ids) else [self._rows[id_] for id_ in ids]
            )
            for start in range(0, len(ids), _BLOCK):
                end = min(start + _BLOCK, len(ids))
                scaled = new[start:end] / lengths[start:end, None]
                if places is None:
                    matrix[began + start : began + end] = scaled
                else:
                    matrix[places[start:end]] = scaled

    def delete(self, ids: Sequence[str]) -> None:
        """Forget the ids; unknown ones are ignored."""
        with self._lock:
            for id_ in ids:
                row = self._rows.pop(id_, None)
                if row is None:
                    continue
                assert self._matrix is not None
                last = self._ids.pop()
                if last != id_:
                    self._matrix[row] = self._matrix[len(self._ids)]
                    self._ids[row] = last
                    self._rows[last] = row

    def query(
        self, vector: Sequence[float], k: int, *, allowed: set[str] | None = None
    ) -> list[tuple[str, float]]:
        """Return up to `k` ``(id, cosine)`` pairs, best first.

        Raises:
            IndexMismatchError: The vector has other dimensions than the index.
            InvalidVectorError: NaN or infinity among the numbers.
        """
        return self.query_batch([vector], k, allowed=allowed)[0]

    def query_batch(
        self,
        vectors: Sequence[Sequence[float]],
        k: int,
        *,
        allowed: set[str] | None = None,
    ) -> list[list[tuple[str, float]]]:
        """Return for each of ``(n, dim)`` vectors what `query` returns for it.

        One product for all of them takes a third of the time of one for each.
        """
        if not len(vectors):
            return []
        wanted = unit_matrix([""] * len(vectors), vectors)
        with self._lock:
            if not self._ids or k < 1:
                return [[] for _ in vectors]
            assert self._matrix is not None
            check_dimensions(self.dim, wanted.shape[1])
            matrix = self._matrix[: len(self._ids)]
            rows = None
            if allowed is not None:
                rows = np.sort(
                    np.array([self._rows[i] for i in allowed if i in self._rows], int)
                )
                # Only the rows that count are compared, unless they are so many
                # that copying them out would cost more than comparing all.
                if len(rows) < len(matrix) // 8:
                    matrix = matrix[rows]
            if len(wanted) == 1:
                scores = (matrix @ wanted[0])[None]
            else:
                scores = wanted @ matrix.T
            if rows is not None and scores.shape[1] != len(rows):
                scores = scores[:, rows]
            return [self._best(one, rows, k) for one in scores]

    def _best(
        self, scores: Matrix, rows: NDArray[np.int_] | None, k: int
    ) -> list[tuple[str, float]]:
        k = min(k, len(scores))
        if k == 0:
            return []
        best = np.argpartition(scores, len(scores) - k)[len(scores) - k :]
        best = best[np.argsort(-scores[best], kind="stable")]
        found = best if rows is None else rows[best]
        return [
            (self._ids[row], float(scores[at]))
            for row, at in zip(found.tolist(), best.tolist(), strict=True)
        ]

    def to_blocks(self, ids: Sequence[str]) -> Iterator[bytes]:
        """Return the vectors of `ids`, in this order, as little-endian float32."""
        for start in range(0, len(ids), _BLOCK):
            with self._lock:
                assert self._matrix is not None
                rows = [self._rows[id_] for id_ in ids[start : start + _BLOCK]]
                block = self._matrix[rows]
            yield block.astype("<f4", copy=False).tobytes()

    @classmethod
    def from_blocks(
        cls, ids: Sequence[str], dim: int, blocks: Iterable[bytes]
    ) -> NumpyVectorStore:
        """Return a store of what `to_blocks` gave.

        Raises:
            IndexMismatchError: There are not as many numbers as there should be.
        """
        store = cls()
        matrix = np.empty((len(ids), dim), dtype=np.float32)
        flat = matrix.reshape(-1)
        at = 0
        for block in blocks:
            numbers = np.frombuffer(block[: len(block) // 4 * 4], dtype="<f4")
            if len(block) % 4 or at + len(numbers) > len(flat):
                at = -1
                break
            flat[at : at + len(numbers)] = numbers
            at += len(numbers)
        if at != len(flat):
            raise IndexMismatchError(
                f"There are not {dim} numbers for each of {len(ids)} chunks."
            )
        if len(ids):
            store._matrix = matrix
        store._ids = list(ids)
        store._rows = {id_: row for row, id_ in enumerate(ids)}
        return store

    def _grown(self, rows: int, dim: int) -> Matrix:
        if self._matrix is None:
            self._matrix = np.zeros((max(rows, 16), dim), dtype=np.float32)
        elif rows > len(self._matrix):
            grown = np.zeros((max(rows, 2 * len(self._matrix)), dim), np.float32)
            grown[: len(self._ids)] = self._matrix[: len(self._ids)]
            self._matrix = grown
        if 4 * rows * dim > _LARGE and not self._warned:
            self._warned = True
            warnings.warn(
                f"This index holds {rows:,} vectors of {dim} dimensions in memory: "
                f"{4 * rows * dim / 10**9:.1f} GB. One on disk or in a database takes "
                "their place: VectorStoreIndex(nodes, vector_store="
                'LanceDBVectorStore("folder")), with pip install "stepwell[lancedb]".',
                RagWarning,
                stacklevel=4,
            )
        return self._matrix


def as_matrix(ids: Sequence[str], vectors: Sequence[Sequence[float]]) -> Matrix | None:
    """Return what an embedding model gave for `ids` as ``(n, dim)``; None for none.

    Raises:
        IndexMismatchError: Not one vector an id, or of different lengths.
    """
    if len(ids) != len(vectors):
        raise IndexMismatchError(
            f"The embedding model returned {len(vectors)} vectors for "
            f"{len(ids)} texts.",
            expected=len(ids),
            got=len(vectors),
        )
    if not len(ids):
        return None
    lengths = {len(vector) for vector in vectors}
    if len(lengths) != 1:
        raise IndexMismatchError(
            f"The embedding model returned vectors of different lengths: "
            f"{sorted(lengths)}."
        )
    if lengths == {0}:
        raise IndexMismatchError("The embedding model returned vectors of no numbers.")
    with np.errstate(over="ignore"):  # too large for float32: found below, as infinity
        return np.asarray(vectors, dtype=np.float32)


def unit_matrix(ids: Sequence[str], vectors: Sequence[Sequence[float]]) -> Matrix:
    """Return vectors as ``(n, dim)``, scaled to length 1; zeros stay zeros.

    Raises:
        IndexMismatchError: As `as_matrix`.
        InvalidVectorError: NaN or infinity among the numbers.
    """
    matrix = as_matrix(ids, vectors)
    if matrix is None:
        return np.zeros((0, 0), dtype=np.float32)
    return (matrix / _lengths(matrix, ids)[:, None]).astype(np.float32)


def check_dimensions(expected: int | None, got: int) -> None:
    """Compare the dimensions of a store, None before its first vector, with others.

    Raises:
        IndexMismatchError: They differ.
    """
    if expected is not None and got != expected:
        raise IndexMismatchError(
            f"This index holds vectors of {expected} dimensions and got {got}. "
            "Query it with the embedding model it was built with, or rebuild it.",
            expected=expected,
            got=got,
        )


def _lengths(matrix: Matrix, ids: Sequence[str]) -> NDArray[np.float64]:
    """Return the length of each row, 1 for rows of zeros; refuse NaN and infinity."""
    squares = np.empty(len(matrix), dtype=np.float64)
    for start in range(0, len(matrix), _BLOCK):
        block = matrix[start : start + _BLOCK].astype(np.float64)
        np.einsum("ij,ij->i", block, block, out=squares[start : start + _BLOCK])
    if not np.isfinite(squares).all():
        wrong = tuple(
            ids[row] for row in np.flatnonzero(~np.isfinite(squares)).tolist()
        )
        raise InvalidVectorError(_not_finite(wrong), ids=tuple(filter(None, wrong)))
    squares[squares == 0] = 1
    return np.sqrt(squares)


def _not_finite(ids: tuple[str, ...]) -> str:
    if not any(ids):
        what = "the question"
    elif len(ids) == 1:
        what = f"the chunk {ids[0]!r}"
    else:
        what = f"{len(ids)} chunks, first {ids[0]!r}"
    return (
        f"The embedding model returned NaN or infinity for {what}, which nothing can "
        "be compared with. Look at the text and at the model: half precision, or an "
        "empty text, is the usual cause."
    )
