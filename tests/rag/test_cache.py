"""Vectors kept on disk: to run a cell again costs nothing."""

import asyncio
import copy
import os
import pickle
import sqlite3
import subprocess
import sys
import threading

import pytest

from rag.model_server import failure
from stepwell.rag import (
    CachedEmbedding,
    Document,
    EmbeddingCache,
    HuggingFaceEmbedding,
    IndexMismatchError,
    InvalidOptionError,
    ModelServerError,
    OpenAIEmbedding,
    RagWarning,
    Settings,
    TextNode,
    VectorStoreIndex,
)
from stepwell.testing import FakeEmbedding


class Model(FakeEmbedding):
    """Without asynchronous methods, and with a name."""

    cache_key = "mine"
    embed_batch_size = 4
    aget_text_embedding_batch = None
    aget_query_embedding = None


def documents(count):
    return [Document(text=f"text number {n}", id_=str(n)) for n in range(count)]


def hosted(server, **options):
    return OpenAIEmbedding("e", api_base=server.url, max_retries=0, **options)


def built(way, *arguments, **options):
    if way == "sync":
        return VectorStoreIndex.from_documents(*arguments, **options)
    return asyncio.run(VectorStoreIndex.afrom_documents(*arguments, **options))


BOTH = pytest.mark.parametrize("way", ["sync", "async"])


@BOTH
def test_building_an_index_again_asks_the_server_for_nothing(server, way):
    one = built(way, documents(30), embed_model=hosted(server, embed_batch_size=7))
    asked = len(server.requests)
    two = built(way, documents(30), embed_model=hosted(server, embed_batch_size=9))
    assert len(server.requests) == asked == 5
    found = [i.as_retriever(mode="dense").retrieve("number 3") for i in (one, two)]
    assert found[0] == found[1]
    assert len(server.requests) == asked + 1, "the second question was known"


@BOTH
def test_of_a_changed_document_only_what_is_new_is_embedded(server, way):
    model = hosted(server)
    built(way, documents(5), embed_model=model)
    server.requests.clear()
    changed = [*documents(5)[1:], Document(text="something else", id_="0")]
    built(way, changed, embed_model=model)
    [(_, body)] = server.requests
    assert body["input"] == ["something else"]


@BOTH
def test_a_failed_batch_loses_no_finished_one(server, way):
    model = hosted(server, embed_batch_size=2, num_workers=1)
    server.then(None, None, failure(401, "no"))
    with pytest.raises(ModelServerError, match="answered 401"):
        built(way, documents(10), embed_model=model)
    asked = len(server.requests)
    assert asked == 3
    index = built(way, documents(10), embed_model=model)
    assert len(server.requests) == asked + 3
    assert len(index) == len(index.vectors) == 10


@BOTH
def test_requests_go_out_side_by_side_as_the_model_says(way):
    class Slow(Model):
        cache_key = f"slow {way}"
        num_workers = 3
        embed_batch_size = 1

        def __init__(self):
            super().__init__()
            self.together = threading.Barrier(3)

        def get_text_embedding_batch(self, texts, **kwargs):
            self.together.wait(30)
            return super().get_text_embedding_batch(texts)

    index = built(way, documents(3), embed_model=Slow())
    assert len(index) == 3


@BOTH
def test_models_with_asynchronous_methods_are_asked_side_by_side(way):
    class Both(FakeEmbedding):
        cache_key = f"both {way}"
        num_workers = 2
        embed_batch_size = 1
        waiting = 0

        async def aget_text_embedding_batch(self, texts, **kwargs):
            self.waiting += 1
            while self.waiting < 2:
                await asyncio.sleep(0)
            return await super().aget_text_embedding_batch(texts)

    model = Both()
    built(way, documents(2), embed_model=model)
    assert model.waiting == (2 if way == "async" else 0)


def test_nothing_is_cached_of_a_class_that_does_not_say_what_it_depends_on(tmp_path):
    class Mine(FakeEmbedding):
        model_name = "under work"

    for _ in range(2):
        model = Mine()
        VectorStoreIndex.from_documents(documents(3), embed_model=model)
        assert len(model.texts) == 3
    assert not (tmp_path / "cache").exists()


def test_it_can_be_asked_for_and_refused(tmp_path):
    class Mine(FakeEmbedding):
        model_name = "mine"

    for turn, cache in enumerate([True, True, tmp_path / "here", tmp_path / "here"]):
        model = Mine()
        VectorStoreIndex.from_documents(documents(3), embed_model=model, cache=cache)
        assert len(model.texts) == (0 if turn % 2 else 3)
    model = Model()
    VectorStoreIndex.from_documents(documents(3), embed_model=model, cache=False)
    VectorStoreIndex.from_documents(documents(3), embed_model=model, cache=False)
    assert len(model.texts) == 6


def test_what_cannot_be_told_apart_is_not_cached():
    with pytest.raises(InvalidOptionError, match="an attribute cache_key"):
        CachedEmbedding(FakeEmbedding())


def test_without_a_folder_nothing_is_cached(tmp_path):
    Settings.cache_dir = None
    for _ in range(2):
        model = Model()
        VectorStoreIndex.from_documents(documents(3), embed_model=model)
        assert len(model.texts) == 3
    with pytest.raises(InvalidOptionError, match=r"Settings\.cache_dir is None"):
        VectorStoreIndex(embed_model=model, cache=True)
    assert not (tmp_path / "cache").exists()


def test_the_folder_is_a_setting(tmp_path):
    assert Settings.cache_dir == tmp_path / "cache"
    with Settings.use(cache_dir=tmp_path / "other"):
        VectorStoreIndex.from_documents(documents(1), embed_model=Model())
    assert (tmp_path / "other" / "embeddings.sqlite").exists()


def test_vectors_of_other_models_sizes_addresses_and_folders_are_others(tmp_path):
    keys = [
        OpenAIEmbedding("a").cache_key,
        OpenAIEmbedding("b").cache_key,
        OpenAIEmbedding("a", dimensions=4).cache_key,
        OpenAIEmbedding("a", api_base="http://localhost:1/v1").cache_key,
        HuggingFaceEmbedding("a").cache_key,
        HuggingFaceEmbedding("a", max_length=3).cache_key,
        HuggingFaceEmbedding(str(tmp_path)).cache_key,
    ]
    (tmp_path / "weights").write_text("trained further")
    keys.append(HuggingFaceEmbedding(str(tmp_path)).cache_key)
    assert len(set(keys)) == len(keys)


def test_the_key_of_a_hosted_model_is_not_part_of_it():
    assert "secret" not in OpenAIEmbedding("a", api_key="secret").cache_key


def test_a_question_and_a_passage_of_the_same_words_are_two_things(tmp_path):
    class Asymmetric(Model):
        def get_query_embedding(self, query):
            return [2.0, 0.0]

        def get_text_embedding_batch(self, texts, **kwargs):
            return [[0.0, 2.0]] * len(texts)

    cached = CachedEmbedding(Asymmetric(), tmp_path / "c")
    for _ in range(2):
        assert list(cached.get_query_embedding("x")) == [2.0, 0.0]
        assert list(cached.get_text_embedding("x")) == [0.0, 2.0]
    assert (cached.hits, cached.misses) == (2, 2)


@BOTH
def test_equal_texts_are_embedded_once_and_counted_each(way, capsys):
    nodes = [TextNode(text=text) for text in ["same"] * 5 + ["other", ""]]
    model = Model()
    index = VectorStoreIndex(embed_model=model)
    if way == "sync":
        index.insert_nodes(nodes, show_progress=True)
    else:
        asyncio.run(index.ainsert_nodes(nodes, show_progress=True))
    assert sorted(model.texts) == ["", "other", "same"]
    assert len(index.vectors) == 7
    assert "7 of 7 chunks embedded" in capsys.readouterr().err


def test_texts_stay_out_of_the_file(tmp_path):
    cached = CachedEmbedding(Model(), tmp_path / "c")
    cached.get_text_embedding("a very private text")
    cached.cache.close()
    assert b"private" not in (tmp_path / "c").read_bytes()


def test_what_is_no_vector_is_not_kept(tmp_path):
    class Wrong(Model):
        answer = ([float("nan"), 1.0],)

        def get_text_embedding_batch(self, texts, **kwargs):
            return self.answer

        def get_query_embedding(self, query):
            return self.answer[0]

    cached = CachedEmbedding(Wrong(), tmp_path / "c")
    cached.get_text_embedding("x")
    cached.get_query_embedding("x")
    assert len(cached.cache) == 0
    Wrong.answer = ()
    with pytest.raises(IndexMismatchError, match="0 vectors for 1 texts"):
        cached.get_text_embedding("x")


def test_a_model_that_changed_under_its_name_is_begun_anew(tmp_path):
    cached = CachedEmbedding(Model(dim=4), tmp_path / "c")
    cached.get_text_embedding("a")
    cached.embed_model.dim = 8
    cached.get_text_embedding("b")
    assert [len(v) for v in cached.get_text_embedding_batch(["a", "b"])] == [8, 8]


@pytest.mark.parametrize("damage", ["no database", "a folder", "other columns"])
def test_a_file_that_cannot_be_used_is_told_of_once_and_done_without(tmp_path, damage):
    file = tmp_path / "cache" / "embeddings.sqlite"
    file.parent.mkdir()
    if damage == "no database":
        file.write_text("this is a text and no database at all" * 100)
    elif damage == "a folder":
        file.mkdir()
    else:
        db = sqlite3.connect(file)
        db.execute("create table vector (something)")
        db.close()
    model = Model()
    with pytest.warns(RagWarning, match=r"cannot be used .* Delete the file") as told:
        index = VectorStoreIndex.from_documents(documents(9), embed_model=model)
        index.as_retriever(mode="dense").retrieve("number 3")
    assert len(told) == 1
    assert len(index.vectors) == 9


def test_a_folder_that_cannot_be_made_is_told_of(tmp_path):
    (tmp_path / "file").write_text("")
    Settings.cache_dir = tmp_path / "file" / "below"
    with pytest.warns(RagWarning, match="cannot be used"):
        VectorStoreIndex.from_documents(documents(1), embed_model=Model())


def test_a_cache_can_be_looked_into_and_cleared(tmp_path):
    cached = CachedEmbedding(Model(), tmp_path / "c")
    cached.get_text_embedding_batch(["a", "b"])
    cache = EmbeddingCache(tmp_path / "c")
    assert len(cache) == 2
    cache.clear()
    assert len(cache) == 0
    assert cached.cache.path == tmp_path / "c"


FILL = """
import sys
from stepwell.rag import CachedEmbedding
from stepwell.testing import FakeEmbedding

class Model(FakeEmbedding):
    cache_key = "mine"
    embed_batch_size = 4

cached = CachedEmbedding(Model(), sys.argv[1])
sys.stdin.read()  # until all are there
for turn in range(10):
    texts = [f"{sys.argv[2]} {turn} {i}" for i in range(8)] + ["shared"]
    cached.get_text_embedding_batch(texts)
"""


def test_several_processes_make_the_file_and_write_at_once(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", FILL, tmp_path / "c", str(number)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(3)
    ]
    for process in processes:
        process.stdin.close()
    for process in processes:
        with process:
            assert process.stderr.read() == b""
        assert process.returncode == 0
    assert len(EmbeddingCache(tmp_path / "c")) == 3 * 80 + 1


def test_several_threads_write_at_once(tmp_path):
    cached = CachedEmbedding(Model(), tmp_path / "c")
    errors = []

    def work(number):
        try:
            for turn in range(10):
                texts = [f"{number} {turn} {i}" for i in range(8)]
                vectors = cached.get_text_embedding_batch(texts)
                assert [list(v) for v in vectors] == [
                    list(v) for v in cached.get_text_embedding_batch(texts)
                ]
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(cached.cache) == 320


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_opens_the_file_itself(tmp_path):
    cached = CachedEmbedding(Model(), tmp_path / "c")
    cached.get_text_embedding("a")
    child = os.fork()
    if not child:
        try:
            cached.get_text_embedding_batch(["a", "b"])
            os._exit(0 if cached.hits == 1 else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(cached.cache) == 2


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))]
)
def test_a_cached_model_travels_to_another_process(tmp_path, again):
    cached = CachedEmbedding(Model(), tmp_path / "c")
    vector = cached.get_text_embedding("a")
    there = again(cached)
    assert there.get_text_embedding("a") == vector
    assert (there.embed_model.texts, there.hits) == (["a"], 1)


def test_the_loop_stays_free_while_a_blocking_model_works(tmp_path):
    began, may_end = threading.Event(), threading.Event()

    class Slow(Model):
        def get_query_embedding(self, query):
            began.set()
            assert may_end.wait(30)
            return super().get_query_embedding(query)

    cached = CachedEmbedding(Slow(), tmp_path / "c")

    async def other():
        while not began.is_set():
            await asyncio.sleep(0)
        may_end.set()

    async def main():
        await asyncio.gather(cached.aget_query_embedding("x"), other())

    asyncio.run(main())


def test_stopping_stops_what_is_on_its_way(tmp_path):
    began = []

    class Waiting(FakeEmbedding):
        cache_key = "waiting"
        embed_batch_size = 1

        async def aget_text_embedding_batch(self, texts, **kwargs):
            began.append(texts)
            await asyncio.Event().wait()

    cached = CachedEmbedding(Waiting(), tmp_path / "c")

    async def main():
        task = asyncio.ensure_future(cached.aget_text_embedding_batch(["a", "b"]))
        while not began:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert len(began) == 1
