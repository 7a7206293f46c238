"""From a question to a cited answer."""

import asyncio

import pytest

from rag.model_server import chat
from stepwell.rag import (
    CompletionResponse,
    Document,
    InvalidOptionError,
    LexicalRerank,
    ModelServerError,
    OpenAI,
    Response,
    Settings,
    VectorStoreIndex,
)
from stepwell.rag.response import cited_numbers


@pytest.fixture
def index():
    return VectorStoreIndex.from_documents(
        [
            Document(text="The sky is blue.", metadata={"file_name": "sky.txt"}),
            Document(text="The sea is blue too.", metadata={"file_name": "sea.txt"}),
        ]
    )


class Scripted:
    """A model of the user's own: only the one method it needs."""

    def __init__(self, text):
        self.text = text
        self.prompts = []

    async def acomplete(self, prompt):
        self.prompts.append(prompt)
        return self.text


def test_without_a_model_the_answer_is_a_quote_and_says_so(index):
    answer = index.as_query_engine().query("What colour is the sky?")
    assert "“The sky is blue.” [1]" in str(answer)
    assert "[1] sky.txt" in str(answer)
    assert answer.is_extractive
    assert [node.text for node in answer.cited_nodes] == ["The sky is blue."]
    assert answer.prompt == ""


def test_aquery_gives_the_same_as_query(index):
    engine = index.as_query_engine()
    assert asyncio.run(engine.aquery("sky?")) == engine.query("sky?")


def test_a_model_gets_numbered_passages_and_its_citations_are_resolved(index):
    llm = Scripted("Blue [2], says one; not [9].")
    answer = asyncio.run(index.as_query_engine(llm=llm).aquery("Is the sky blue?"))
    [prompt] = llm.prompts
    assert "[1] (sky.txt)\nThe sky is blue." in prompt
    assert "[2] (sea.txt)\nThe sea is blue too." in prompt
    assert "Question: Is the sky blue?" in prompt
    assert answer.prompt == prompt
    assert str(answer) == "Blue [2], says one; not [9]."
    assert [node.text for node in answer.cited_nodes] == ["The sea is blue too."]
    assert len(answer.source_nodes) == 2
    assert not answer.is_extractive


def test_braces_in_documents_and_questions_do_no_harm():
    index = VectorStoreIndex.from_documents([Document(text="sky {0} {name} {")])
    llm = Scripted("ok")
    asyncio.run(index.as_query_engine(llm=llm).aquery("sky {passages}"))
    assert "sky {0} {name} {" in llm.prompts[0]
    assert "Question: sky {passages}" in llm.prompts[0]


def test_a_model_behind_a_server_answers_with_usage(index, server):
    server.then(chat("It is blue [1].", usage=(120, 8)))
    llm = OpenAI("m", api_base=server.url, max_retries=0)
    answer = index.as_query_engine(llm=llm).query("Is the sky blue?")
    assert answer.usage.prompt_tokens == 120
    assert [node.text for node in answer.cited_nodes] == ["The sky is blue."]
    assert "120 tokens in, 8 out" in answer._repr_html_()


def test_an_error_of_the_server_reaches_the_caller(index, server):
    server.close()
    Settings.llm = OpenAI("m", api_base=server.url, max_retries=0)
    with pytest.raises(ModelServerError, match="could not be reached"):
        asyncio.run(index.as_query_engine().aquery("sky?"))


def test_a_model_with_only_the_other_method_is_used_where_it_can_be(index):
    class Blocking:
        def complete(self, prompt):
            return CompletionResponse(text="done [1]")

    answer = asyncio.run(index.as_query_engine(llm=Blocking()).aquery("sky?"))
    assert answer.citations == [1]
    with pytest.raises(InvalidOptionError, match=r"await engine\.aquery"):
        index.as_query_engine(llm=Scripted("x")).query("sky?")


def test_a_model_is_not_asked_when_nothing_was_found(index):
    llm = Scripted("I made this up.")
    answer = asyncio.run(index.as_query_engine(llm=llm).aquery("quantum?"))
    assert str(answer) == "Nothing in the documents matches this question."
    assert llm.prompts == []
    assert answer.source_nodes == []


def test_postprocessors_choose_in_turn(index):
    class Reverse:
        def postprocess_nodes(self, nodes, query_bundle=None, query_str=None):
            assert query_str == "blue sea"
            return nodes[::-1]

    both = [LexicalRerank(top_n=2), Reverse()]
    engine = index.as_query_engine(node_postprocessors=both)
    expected = ["The sky is blue.", "The sea is blue too."]
    assert [n.text for n in engine.query("blue sea").source_nodes] == expected
    found = asyncio.run(engine.aquery("blue sea")).source_nodes
    assert [node.text for node in found] == expected


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("a [1] b [3].", [1, 3]),
        ("[1, 2]", [1, 2]),
        ("[2-4]", [2, 3, 4]),
        ("[3–9]", [3, 4]),
        ("[0] [5] [x] x[1]y", [1]),
        ("[99999999999-1]", []),
        ("", []),
    ],
)
def test_citations_are_read(text, numbers):
    assert cited_numbers(text, 4) == numbers


def test_an_answer_survives_json(index):
    answer = index.as_query_engine().query("sky?")
    assert Response.model_validate_json(answer.model_dump_json()) == answer
