"""Real cross-encoders and embedders on this machine; nothing is downloaded."""

import asyncio
import os
import subprocess
import sys
import textwrap
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
