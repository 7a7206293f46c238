"""OpenAIEmbedding against a real server on this machine, by the real client."""

import asyncio
import pickle

import pytest

from rag.model_server import failure, vector_of
from stepwell.rag import (
    Document,
    InvalidOptionError,
    MissingAPIKeyError,
    ModelServerError,
    OpenAIEmbedding,
    VectorStoreIndex,
)

pytest.importorskip("openai")


def model(server, **options):
    return OpenAIEmbedding("e", api_base=server.url, max_retries=0, **options)


def both_ways(embed_model, texts):
    one = embed_model.get_text_embedding_batch(texts)
    two = asyncio.run(embed_model.aget_text_embedding_batch(texts))
    assert one == two
    return one


@pytest.mark.parametrize("floats_only", [False, True])
def test_vectors_come_in_the_order_of_the_texts(server, floats_only):
    server.floats_only, server.shuffle = floats_only, True
    texts = ["a", "bb", "ccc"]
    assert both_ways(model(server), texts) == [vector_of(text) for text in texts]


def test_base64_is_asked_for_until_a_server_refuses_it(server):
    server.floats_only = True
    embed_model = model(server)
    embed_model.get_text_embedding("a")
    embed_model.get_text_embedding("b")
    asked = [body["encoding_format"] for _, body in server.requests]
    assert asked == ["base64", "float", "float"]


def test_requests_hold_so_many_texts_and_no_more(server):
    texts = [f"text {i}" for i in range(23)]
    found = both_ways(model(server, embed_batch_size=5), texts)
    assert found == [vector_of(text) for text in texts]
    sizes = sorted(len(body["input"]) for _, body in server.requests[:5])
    assert sizes == [3, 5, 5, 5, 5]


def test_requests_hold_so_many_tokens_and_no_more(server):
    texts = ["x" * 400_000, "y" * 400_000, "z" * 400_000]
    model(server).get_text_embedding_batch(texts)
    sizes = sorted(len(body["input"]) for _, body in server.requests)
    assert sizes == [1, 2]


def test_an_empty_text_is_sent_as_a_space(server):
    model(server).get_text_embedding_batch(["", "a"])
    assert server.requests[0][1]["input"] == [" ", "a"]


def test_no_texts_need_no_request(server):
    assert both_ways(model(server), []) == []
    assert server.requests == []


def test_dimensions_are_sent_only_if_given(server):
    model(server).get_query_embedding("a")
    model(server, dimensions=4).get_query_embedding("a")
    assert ["dimensions" in body for _, body in server.requests] == [False, True]


@pytest.mark.parametrize("status", [401, 429, 500])
def test_a_refusal_is_one_clear_error_and_not_a_group(server, status):
    embed_model = model(server, embed_batch_size=1)
    server.then(*[failure(status, "no")] * 6)
    with pytest.raises(ModelServerError, match=f"answered {status}: no") as caught:
        embed_model.get_text_embedding_batch(["a", "b", "c"])
    assert caught.value.status == status
    server.script.clear()
    server.then(*[failure(status, "no")] * 6)
    with pytest.raises(ModelServerError, match=f"answered {status}: no"):
        asyncio.run(embed_model.aget_text_embedding_batch(["a", "b", "c"]))


def test_no_key_is_one_clear_error_at_the_call():
    embed_model = OpenAIEmbedding(model="text-embedding-3-small")
    with pytest.raises(MissingAPIKeyError, match=r"Settings\.embed_model unset"):
        VectorStoreIndex.from_documents([Document(text="x")], embed_model=embed_model)


def test_an_index_is_built_and_searched_through_it(server):
    documents = [Document(text="short"), Document(text="a much longer text " * 9)]
    index = VectorStoreIndex.from_documents(documents, embed_model=model(server))
    found = asyncio.run(index.as_retriever(mode="dense").aretrieve("brief"))
    assert found[0].text == "short"


def test_batch_sizes_out_of_range_are_refused():
    with pytest.raises(InvalidOptionError, match="1 to 2048"):
        OpenAIEmbedding(embed_batch_size=2049)
    with pytest.raises(InvalidOptionError, match="num_workers=0"):
        OpenAIEmbedding(num_workers=0)


def test_it_can_travel(server):
    embed_model = model(server)
    before = embed_model.get_text_embedding("a")
    there = pickle.loads(pickle.dumps(embed_model))
    assert there.get_text_embedding("a") == before
