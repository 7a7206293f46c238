"""What every vector store does. A new one adds its id to `STORES`."""

import copy
import itertools
import pickle
import re
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepwell.rag import (
    Document,
    IndexMismatchError,
    InvalidVectorError,
    LanceDBVectorStore,
    NodeVectorStore,
    PGVectorStore,
    TextNode,
    VectorStoreIndex,
)
from stepwell.rag.numpy import NumpyVectorStore
from stepwell.testing import FakeEmbedding

NUMBERS = itertools.count()
ROOT = Path(__file__).resolve().parents[2]


def numpy(request):
    return NumpyVectorStore


def lancedb(request):
    pytest.importorskip("lancedb", reason="lancedb is not installed: 450 MB")
    folder = request.getfixturevalue("tmp_path")
    return lambda: LanceDBVectorStore(folder / "vectors", f"t{next(NUMBERS)}")


def pgvector(request):
    address = request.getfixturevalue("postgres").address
    return lambda: PGVectorStore(address, f'T "{next(NUMBERS)}"')


def qdrant(request):
    """The recipe of the documentation, on Qdrant without a server."""
    client = pytest.importorskip("qdrant_client", reason="qdrant-client not installed")
    text = (ROOT / "docs" / "vector-stores.md").read_text(encoding="utf-8")
    [recipe] = re.findall(r"```python\n(import json.*?)```", text, re.S)
    recipe_names = {}
    exec(recipe, recipe_names)
    here = client.QdrantClient(":memory:")
    request.addfinalizer(here.close)
    return lambda: recipe_names["QdrantVectorStore"](here, f"t{next(NUMBERS)}")


STORES = {"numpy": numpy, "lancedb": lancedb, "pgvector": pgvector, "qdrant": qdrant}
KEEPING_NODES = [name for name in STORES if name != "numpy"]


@pytest.fixture(params=STORES)
def new_store(request):
    """Makes stores, each with a place of its own."""
    made = []
    make = STORES[request.param](request)

    def new():
        made.append(make())
        return made[-1]

    yield new
    for store in made:
        if hasattr(store, "close"):
            store.close()


@pytest.fixture
def store(new_store):
    return new_store()


@pytest.fixture(params=KEEPING_NODES)
def node_store(request):
    store = STORES[request.param](request)()
    yield store
    if hasattr(store, "close"):
        store.close()


def cosine(one, other):
    lengths = (sum(x * x for x in one) * sum(x * x for x in other)) ** 0.5
    return sum(x * y for x, y in zip(one, other, strict=True)) / (lengths or 1)


rows = st.lists(
    st.lists(st.integers(-3, 3).map(float), min_size=3, max_size=3), max_size=12
)
options = settings(
    deadline=None,
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@options
@given(rows, st.sets(st.integers(0, 11)), st.integers(1, 15))
def test_search_agrees_with_comparing_one_by_one(new_store, vectors, deleted, k):
    store = new_store()
    kept = {f"it's {n}": vector for n, vector in enumerate(vectors)}
    store.add(list(kept), list(kept.values()))
    gone = [f"it's {n}" for n in deleted]
    store.delete(gone)
    for id_ in gone:
        kept.pop(id_, None)
    wanted = [1.0, -2.0, 0.5]
    expected = sorted((cosine(row, wanted) for row in kept.values()), reverse=True)
    found = store.query(wanted, k)
    assert [score for _, score in found] == pytest.approx(expected[:k], abs=1e-5)
    for id_, score in found:
        assert cosine(kept[id_], wanted) == pytest.approx(score, abs=1e-5)
    assert len(store) == len(kept)


def test_an_empty_store_knows_no_dimensions_and_finds_nothing(store):
    assert (len(store), store.dim) == (0, None)
    assert store.query([1.0, 0.0], 5) == []
    store.delete(["unknown"])
    store.add([], [])
    assert (len(store), store.dim) == (0, None)


def test_a_known_id_is_replaced(store):
    store.add(["a", "b"], [[1, 0], [0, 1]])
    store.add(["a", "c"], [[0, 1], [1, 0]])
    assert {id_ for id_, score in store.query([0, 1], 3) if score > 0.9} == {"a", "b"}
    assert (len(store), store.dim) == (3, 2)


def test_of_an_id_that_comes_twice_the_later_counts(store):
    store.add(["a", "a"], [[1, 0], [0, 1]])
    assert len(store) == 1
    assert store.query([0, 1], 5) == [("a", pytest.approx(1.0))]


def test_a_vector_of_zeros_is_like_nothing(store):
    store.add(["zero", "one"], [[0, 0], [1, 0]])
    assert dict(store.query([1, 0], 2)) == {"zero": 0.0, "one": pytest.approx(1.0)}
    assert [score for _, score in store.query([0, 0], 2)] == [0.0, 0.0]


def test_only_the_direction_of_a_vector_counts(store):
    store.add(["long", "short"], [[500, 0], [0.001, 0]])
    scores = [score for _, score in store.query([3, 4], 2)]
    assert scores == pytest.approx([0.6, 0.6])


def test_only_allowed_ids_are_compared(store):
    store.add(["a", "b", "c", "d"], [[1, 0], [0.9, 0.1], [0, 1], [0.5, 0.5]])
    found = store.query([1, 0], 2, allowed={"b", "c", "x"})
    assert [id_ for id_, _ in found] == ["b", "c"]
    found = store.query([1, 0], 2, allowed={"a", "b", "c", "d"})
    assert [id_ for id_, _ in found] == ["a", "b"]
    assert store.query([1, 0], 2, allowed=set()) == []


def test_many_ids_may_be_allowed_and_deleted(store):
    ids = [f"id {n}" for n in range(3_000)]
    store.add(ids, [[1.0, n] for n in range(3_000)])
    assert len(store.query([1, 0], 2_500, allowed=set(ids[:2_999]))) == 2_500
    store.delete(ids[1:])
    assert [id_ for id_, _ in store.query([1, 0], 9)] == ["id 0"]


def test_more_may_be_asked_for_than_there_is_and_none(store):
    store.add(["a"], [[1, 0]])
    assert len(store.query([1, 0], 100)) == 1
    assert store.query([1, 0], 0) == []


def test_vectors_that_do_not_fit_are_refused_and_change_nothing(store):
    store.add(["a"], [[1, 0]])
    with pytest.raises(IndexMismatchError, match="2 dimensions and got 3") as caught:
        store.query([1, 0, 0], 1)
    assert (caught.value.expected, caught.value.got) == (2, 3)
    with pytest.raises(IndexMismatchError, match="2 dimensions and got 3"):
        store.add(["b"], [[1, 0, 0]])
    with pytest.raises(IndexMismatchError, match="different lengths"):
        store.add(["b", "c"], [[1, 0], [1]])
    with pytest.raises(IndexMismatchError, match="1 vectors for 2 texts"):
        store.add(["b", "c"], [[1, 0]])
    assert len(store) == 1


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_what_is_no_number_is_refused_and_changes_nothing(store, wrong):
    store.add(["a"], [[1, 0]])
    with pytest.raises(InvalidVectorError, match="the chunk 'c'") as caught:
        store.add(["b", "c"], [[1, 0], [wrong, 0]])
    assert caught.value.ids == ("c",)
    with pytest.raises(InvalidVectorError, match="the question"):
        store.query([wrong, 0], 1)
    assert len(store) == 1


def test_it_may_be_used_from_several_threads(store):
    if "Qdrant" in type(store).__name__:
        pytest.skip("without a server Qdrant's client is for one thread")
    store.add(["start"], [[1.0, 0.0]])
    errors = []

    def work(number):
        try:
            for turn in range(4):
                ids = [f"{number} {turn} {i}" for i in range(5)]
                store.add(ids, [[1.0, i] for i in range(5)])
                assert len(store.query([1.0, 0.5], 3)) == 3
                store.delete(ids[1:])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store) == 1 + 4 * 4


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_it_travels_to_another_process(store, again):
    if "Qdrant" in type(store).__name__:
        pytest.skip("a store of one's own travels if its client does")
    store.add(["a", "b"], [[1, 0], [0, 1]])
    there = again(store)
    assert there.query([1, 0.1], 2) == store.query([1, 0.1], 2)
    if hasattr(there, "close"):
        there.close()


def test_an_index_keeps_its_vectors_in_it(store):
    documents = [
        Document(text="red wine", id_="1"),
        Document(text="navy sea", id_="2"),
    ]
    model = FakeEmbedding()
    index = VectorStoreIndex.from_documents(
        documents, embed_model=model, vector_store=store
    )
    assert len(store) == len(index) == 2
    found = index.as_retriever(1, mode="dense").retrieve("red wine")
    assert [node.text for node in found] == ["red wine"]
    index.delete_ref_doc("1")
    assert [n.text for n in index.as_retriever().retrieve("red wine sea")] == [
        "navy sea"
    ]
    assert len(store) == 1


# ------------------------------------------------- those that keep nodes too


def test_nodes_come_back_whole(node_store):
    nodes = [
        TextNode(
            text="a\0b 🎉 it's",
            id_="n'1",
            ref_doc_id="d",
            metadata={"year": 2026, "tags": ["x"]},
            start_char_idx=0,
            end_char_idx=9,
        ),
        TextNode(text="", id_="n2"),
    ]
    node_store.add_nodes(nodes, [[1, 0], [0, 1]], model_name="m")
    assert isinstance(node_store, NodeVectorStore)
    assert list(node_store.get_nodes(["n'1", "unknown"])) == nodes[:1]
    assert sorted(node_store.get_nodes(), key=lambda n: n.id_) == nodes
    assert node_store.get_model_name() == "m"


def test_an_empty_store_has_no_nodes(node_store):
    assert list(node_store.get_nodes()) == list(node_store.get_nodes(["x"])) == []
    assert node_store.get_model_name() is None


def test_more_nodes_than_a_page_come_once_each(node_store):
    nodes = [TextNode(text=str(n), id_=f"{n}") for n in range(2_100)]
    node_store.add_nodes(nodes, [[1.0, n] for n in range(2_100)])
    assert sorted(int(n.text) for n in node_store.get_nodes()) == list(range(2_100))
    some = [f"{n}" for n in range(1_500)]
    assert sorted(n.id_ for n in node_store.get_nodes(some)) == sorted(some)


def test_an_index_is_opened_from_it_and_embeds_nothing(node_store):
    documents = [Document(text=f"red {n}", id_=str(n)) for n in range(5)]
    model = FakeEmbedding()
    one = VectorStoreIndex.from_documents(
        documents, embed_model=model, vector_store=node_store
    )
    embedded = len(model.texts)
    two = VectorStoreIndex.from_vector_store(node_store, embed_model=model)
    assert len(two) == 5
    query = "red 3"
    [best] = two.as_retriever(1).retrieve(query)
    assert best.text == query
    assert [best] == one.as_retriever(1).retrieve(query)
    filtered = two.as_retriever(filters={"x": 1})
    assert filtered.retrieve(query) == []
    changed = [Document(text="blue", id_="0"), documents[1], Document(text="n")]
    assert two.refresh_ref_docs(changed) == [True, False, True]
    assert len(model.texts) == embedded + 2
    three = VectorStoreIndex.from_vector_store(node_store, embed_model=model)
    assert [n.text for n in three.as_retriever(1).retrieve("blue")] == ["blue"]
    assert len(three) == 6
    for index in (one, two, three):
        index.lexical.close()


def test_another_embedding_model_is_refused(node_store):
    class Other(FakeEmbedding):
        model_name = "other"

    node_store.add_nodes([TextNode(text="a")], [[1.0, 0.0]], model_name="this")
    with pytest.raises(IndexMismatchError, match="'this', and the model given is 'ot"):
        VectorStoreIndex.from_vector_store(node_store, embed_model=Other())
