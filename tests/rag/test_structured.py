"""Answers of a class, from servers that keep to it and from those that do not."""

import asyncio
import doctest
from enum import Enum

import pytest
from pydantic import BaseModel, Field

from rag.model_server import chat, failure
from stepwell.rag import (
    ExtractiveLLM,
    InvalidOptionError,
    ModelServerError,
    NoLLMConfiguredError,
    OpenAI,
    StructuredLLM,
    StructuredOutputError,
    structured,
)
from stepwell.testing import FakeLLM

pytest.importorskip("openai")


class City(BaseModel):
    name: str
    people: int = Field(default=0, ge=0)


BERN = '{"name": "Bern", "people": 134000}'


def test_the_example_is_true():
    assert doctest.testmod(structured) == (0, 5)


def model(server):
    return OpenAI("m", api_base=server.url, max_retries=0)


def ask(server, asynchronous, prompt="The capital of {land}?", **variables):
    llm, variables = model(server), variables or {"land": "Switzerland"}
    if asynchronous:
        return asyncio.run(llm.astructured_predict(City, prompt, **variables))
    return llm.structured_predict(City, prompt, **variables)


both = pytest.mark.parametrize("asynchronous", [True, False])


@both
def test_an_answer_is_an_object_of_the_class(server, asynchronous):
    server.then(chat(BERN))
    assert ask(server, asynchronous) == City(name="Bern", people=134000)
    [(_, body)] = server.requests
    assert body["messages"][0]["content"] == "The capital of Switzerland?"
    assert body["response_format"]["json_schema"]["name"] == "City"


@both
def test_a_structured_model_has_the_object_in_raw_and_its_json_as_text(
    server, asynchronous
):
    server.then(chat(BERN))
    llm = model(server).as_structured_llm(City)
    answer = asyncio.run(llm.acomplete("?")) if asynchronous else llm.complete("?")
    assert answer.raw == City(name="Bern", people=134000)
    assert City.model_validate_json(answer.text) == answer.raw
    assert answer.usage.total_tokens == 10


@pytest.mark.parametrize(
    "text",
    [
        f"Here you are:\n```json\n{BERN}\n```\nAnything else?",
        f"Sure! {BERN} I hope this helps.",
        f"```\n{BERN}\n```",
    ],
)
def test_words_around_the_json_do_no_harm(server, text):
    server.then(chat(text))
    assert ask(server, False).name == "Bern"
    assert len(server.requests) == 1


@both
def test_a_wrong_answer_is_sent_back_once_with_what_is_wrong(server, asynchronous):
    server.then(chat('{"name": "Bern", "people": -1}'), chat(BERN))
    assert ask(server, asynchronous).people == 134000
    _, wrong, why, schema = server.requests[1][1]["messages"]
    assert wrong == {
        "role": "assistant",
        "content": '{"name": "Bern", "people": -1}',
    }
    assert "people: Input should be greater than or equal to 0" in why["content"]
    assert '"properties"' in schema["content"]


@both
def test_a_second_wrong_answer_is_an_error_that_has_it(server, asynchronous):
    server.then(chat("Bern, I think."), chat("It is Bern."))
    with pytest.raises(StructuredOutputError) as caught:
        ask(server, asynchronous)
    assert caught.value.raw == "It is Bern."
    assert "m was to answer with a City and twice did not" in str(caught.value)
    assert len(server.requests) == 2


@both
def test_a_server_that_refuses_the_schema_is_asked_in_words(server, asynchronous):
    server.then(failure(400, "response_format is not supported"), chat(BERN))
    assert ask(server, asynchronous).name == "Bern"
    body = server.requests[1][1]
    assert "response_format" not in body
    assert '"properties"' in body["messages"][-1]["content"]


@both
def test_another_refusal_is_not_asked_about_twice(server, asynchronous):
    server.then(failure(401, "no"))
    with pytest.raises(ModelServerError, match="401"):
        ask(server, asynchronous)


def test_a_model_that_declines_is_quoted(server):
    server.then(*[chat(None, refusal="I cannot help with that.")] * 2)
    with pytest.raises(StructuredOutputError, match=r"I cannot help with that\."):
        ask(server, False)


def test_tokens_of_both_answers_are_counted(server):
    server.then(chat("no", usage=(10, 1)), chat(BERN, usage=(20, 5)))
    usage = model(server).as_structured_llm(City).complete("?").usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (30, 6)


class Colour(Enum):
    RED = "red"


class Part(BaseModel):
    colour: Colour = Field(default=Colour.RED, description="Its colour.")
    parts: list["Part"] = Field(default_factory=list)


def test_the_schema_is_strict_where_it_can_be(server):
    server.then(chat('{"colour": "red", "parts": []}'))
    model(server).structured_predict(Part, "?")
    sent = server.requests[0][1]["response_format"]["json_schema"]
    assert sent["strict"] is True
    part = sent["schema"]["$defs"]["Part"]
    assert part["required"] == ["colour", "parts"]
    assert part["additionalProperties"] is False
    # Nothing may stand beside a reference, and no default anywhere.
    assert part["properties"]["colour"] == {
        "anyOf": [{"$ref": "#/$defs/Colour"}],
        "description": "Its colour.",
    }


def test_the_schema_is_not_strict_where_fields_have_no_names(server):
    class Counts(BaseModel):
        by_word: dict[str, int]

    server.then(chat('{"by_word": {"a": 1}}'))
    found = model(server).structured_predict(Counts, "?")
    assert found.by_word == {"a": 1}
    sent = server.requests[0][1]["response_format"]["json_schema"]
    assert sent["strict"] is False


def test_braces_in_prompts_and_values_stay(server):
    server.then(chat(BERN))
    ask(server, False, 'Like {{"a": 1}} {x}: {land}', land="{x}", x="{land}")
    assert server.requests[0][1]["messages"][0]["content"] == (
        'Like {{"a": 1}} {land}: {x}'
    )


def test_a_variable_without_a_place_is_named(server):
    with pytest.raises(InvalidOptionError, match=r"no place for \{town\}"):
        ask(server, False, "The capital?", town="x")


def test_only_model_classes_can_be_asked_for():
    with pytest.raises(InvalidOptionError, match="a pydantic model class, not"):
        StructuredLLM(FakeLLM(), dict)


def test_it_goes_round_any_model():
    assert (
        StructuredLLM(FakeLLM(["what?", BERN]), City).complete("?").raw.name == "Bern"
    )


@both
def test_the_quoting_answerer_refuses(asynchronous):
    with pytest.raises(NoLLMConfiguredError, match="need a language model"):
        if asynchronous:
            asyncio.run(ExtractiveLLM().astructured_predict(City, "?"))
        else:
            ExtractiveLLM().structured_predict(City, "?")
