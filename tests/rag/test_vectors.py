"""The matrix of vectors, against a search written out in full."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.rag import IndexMismatchError
from stepwell.rag.numpy import NumpyVectorStore

vectors = st.lists(
    st.lists(st.integers(-3, 3).map(float), min_size=3, max_size=3), max_size=40
)


def cosine(one, other):
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    return float(np.dot(one, other) / lengths) if lengths else 0.0


@settings(deadline=None)
@given(vectors, st.lists(st.integers(0, 39)), st.integers(1, 50))
def test_search_agrees_with_comparing_one_by_one(rows, deleted, k):
    store = NumpyVectorStore()
    kept = {}
    for number, row in enumerate(rows):
        store.add([str(number)], [row])
        kept[str(number)] = row
    store.delete([str(number) for number in deleted])
    for number in deleted:
        kept.pop(str(number), None)
    wanted = [1.0, -2.0, 0.5]
    expected = sorted((cosine(row, wanted) for row in kept.values()), reverse=True)[:k]
    found = store.query(wanted, k)
    assert [score for _, score in found] == pytest.approx(expected, abs=1e-5)
    for id_, score in found:
        assert cosine(kept[id_], wanted) == pytest.approx(score, abs=1e-5)
    assert len(store) == len(kept)


def test_a_known_id_is_replaced():
    store = NumpyVectorStore()
    store.add(["a", "b"], [[1, 0], [0, 1]])
    store.add(["a", "c"], [[0, 1], [1, 0]])
    assert {id_ for id_, score in store.query([0, 1], 3) if score > 0.9} == {"a", "b"}
    assert len(store) == 3


def test_a_vector_of_zeros_is_like_nothing():
    store = NumpyVectorStore()
    store.add(["zero", "one"], [[0, 0], [1, 0]])
    assert dict(store.query([1, 0], 2)) == {"zero": 0.0, "one": 1.0}
    assert [score for _, score in store.query([0, 0], 2)] == [0.0, 0.0]


def test_only_allowed_ids_are_compared():
    store = NumpyVectorStore()
    store.add(["a", "b", "c"], [[1, 0], [0.9, 0.1], [0, 1]])
    assert [i for i, _ in store.query([1, 0], 2, allowed={"b", "c", "x"})] == ["b", "c"]
    assert store.query([1, 0], 2, allowed=set()) == []


def test_vectors_that_do_not_fit_are_refused():
    store = NumpyVectorStore()
    store.add(["a"], [[1, 0]])
    with pytest.raises(IndexMismatchError, match="2 dimensions and got 3"):
        store.query([1, 0, 0], 1)
    with pytest.raises(IndexMismatchError, match="different lengths"):
        store.add(["b", "c"], [[1, 0], [1]])
