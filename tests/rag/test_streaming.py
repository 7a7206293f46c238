"""Answers to questions, piece by piece, blocking and not."""

import asyncio

import pytest

from rag.model_server import chat, stream
from stepwell.rag import (
    AsyncStreamingResponse,
    Document,
    InvalidOptionError,
    ModelServerError,
    OpenAI,
    Response,
    StreamingResponse,
    VectorStoreIndex,
)
from stepwell.testing import FakeLLM

PIECES = ["It is ", "blue [1", "]."]


@pytest.fixture
def index():
    return VectorStoreIndex.from_documents(
        [
            Document(text="The sky is blue.", metadata={"file_name": "sky.txt"}),
            Document(text="The sea is deep.", metadata={"file_name": "sea.txt"}),
        ]
    )


@pytest.fixture
def engine(index, server):
    pytest.importorskip("openai")
    server.then(stream(PIECES))
    llm = OpenAI("m", api_base=server.url, max_retries=0)
    return index.as_query_engine(llm=llm, streaming=True)


async def test_an_answer_is_iterated_as_it_is_written(engine, server):
    answer = await engine.aquery("Is the sky blue?")
    assert isinstance(answer, AsyncStreamingResponse)
    # Its sources are there before the model was asked.
    assert [node.text for node in answer.source_nodes] == ["The sky is blue."]
    assert (str(answer), server.requests) == ("", [])
    seen = []
    async for text in answer:
        seen.append((text, str(answer), answer.citations))
    assert seen == [
        ("It is ", "It is ", []),
        ("blue [1", "It is blue [1", []),
        ("].", "It is blue [1].", [1]),
    ]
    assert answer.is_whole
    assert [node.source for node in answer.cited_nodes] == ["sky.txt"]
    assert answer.usage.total_tokens == 8
    assert "Question: Is the sky blue?" in answer.prompt


def test_a_blocking_answer_is_iterated_as_it_is_written(engine):
    answer = engine.query("Is the sky blue?")
    assert isinstance(answer, StreamingResponse)
    assert next(iter(answer)) == "It is "
    assert not answer.is_whole
    assert str(answer) == "It is blue [1]."
    assert answer.is_whole
    assert list(answer) == []
    assert [node.source for node in answer.cited_nodes] == ["sky.txt"]
    assert answer.usage.total_tokens == 8


async def test_the_whole_answer_may_be_awaited(engine):
    answer = await engine.aquery("Is the sky blue?")
    async for _ in answer:
        break
    whole = await answer
    assert isinstance(whole, Response)
    assert (str(whole), whole.citations) == ("It is blue [1].", [1])


def test_the_whole_answer_may_be_asked_for(engine):
    answer = engine.query("Is the sky blue?").get_response()
    assert (str(answer), answer.citations) == ("It is blue [1].", [1])


def test_an_answer_may_be_printed_as_it_is_written(engine, capsys):
    engine.query("Is the sky blue?").print_response_stream()
    assert capsys.readouterr().out == "It is blue [1].\n"


async def test_an_awaited_answer_may_be_printed_as_it_is_written(engine, capsys):
    answer = await engine.aquery("Is the sky blue?")
    await answer.print_response_stream()
    assert capsys.readouterr().out == "It is blue [1].\n"


async def test_an_answer_may_be_left_early(engine):
    async with await engine.aquery("Is the sky blue?") as answer:
        async for _ in answer:
            break
    assert str(answer) == "It is "


@pytest.mark.parametrize("asynchronous", [True, False])
def test_an_answer_that_breaks_off_keeps_what_had_come(engine, server, asynchronous):
    server.script.clear()
    server.then(stream(PIECES[:2], cut=True))

    async def read():
        answer = await engine.aquery("Is the sky blue?")
        with pytest.raises(ModelServerError) as caught:
            await answer
        return answer, caught

    if asynchronous:
        answer, caught = asyncio.run(read())
        assert str(answer) == "It is blue [1"
    else:
        answer = engine.query("Is the sky blue?")
        with pytest.raises(ModelServerError) as caught:
            answer.get_response()
        assert answer.response == "It is blue [1"
    assert caught.value.partial_text == "It is blue [1"


async def test_without_a_model_the_quotes_come_as_a_stream_too(index):
    engine = index.as_query_engine(streaming=True)
    answer = await engine.aquery("sky?")
    assert "“The sky is blue.” [1]" in "".join([text async for text in answer])
    assert answer.is_extractive
    assert str(engine.query("sky?")) == str(answer)


async def test_where_nothing_was_found_no_model_is_asked(index):
    llm = FakeLLM()
    engine = index.as_query_engine(llm=llm, streaming=True)
    whole = await (await engine.aquery("quantum?"))
    assert str(whole) == str(engine.query("quantum?"))
    assert str(whole) == "Nothing in the documents matches this question."
    assert llm.prompts == []


class Whole:
    """A model that cannot stream."""

    def complete(self, prompt):
        return "Blue [1]."


class Generator:
    """A model that streams as LlamaIndex's do: a coroutine that gives a generator."""

    async def astream_complete(self, prompt):
        async def pieces():
            yield "Blue "
            yield "[1]."

        return pieces()


async def test_models_that_stream_in_other_ways_or_not_at_all_are_used(index):
    engine = index.as_query_engine(llm=Whole(), streaming=True)
    assert list(engine.query("sky?")) == ["Blue [1]."]
    assert [text async for text in await engine.aquery("sky?")] == ["Blue [1]."]
    engine = index.as_query_engine(llm=Generator(), streaming=True)
    assert [text async for text in await engine.aquery("sky?")] == ["Blue ", "[1]."]
    with pytest.raises(InvalidOptionError, match="aquery"):
        engine.query("sky?")


def test_a_shown_answer_is_read_to_its_end(index):
    llm = FakeLLM("<b>Blue</b> [1].")
    shown = index.as_query_engine(llm=llm, streaming=True).query("sky?")._repr_html_()
    assert "&lt;b&gt;Blue&lt;/b&gt;" in shown


# -- the prompt --------------------------------------------------------------------


def test_the_prompt_is_there_to_be_read(index):
    prompts = index.as_query_engine().get_prompts()
    assert "{context_str}" in prompts["text_qa_template"]
    assert "{query_str}" in prompts["text_qa_template"]


class Template:
    template = "{query_str} <- {context_str}"


@pytest.mark.parametrize("prompt", [Template(), Template.template])
def test_the_prompt_may_be_another(index, prompt):
    llm = FakeLLM()
    index.as_query_engine(llm=llm, text_qa_template=prompt).query("sky?")
    engine = index.as_query_engine(llm=llm)
    engine.update_prompts({"response_synthesizer:text_qa_template": prompt})
    engine.query("sky?")
    assert llm.prompts == ["sky? <- [1] (sky.txt)\nThe sky is blue."] * 2


def test_a_prompt_that_leaves_out_the_passages_is_refused(index):
    with pytest.raises(InvalidOptionError, match=r"no place for \{context_str\}"):
        index.as_query_engine(text_qa_template="{query_str}")
    with pytest.raises(InvalidOptionError, match="no prompt 'refine'"):
        index.as_query_engine().update_prompts({"refine": "x"})


def test_a_whole_answer_says_what_was_sent(index, server):
    pytest.importorskip("openai")
    server.then(chat("Blue [1]."))
    llm = OpenAI("m", api_base=server.url, max_retries=0)
    answer = index.as_query_engine(llm=llm).query("sky?")
    assert server.requests[0][1]["messages"][0]["content"] == answer.prompt
