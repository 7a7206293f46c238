"""Vectors in one float32 matrix, searched exactly, by numpy. Nothing else imports it.

Exact search over 100,000 chunks of 384 dimensions takes about 9 ms, so there is
no approximate index here; beyond a gigabyte of vectors give the index a
`VectorStore` of your own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .errors import IndexMismatchError


class NumpyVectorStore:
    """Unit vectors in a matrix that doubles when it is full."""

    def __init__(self) -> None:
        self._matrix: NDArray[np.float32] | None = None
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def dim(self) -> int | None:
        """Dimensions, or None before the first vector."""
        return None if self._matrix is None else int(self._matrix.shape[1])

    def add(self, ids: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
        """Store ``(n, dim)`` vectors, scaled to length 1; known ids are replaced.

        A vector of zeros stays zeros, and so is like nothing: cosine 0.

        Raises:
            IndexMismatchError: Not one vector an id, or of other dimensions.
        """
        if len(ids) != len(vectors):
            raise IndexMismatchError(
                f"The embedding model returned {len(vectors)} vectors for "
                f"{len(ids)} texts.",
                expected=len(ids),
                got=len(vectors),
            )
        if not ids:
            return
        lengths = {len(vector) for vector in vectors}
        if len(lengths) != 1:
            raise IndexMismatchError(
                f"The embedding model returned vectors of different lengths: "
                f"{sorted(lengths)}."
            )
        new = _unit(np.asarray(vectors, dtype=np.float32))
        self._check(new.shape[1])
        fresh = [id_ for id_ in dict.fromkeys(ids) if id_ not in self._rows]
        matrix = self._grown(len(self._ids) + len(fresh), new.shape[1])
        for id_ in fresh:
            self._rows[id_] = len(self._ids)
            self._ids.append(id_)
        matrix[[self._rows[id_] for id_ in ids]] = new

    def delete(self, ids: Sequence[str]) -> None:
        """Forget the ids; unknown ones are ignored."""
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
        """
        if not self._ids or k < 1:
            return []
        assert self._matrix is not None
        wanted = _unit(np.asarray(vector, dtype=np.float32)[None])[0]
        self._check(wanted.shape[0])
        scores = self._matrix[: len(self._ids)] @ wanted
        if allowed is None:
            rows = np.arange(len(self._ids))
        else:
            rows = np.array([self._rows[i] for i in allowed if i in self._rows], int)
            scores = scores[rows]
        k = min(k, len(rows))
        if k == 0:
            return []
        best = np.argpartition(-scores, k - 1)[:k]
        best = best[np.argsort(-scores[best], kind="stable")]
        return [(self._ids[rows[i]], float(scores[i])) for i in best]

    def _check(self, dim: int) -> None:
        if self.dim is not None and dim != self.dim:
            raise IndexMismatchError(
                f"This index holds vectors of {self.dim} dimensions and got {dim}. "
                "Query it with the embedding model it was built with, or rebuild it.",
                expected=self.dim,
                got=dim,
            )

    def _grown(self, rows: int, dim: int) -> NDArray[np.float32]:
        if self._matrix is None:
            self._matrix = np.zeros((max(rows, 16), dim), dtype=np.float32)
        elif rows > len(self._matrix):
            grown = np.zeros((max(rows, 2 * len(self._matrix)), dim), np.float32)
            grown[: len(self._ids)] = self._matrix[: len(self._ids)]
            self._matrix = grown
        return self._matrix


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    scaled: NDArray[np.float32] = vectors / lengths
    return scaled
