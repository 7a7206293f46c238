"""Real cross-encoders and embedders on this machine; nothing is downloaded."""

import asyncio
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from stepwell.rag import (
    HuggingFaceEmbedding,
    InvalidOptionError,
    LexicalRerank,
    MissingExtraError,
    ModelUnavailableError,
    NodeWithScore,
    SentenceTransformerRerank,
    Settings,
    TextNode,
    VectorStoreIndex,
)

PASSAGES = (
    "redis stores the counters",
    "the server limits the rate of requests",
    "a server",
)


def nodes_of(*texts):
    return [
        NodeWithScore(node=TextNode(text=text, id_=text), score=1.0, scores={"bm25": 1})
        for text in texts
    ]


@pytest.fixture
def cross_encoder(tiny_cross_encoder):
    pytest.importorskip("sentence_transformers")
    return tiny_cross_encoder


def test_nodes_come_in_the_order_of_the_models_scores(cross_encoder):
    from sentence_transformers import CrossEncoder

    nodes = nodes_of(*PASSAGES)
    reranker = SentenceTransformerRerank(model=str(cross_encoder), top_n=2)
    found = reranker.postprocess_nodes(nodes, query_str="rate of requests")
    plain = CrossEncoder(str(cross_encoder), local_files_only=True)
    scores = plain.predict([("rate of requests", text) for text in PASSAGES])
    assert len({round(float(score), 3) for score in scores}) == 3, "no scores are tied"
    expected = sorted(zip(scores, PASSAGES, strict=True), reverse=True)[:2]
    assert [node.text for node in found] == [text for _, text in expected]
    assert [node.score for node in found] == pytest.approx([s for s, _ in expected])
    assert found[0].scores == {"bm25": 1.0, "rerank": found[0].score}
    assert [node.score for node in nodes] == [1.0, 1.0, 1.0], "the input is changed"


def test_the_asynchronous_form_gives_the_same(cross_encoder):
    reranker = SentenceTransformerRerank(model=str(cross_encoder), top_n=3)
    question = {"query_str": "server"}
    found = asyncio.run(reranker.apostprocess_nodes(nodes_of(*PASSAGES), **question))
    assert found == reranker.postprocess_nodes(nodes_of(*PASSAGES), **question)


def test_a_reranker_made_anew_does_not_load_the_model_anew(cross_encoder):
    from stepwell.rag import sentence_transformers

    def loaded():
        return sentence_transformers.cross_encoder(str(cross_encoder), None, False)

    first = loaded()
    SentenceTransformerRerank(model=str(cross_encoder)).load()
    asyncio.run(SentenceTransformerRerank(model=str(cross_encoder)).aload())
    assert loaded() is first


def test_no_nodes_give_no_nodes(cross_encoder):
    reranker = SentenceTransformerRerank(model=str(cross_encoder))
    assert reranker.postprocess_nodes([], query_str="x") == []


def test_a_question_is_needed_before_anything_is_loaded():
    with pytest.raises(InvalidOptionError, match="query_str="):
        SentenceTransformerRerank("no/model").postprocess_nodes(nodes_of("a"))
    with pytest.raises(InvalidOptionError, match="top_n=0"):
        SentenceTransformerRerank(top_n=0)


def test_the_question_may_come_in_a_bundle(cross_encoder):
    class Bundle:
        query_str = "server"

    reranker = SentenceTransformerRerank(model=str(cross_encoder), top_n=1)
    assert len(reranker.postprocess_nodes(nodes_of("a", "b"), Bundle())) == 1


def test_a_model_that_is_nowhere_is_one_clear_error_within_five_seconds():
    # In a fresh process, with the hub at an address where nobody answers.
    code = """
        import sys, time
        from stepwell.rag import *
        began = time.perf_counter()
        try:
            SentenceTransformerRerank(top_n=5).postprocess_nodes([], query_str="x")
        except ModelUnavailableError as error:
            print(time.perf_counter() - began, error)
        assert "torch" not in sys.modules
    """
    surroundings = {
        **os.environ,
        "HF_HUB_OFFLINE": "0",
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": "/nonexistent",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env=surroundings,
    )
    assert done.returncode == 0, done.stderr
    seconds, _, message = done.stdout.partition(" ")
    assert float(seconds) < 5
    assert "cross-encoder/ms-marco-MiniLM-L-2-v2" in message
    assert "Run once online" in message
    assert "LexicalRerank" in message
    assert len(message.strip().splitlines()) == 1


@pytest.mark.parametrize("kind", [SentenceTransformerRerank, HuggingFaceEmbedding])
def test_offline_the_hub_is_not_even_asked(kind, monkeypatch):
    pytest.importorskip("sentence_transformers")
    from stepwell.rag import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "_probe", lambda name: pytest.fail("asked"))
    Settings.offline = True
    with pytest.raises(ModelUnavailableError, match="downloads are off"):
        kind("nobody/no-such-model")._loaded()


def test_a_hub_that_never_answers_is_given_up(monkeypatch):
    pytest.importorskip("sentence_transformers")
    import threading

    from stepwell.rag import huggingface_hub

    release = threading.Event()

    class Silent:
        def model_info(self, name, timeout):
            release.wait(30)

    monkeypatch.setattr(huggingface_hub, "HfApi", Silent)
    monkeypatch.setattr(huggingface_hub, "_PROBE_SECONDS", -0.45)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    began = time.perf_counter()
    with pytest.raises(ModelUnavailableError, match="does not answer"):
        huggingface_hub.locate("nobody/no-such-model", offline=False)
    assert time.perf_counter() - began < 5
    release.set()


def test_a_folder_without_a_model_is_one_clear_error(tmp_path):
    pytest.importorskip("sentence_transformers")
    with pytest.raises(ModelUnavailableError, match=r"holds no config\.json"):
        SentenceTransformerRerank(model=str(tmp_path)).load()
    with pytest.raises(ModelUnavailableError, match="there is no folder"):
        SentenceTransformerRerank(model=str(tmp_path / "gone")).load()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelUnavailableError, match="loading it failed"):
        SentenceTransformerRerank(model=str(tmp_path)).load()


def test_a_model_that_is_cut_off_is_one_clear_error(cross_encoder, tmp_path):
    broken = shutil.copytree(cross_encoder, tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ModelUnavailableError, match="is here, but loading") as caught:
        SentenceTransformerRerank(str(broken)).load()
    assert len(str(caught.value).splitlines()) == 1


def test_a_device_that_is_not_there_is_one_clear_error(cross_encoder):
    with pytest.raises(ModelUnavailableError, match="or the device not there"):
        SentenceTransformerRerank(str(cross_encoder), device="cuda:99").load()


def test_without_the_library_the_extra_is_named(monkeypatch):
    from stepwell.rag import local

    monkeypatch.setattr(local, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "stepwell\[local\]"'):
        SentenceTransformerRerank().load()
    with pytest.raises(ImportError):
        HuggingFaceEmbedding().get_query_embedding("x")


def test_words_alone_rerank_too():
    found = LexicalRerank(top_n=2).postprocess_nodes(
        nodes_of(*PASSAGES), query_str="rate of requests"
    )
    assert found[0].text == PASSAGES[1]
    assert len(found) == 2
    assert found[0].scores["rerank"] > 0
    same = asyncio.run(
        LexicalRerank(top_n=2).apostprocess_nodes(
            nodes_of(*PASSAGES), query_str="rate of requests"
        )
    )
    assert same == found


def test_a_real_embedder_finds_meaning_where_no_word_is_shared(minilm):
    pytest.importorskip("sentence_transformers")
    model = HuggingFaceEmbedding(str(minilm))
    index = VectorStoreIndex(
        [
            TextNode(text="Our cat sleeps on the sofa all day."),
            TextNode(text="The invoice is due at the end of the month."),
            TextNode(text="Turn the valve clockwise to stop the water."),
        ],
        embed_model=model,
    )
    question = "When must I pay my bill?"
    assert index.as_retriever(mode="lexical").retrieve(question) == []
    found = asyncio.run(index.as_retriever().aretrieve(question))
    assert "invoice" in found[0].text
    assert len(model.get_query_embedding("x")) == 384
    assert sum(v * v for v in model.get_text_embedding("x")) == pytest.approx(
        1, abs=1e-4
    )
    assert model.get_text_embedding_batch([]) == []


def kept():
    from stepwell.rag import sentence_transformers

    return sentence_transformers._kept


def test_a_model_is_loaded_once_for_each_device_and_length(cross_encoder):
    folder = str(cross_encoder)
    for length in (None, 32, None, 32):
        SentenceTransformerRerank(folder, max_length=length).load()
    keys = [key for key in kept() if key[1] == folder]
    assert sorted(keys, key=str) == [
        ("CrossEncoder", folder, None, 32),
        ("CrossEncoder", folder, None, None),
    ]


def test_threads_that_ask_at_once_get_one_and_the_same_model(cross_encoder, tmp_path):
    from stepwell.rag import sentence_transformers

    folder = str(shutil.copytree(cross_encoder, tmp_path / "model"))
    found, ready = [], threading.Barrier(6)

    def ask():
        ready.wait()
        found.append(sentence_transformers.cross_encoder(folder, None, True))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len({id(model) for model in found}) == 1


def test_the_four_models_used_last_are_kept(cross_encoder, tmp_path):
    folders = [str(shutil.copytree(cross_encoder, tmp_path / str(n))) for n in range(5)]
    for folder in [*folders[:4], folders[0], folders[4]]:
        SentenceTransformerRerank(folder).load()
    assert [key[1] for key in kept()] == [folders[n] for n in (2, 3, 0, 4)]


def test_passages_longer_than_the_length_given_are_cut(cross_encoder):
    def score(text, length):
        reranker = SentenceTransformerRerank(str(cross_encoder), max_length=length)
        return reranker.postprocess_nodes(nodes_of(text), query_str="rate")[0].score

    one, other = (f"the server limits the rate {end}" for end in ("a", "redis"))
    assert score(one, 60) != score(other, 60)
    assert score(one, 5) == pytest.approx(score(other, 5), abs=1e-5)


def test_a_length_or_batch_of_nothing_is_refused():
    with pytest.raises(InvalidOptionError, match="batch_size=0"):
        SentenceTransformerRerank(batch_size=0)
    with pytest.raises(InvalidOptionError, match="max_length=0"):
        HuggingFaceEmbedding(max_length=0)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_scores_do_not_depend_on_the_batches(cross_encoder, batch_size):
    nodes = nodes_of(*(f"{'the server ' * n}limits {n}" for n in (9, 1, 7, 3, 5)))
    reranker = SentenceTransformerRerank(
        str(cross_encoder), top_n=5, batch_size=batch_size
    )
    alone = [reranker.postprocess_nodes([n], query_str="rate")[0] for n in nodes]
    expected = sorted(alone, key=lambda node: -node.score)
    found = reranker.postprocess_nodes(nodes, query_str="rate")
    assert [node.text for node in found] == [node.text for node in expected]
    scores = [node.score for node in expected]
    assert [node.score for node in found] == pytest.approx(scores, abs=1e-3)


def test_loading_and_running_say_nothing(cross_encoder, minilm):
    # In a fresh process: what libraries say, they often say once.
    code = f"""
        from stepwell.rag import *
        node = NodeWithScore(node=TextNode(text="a"))
        SentenceTransformerRerank({str(cross_encoder)!r}).postprocess_nodes(
            [node], query_str="x")
        HuggingFaceEmbedding({str(minilm)!r}).get_text_embedding("a")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_reranking_leaves_the_event_loop_free(cross_encoder):
    """A heartbeat goes on, in the best of some tries: other programs cause gaps too."""
    nodes = nodes_of(*(f"{'the server limits ' * 20}{n}" for n in range(600)))
    reranker = SentenceTransformerRerank(str(cross_encoder), top_n=3)

    async def widest_gap():
        await reranker.apostprocess_nodes(nodes[:8], query_str="rate")
        work = asyncio.ensure_future(
            reranker.apostprocess_nodes(nodes, query_str="rate of requests")
        )
        gaps, last = [], time.perf_counter()
        while not work.done():
            # Not to wait for anything: the beat itself is what is measured.
            await asyncio.wait([work], timeout=0.002)
            gaps.append(time.perf_counter() - last)
            last = time.perf_counter()
        assert len(await work) == 3
        return max(gaps)

    best = 1.0
    for _ in range(30):
        best = min(best, asyncio.run(widest_gap()))
        if best <= 0.05:
            break
    assert best <= 0.05


def test_a_prompt_for_questions_is_put_before_them(minilm):
    pytest.importorskip("sentence_transformers")
    plain = HuggingFaceEmbedding(str(minilm))
    prompted = HuggingFaceEmbedding(str(minilm), query_prompt="query: ")
    expected = pytest.approx(plain.get_query_embedding("query: rate"), abs=1e-5)
    assert prompted.get_query_embedding("rate") == expected
    assert prompted.get_text_embedding("rate") == plain.get_text_embedding("rate")


def test_models_are_loaded_in_the_background_before_they_are_needed(
    cross_encoder, tmp_path
):
    folder = str(shutil.copytree(cross_encoder, tmp_path / "model"))
    reranker = SentenceTransformerRerank(folder)
    assert Settings.preload(reranker).result(60) is None
    assert ("CrossEncoder", folder, None, None) in kept()
