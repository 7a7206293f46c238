"""`FakeLLM` and `FakeEmbedding`: on their own, and in the places of real models."""

import asyncio
import math
import re
import subprocess
import sys
from dataclasses import fields

import pytest
from pydantic import BaseModel

from stepwell import rag
from stepwell.testing import FakeEmbedding, FakeLLM, ScriptError, VirtualClock
from stepwell.testing import responses as fakes


def said(*texts):
    return [rag.ChatMessage(content=text) for text in texts]


# -- what it answers -------------------------------------------------------------


def test_a_list_is_answered_in_turn():
    llm = FakeLLM(["first", "second"])
    assert str(llm.complete("a")) == "first"
    assert str(llm.complete("b")) == "second"
    assert llm.prompts == ["a", "b"]


def test_a_list_that_runs_out_says_so():
    llm = FakeLLM(["only"])
    llm.complete("a")
    with pytest.raises(ScriptError, match=r"FakeLLM has run out.*'what else\?'"):
        llm.complete("what else?")


def test_an_empty_list_answers_nothing():
    with pytest.raises(ScriptError, match="run out"):
        FakeLLM([]).complete("a")


def test_one_text_answers_every_call():
    llm = FakeLLM("always")
    assert [str(llm.complete(prompt)) for prompt in "ab"] == ["always"] * 2


def test_of_rules_the_first_that_fits_decides():
    llm = FakeLLM({"2+2?": "4", re.compile(r"\d+ times"): ["often", "again"], "": "no"})
    asked = ["What is 2+2?", "3 times", "40 times", "never"]
    assert [str(llm.complete(prompt)) for prompt in asked] == [
        "4",
        "often",
        "again",
        "no",
    ]


def test_a_prompt_that_no_rule_fits_is_named_with_the_rules():
    llm = FakeLLM({"cat": "meow", re.compile("d.g"): "woof"})
    with pytest.raises(ScriptError, match=r"prompt 'cow'") as caught:
        llm.complete("cow")
    assert "'cat', 'd.g'" in str(caught.value)


def test_a_function_is_given_the_prompt():
    assert str(FakeLLM(str.upper).complete("loud")) == "LOUD"


def test_without_answers_the_prompt_comes_back():
    assert str(FakeLLM().complete("echo")) == "echo"


@pytest.mark.parametrize("down", [ConnectionError("down"), ConnectionError])
async def test_an_exception_is_raised_in_its_turn(down):
    llm = FakeLLM([down, "up", down, down])
    with pytest.raises(ConnectionError):
        await llm.acomplete("a")
    assert str(await llm.acomplete("b")) == "up"
    with pytest.raises(ConnectionError):
        list(llm.stream_complete("c"))
    with pytest.raises(ConnectionError):
        [piece async for piece in llm.astream_complete("d")]
    assert llm.prompts == list("abcd")


def test_an_answer_that_is_no_text_is_refused():
    with pytest.raises(ScriptError, match="is a text, not int"):
        FakeLLM(lambda prompt: len(prompt)).complete("a")
    with pytest.raises(ScriptError, match="holds the class"):
        FakeLLM([dict])


def test_a_chat_is_asked_by_its_last_message_and_kept_whole():
    llm = FakeLLM({"bye": "see you", "hello": "hi"})
    messages = said("hello", "bye")
    assert llm.chat(messages).message.content == "see you"
    assert llm.prompts == ["bye"]
    assert llm.conversations == [messages]


def test_an_answer_may_call_a_tool_or_several_at_once():
    first, second = FakeLLM.calls("add", a=1, b=2), FakeLLM.calls("now")
    llm = FakeLLM([first, [first, second], "done"])
    [call] = llm.chat(said("go")).message.tool_calls
    assert (call.tool_name, call.tool_kwargs) == ("add", {"a": 1, "b": 2})
    *_, last = llm.stream_chat(said("go"))
    assert [each.tool_name for each in last.message.tool_calls] == ["add", "now"]
    ids = [call.tool_id, *[each.tool_id for each in last.message.tool_calls]]
    assert len(set(ids)) == 3 and all(ids)
    assert llm.chat(said("go")).message.tool_calls == []


def test_a_function_may_decide_which_tool_is_called():
    llm = FakeLLM(lambda prompt: FakeLLM.calls("look", word=prompt))
    assert llm.chat(said("up")).message.tool_calls[0].tool_kwargs == {"word": "up"}


@pytest.mark.parametrize("nothing", [[[]], [["text"]], [{"a": 1}]])
def test_a_list_of_something_else_is_no_answer(nothing):
    with pytest.raises(ScriptError, match=r"FakeLLM\.calls"):
        FakeLLM(nothing).complete("a")


class City(BaseModel):
    name: str


async def test_answers_of_a_class_are_read_from_the_json_of_the_script():
    llm = FakeLLM('{"name": "Bern"}')
    assert llm.structured_predict(City, "Of {land}?", land="CH") == City(name="Bern")
    assert (await llm.astructured_predict(City, "?")).name == "Bern"
    assert llm.prompts == ["Of CH?", "?"]


def test_words_count_as_tokens_where_usage_is_tracked():
    with rag.track_usage() as used:
        FakeLLM("two words").complete("one two three")
    assert (used.prompt_tokens, used.completion_tokens) == (3, 2)


# -- how it answers --------------------------------------------------------------


async def test_every_way_of_asking_gives_the_same_text():
    llm = FakeLLM("one two  three\n")
    messages = said("go")
    assert (await llm.acomplete("go")).text == llm.complete("go").text
    assert (await llm.achat(messages)).message.content == str(llm.chat(messages))
    streams = [
        list(llm.stream_complete("go")),
        list(llm.stream_chat(messages)),
        [piece async for piece in llm.astream_complete("go")],
        [piece async for piece in await llm.astream_chat(messages)],
    ]
    for pieces in streams:
        assert "".join(piece.delta for piece in pieces) == "one two  three\n"
        assert str(pieces[-1]) == "one two  three\n"
        assert [piece.usage is None for piece in pieces[:-1]] == [True] * 3
        assert pieces[-1].usage.completion_tokens == 3


def test_tokens_are_counted_as_words():
    usage = FakeLLM("two words").chat(said("one", "two three")).usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (3, 2)
    assert usage.total_tokens == 5


def test_an_empty_answer_streams_as_one_empty_piece():
    (piece,) = FakeLLM("").stream_complete("a")
    assert (piece.delta, piece.usage.completion_tokens) == ("", 0)


def test_a_delay_is_waited_before_answers_and_pieces():
    async def main():
        await llm.acomplete("a")
        return [piece async for piece in llm.astream_complete("b")]

    llm, clock = FakeLLM("three short words", delay=10), VirtualClock()
    assert len(clock.run(main())) == 3
    assert clock.now == 40


def test_what_the_caller_adds_to_the_request_is_ignored():
    assert str(FakeLLM("ok").complete("a", temperature=0)) == "ok"


async def test_a_stream_that_is_left_early_can_be_closed():
    async with FakeLLM("one two three").astream_complete("a") as stream:
        async for piece in stream:
            assert piece.delta == "one"
            break


@pytest.mark.parametrize(
    "name",
    ["ChatMessage", "ChatResponse", "CompletionResponse", "ToolSelection", "Usage"],
)
def test_answers_have_the_fields_of_real_ones(name):
    real = set(getattr(rag, name).model_fields)
    assert {field.name for field in fields(getattr(fakes, name))} == real


# -- embeddings ------------------------------------------------------------------


def cosine(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


async def test_vectors_have_length_one_and_every_way_gives_the_same():
    model = FakeEmbedding(dim=16)
    texts = ["the cat sleeps", "", "!?", "日本語のテキスト"]
    vectors = model.get_text_embedding_batch(texts, show_progress=True)
    assert vectors == await model.aget_text_embedding_batch(texts)
    assert vectors[0] == model.get_text_embedding(texts[0])
    assert vectors[0] == await model.aget_text_embedding(texts[0])
    assert vectors[0] == model.get_query_embedding(texts[0])
    assert vectors[0] == await model.aget_query_embedding(texts[0])
    for vector in vectors:
        assert len(vector) == 16
        assert math.hypot(*vector) == pytest.approx(1)


def test_texts_that_share_words_are_closer():
    model = FakeEmbedding()
    question = model.get_query_embedding("How does the cache expire?")
    near = model.get_text_embedding("The cache will expire after an hour.")
    far = model.get_text_embedding("Invoices are sent on Monday.")
    assert cosine(question, near) > 0.5 > cosine(question, far)


def test_what_was_embedded_is_recorded():
    model = FakeEmbedding()
    model.get_text_embedding_batch(["a", "b"])
    model.get_query_embedding("q")
    assert (model.texts, model.queries) == (["a", "b"], ["q"])


def test_vectors_are_the_same_in_every_process():
    code = "from stepwell.testing import FakeEmbedding as E; print(E(8)._vector('a b'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == repr(FakeEmbedding(8).get_text_embedding("a b"))


def test_a_model_without_dimensions_is_refused():
    with pytest.raises(ValueError, match="dim must be 1 or more"):
        FakeEmbedding(0)


# -- in the places of real models ------------------------------------------------

DOCUMENTS = [
    rag.Document(text="The cache expires after one hour.", metadata={"n": 1}),
    rag.Document(text="Invoices are sent every Monday morning.", metadata={"n": 2}),
    rag.Document(text="Backups run at night and take two hours.", metadata={"n": 3}),
]


@pytest.fixture
def settings():
    yield rag.Settings
    rag.Settings.reset()


def test_they_fulfil_the_protocols():
    assert isinstance(FakeLLM(), rag.LLM)
    assert isinstance(FakeEmbedding(), rag.Embedding)


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
async def test_an_index_finds_by_fake_vectors(mode):
    pytest.importorskip("numpy")
    model = FakeEmbedding()
    index = rag.VectorStoreIndex.from_documents(DOCUMENTS, embed_model=model)
    retriever = index.as_retriever(1, mode=mode)
    assert "Invoices" in retriever.retrieve("When are invoices sent?")[0].text
    (node,) = await retriever.aretrieve("When do backups run?")
    assert "Backups" in node.text
    assert model.queries == ["When are invoices sent?", "When do backups run?"]


async def test_an_index_made_asynchronously_is_the_same():
    pytest.importorskip("numpy")
    index = await rag.VectorStoreIndex.afrom_documents(
        DOCUMENTS, embed_model=FakeEmbedding(), show_progress=False
    )
    assert "cache" in index.as_retriever(1, mode="dense").retrieve("the cache")[0].text


async def test_a_query_engine_asks_the_fake_model_and_reads_its_citations():
    llm = FakeLLM(["After one hour [1].", "Of course [1]."])
    engine = rag.VectorStoreIndex.from_documents(DOCUMENTS).as_query_engine(1, llm=llm)
    answer = engine.query("When does the cache expire?")
    assert (str(answer), answer.citations) == ("After one hour [1].", [1])
    assert "The cache expires after one hour." in llm.prompts[0]
    assert str(await engine.aquery("Does the cache expire?")) == "Of course [1]."


async def test_settings_take_the_fake_models(settings):
    pytest.importorskip("numpy")
    settings.llm, settings.embed_model = FakeLLM("so it is [1]"), FakeEmbedding()
    index = rag.VectorStoreIndex.from_documents(DOCUMENTS)
    assert str(await index.as_query_engine().aquery("What of backups?")) == (
        "so it is [1]"
    )
    assert settings.embed_model.queries == ["What of backups?"]


async def test_several_ask_at_once_and_get_answers_in_the_order_of_asking():
    llm = FakeLLM([str(n) for n in range(5)])
    answers = await asyncio.gather(*[llm.acomplete("x") for _ in range(5)])
    assert [str(answer) for answer in answers] == list("01234")
