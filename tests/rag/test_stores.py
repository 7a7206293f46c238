"""Vector stores elsewhere: what is missing, refused, gone, and who says so.

What they all do is in `tests/contracts/test_vector_store.py`.
"""

import asyncio
import subprocess
import sys
import threading

import numpy as np
import pytest

from postgres import postgres as postgres
from stepwell.rag import (
    Document,
    InvalidOptionError,
    LanceDBVectorStore,
    MissingExtraError,
    PGVectorStore,
    RagWarning,
    TextNode,
    VectorStoreError,
    VectorStoreIndex,
)
from stepwell.rag import numpy as vectors
from stepwell.rag.numpy import NumpyVectorStore
from stepwell.testing import FakeEmbedding


@pytest.mark.parametrize(
    ("store", "package", "extra"),
    [
        (LanceDBVectorStore("folder"), "lancedb", "lancedb"),
        (PGVectorStore("dbname=x"), "psycopg", "pgvector"),
    ],
)
def test_a_library_that_is_missing_is_named_with_its_extra(
    store, package, extra, monkeypatch
):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"stepwell.rag.{package}", raising=False)
    monkeypatch.delattr(f"stepwell.rag.{package}", raising=False)
    with pytest.raises(MissingExtraError, match=rf'"stepwell\[{extra}\]"') as caught:
        VectorStoreIndex(vector_store=store, embed_model=FakeEmbedding())
    assert (caught.value.package, caught.value.extra) == (package, extra)


def test_making_a_store_loads_no_vendor():
    code = (
        "import sys; from stepwell.rag import *\n"
        "LanceDBVectorStore('folder'); PGVectorStore('dbname=x')\n"
        "print([n for n in ('lancedb', 'pyarrow', 'psycopg', 'numpy')"
        " if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_store_needs_an_embedding_model():
    with pytest.raises(InvalidOptionError, match="needs embed_model="):
        VectorStoreIndex(vector_store=NumpyVectorStore())


def test_an_index_in_a_store_is_not_written_to_a_file(tmp_path):
    class Elsewhere:
        dim = None

        def __len__(self):
            return 0

        def __repr__(self):
            return "Elsewhere()"

    index = VectorStoreIndex(vector_store=Elsewhere(), embed_model=FakeEmbedding())
    with pytest.raises(InvalidOptionError, match=r"Elsewhere\(\) keeps the vectors"):
        index.persist(tmp_path / "i")


def test_a_server_that_is_not_there_is_one_clear_error(tmp_path):
    pytest.importorskip("psycopg")
    store = PGVectorStore(f"host={tmp_path} dbname=x user=me password=secret")
    with pytest.raises(VectorStoreError, match="PostgreSQL cannot be used") as caught:
        len(store)
    assert "secret" not in str(caught.value) + repr(store)


def test_a_connection_that_was_lost_is_made_again(postgres):
    store = PGVectorStore(postgres.address, "lost")
    store.add(["a"], [[1.0, 0.0]])
    postgres.stop()
    with pytest.raises(VectorStoreError):
        len(store)
    postgres.start()
    assert store.query([1.0, 0.0], 1) == [("a", pytest.approx(1.0))]
    store.close()


def test_what_a_server_refuses_stores_nothing(postgres):
    store = PGVectorStore(postgres.address, "refused")
    store.add(["a"], [[1.0, 0.0]])
    with pytest.raises(VectorStoreError, match="cannot store chunks"):
        store.add(["b", "c\0"], [[1.0, 0.0], [0.0, 1.0]])
    assert len(store) == 1
    store.close()


def test_two_at_once_may_make_the_same_table(postgres):
    errors, begin = [], threading.Barrier(2)

    def fill(name):
        store = PGVectorStore(postgres.address, "together")
        begin.wait(30)
        try:
            store.add([name], [[1.0, 0.0]])
        except Exception as error:
            errors.append(error)
        store.close()

    threads = [threading.Thread(target=fill, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_questions_to_a_server_leave_the_event_loop_free(postgres, monkeypatch):
    store = PGVectorStore(postgres.address, "free")
    documents = [Document(text=f"red {n}") for n in range(3)]
    began, may_end = threading.Event(), threading.Event()
    query = store.query

    def slow(*arguments, **options):
        began.set()
        assert may_end.wait(30)
        return query(*arguments, **options)

    async def other():
        while not began.is_set():
            await asyncio.sleep(0)
        may_end.set()

    async def main():
        index = await VectorStoreIndex.afrom_documents(
            documents, embed_model=FakeEmbedding(), vector_store=store
        )
        monkeypatch.setattr(store, "query", slow)
        found, _ = await asyncio.gather(index.as_retriever().aretrieve("red"), other())
        assert len(found) == 3
        index.lexical.close()

    asyncio.run(main())
    store.close()


def test_texts_of_a_store_are_not_held_in_memory(postgres):
    store = PGVectorStore(postgres.address, "outside")
    nodes = [TextNode(text=f"red {n}", metadata={"n": n}) for n in range(50)]
    index = VectorStoreIndex(nodes, embed_model=FakeEmbedding(), vector_store=store)
    assert not any(isinstance(value, TextNode) for value in vars(index.nodes).values())
    found = index.as_retriever(filters={"n": [7, 8]}).retrieve("red 8")
    assert [node.text for node in found] == ["red 8", "red 7"]
    index.lexical.close()
    store.close()


# ----------------------------------------------------------- in memory


def test_several_questions_at_once_get_what_each_alone_gets():
    random = np.random.default_rng(1)
    store = NumpyVectorStore()
    store.add([str(n) for n in range(500)], random.normal(size=(500, 16)))
    questions = random.normal(size=(9, 16))
    for allowed in (None, {str(n) for n in range(0, 500, 7)}, {"1", "2", "x"}, set()):
        together = store.query_batch(questions, 5, allowed=allowed)
        alone = [store.query(question, 5, allowed=allowed) for question in questions]
        for one, other in zip(together, alone, strict=True):
            assert [id_ for id_, _ in one] == [id_ for id_, _ in other]
            scores = [score for _, score in other]
            assert [score for _, score in one] == pytest.approx(scores, abs=1e-6)
    assert store.query_batch([], 5) == []
    assert NumpyVectorStore().query_batch(questions, 5) == [[]] * 9


def test_a_gigabyte_of_vectors_names_the_way_out_once(monkeypatch):
    monkeypatch.setattr(vectors, "_LARGE", 1_000)
    store = NumpyVectorStore()
    with pytest.warns(RagWarning, match="LanceDBVectorStore") as told:
        for n in range(100):
            store.add([str(n)], [[1.0, 0.0, 0.0]])
    assert len(told) == 1


def test_adding_copies_less_than_two_matrices():
    import tracemalloc

    given = np.ones((40_000, 64), dtype=np.float32)
    ids = [str(n) for n in range(len(given))]
    store = NumpyVectorStore()
    tracemalloc.start()
    store.add(ids, given)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The table of ids and rows is in it too: a hundred bytes or so each.
    assert peak < 2 * given.nbytes + 200 * len(ids)
