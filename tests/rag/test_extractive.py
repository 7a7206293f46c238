"""Answers without a model: quoted, cited, and honest about it."""

import asyncio

import pytest

from stepwell.rag import (
    ChatMessage,
    Document,
    ExtractiveLLM,
    NoLLMConfiguredError,
    Settings,
    VectorStoreIndex,
)
from stepwell.rag.extractive import read_prompt
from stepwell.rag.markup import plain, units

GATEWAY = """\
# Gateway

## Limits

The gateway allows 100 requests per minute to the API. Change `limits.yaml` and \
restart it to configure another rate.

## Colours

The logo is blue. Blue is the colour of the sea.
"""


@pytest.fixture
def index():
    document = Document(text=GATEWAY, metadata={"file_name": "gateway.md"}, id_="g")
    return VectorStoreIndex.from_documents([document])


def seed_prompt(nodes, question):
    """The prompt exactly as the user's own step builds it."""
    context_str = "\n\n".join([n.text for n in nodes])
    return (
        f"Context:\n{context_str}\n\n"
        f"Question: {question}\n\n"
        "Answer based on the context above:"
    )


def test_the_users_own_prompt_gets_a_quote_with_its_place(index):
    question = "How do I configure the API rate limits?"
    nodes = index.as_retriever(similarity_top_k=15).retrieve(question)
    answer = asyncio.run(Settings.llm.acomplete(seed_prompt(nodes, question)))
    assert str(answer) == (
        "No language model is configured; quoting the documents:\n\n"
        "“The gateway allows 100 requests per minute to the API. "
        "Change `limits.yaml` and restart it to configure another rate.” [1]\n\n"
        "[1] gateway.md § Gateway › Limits"
    )
    assert answer.is_extractive


def test_every_quoted_sentence_stands_in_the_documents(demo, demo_documents):
    said = {
        " ".join(plain(" ".join(unit.text.split())).split())
        for document in demo_documents
        for node in demo.nodes.values()
        if node.ref_doc_id == document.id_
        for unit in units(node.text)
    }
    for question in ("How do I add CORS headers?", "Which storage backends are there?"):
        answer = str(demo.as_query_engine().query(question))
        quotes = [line for line in answer.splitlines() if line.startswith("“")]
        assert quotes
        for quote in quotes:
            text = quote[1 : quote.rindex("”")]
            while text:
                first = max((s for s in said if text.startswith(s)), key=len)
                text = text[len(first) :].strip()


def test_a_context_that_was_not_retrieved_is_quoted_without_a_place():
    prompt = seed_prompt([], "What colour is the sky?").replace(
        "Context:\n", "Context:\nThe sky is blue today.\n\n- Grass is green."
    )
    answer = str(ExtractiveLLM().complete(prompt))
    assert "“The sky is blue today.” [1]" in answer
    assert "[1] the context given" in answer


def test_texts_of_a_word_that_were_retrieved_cut_no_passage_in_pieces():
    index = VectorStoreIndex.from_documents([Document(text="blue"), Document(text="s")])
    index.as_retriever().retrieve("blue")
    test_a_context_that_was_not_retrieved_is_quoted_without_a_place()


@pytest.mark.parametrize(
    "prompt",
    [
        "Answer this question: What is retrieval-augmented generation?",
        "Decompose and answer thoroughly: how does it work",
        "hello",
        "",
        "Question: why?",
    ],
)
def test_without_documents_it_says_what_it_is_and_never_makes_anything_up(prompt):
    answer = ExtractiveLLM().complete(prompt)
    assert str(answer).startswith(
        "No language model is configured, and the prompt holds no documents to quote"
    )
    assert "Settings.llm = OpenAI(" in str(answer)
    assert answer.is_extractive


def test_a_key_in_the_environment_changes_the_hint_and_nothing_else(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    answer = Settings.llm.complete("What is it?")
    assert answer.is_extractive
    assert "OPENAI_API_KEY is set, but nothing is sent anywhere" in str(answer)


def test_documents_that_do_not_match_give_no_quote():
    answer = str(
        ExtractiveLLM().complete(
            seed_prompt([], "Who invented the telephone?").replace(
                "Context:\n", "Context:\nCats sleep all day long."
            )
        )
    )
    assert "nothing in the documents given matches" in answer
    assert "“" not in answer


def test_a_weak_match_is_called_one():
    answer = str(
        ExtractiveLLM().complete(
            "Context:\nThe kitchen opens at nine every day.\n\n"
            "Question: Which kitchen wallpaper colour suits a basement gym?"
        )
    )
    assert "the documents may not answer this" in answer
    assert "“The kitchen opens at nine every day.” [1]" in answer


def test_streams_and_chats_say_the_same(index):
    nodes = index.as_retriever().retrieve("blue logo")
    prompt = seed_prompt(nodes, "What colour is the logo?")
    llm = ExtractiveLLM()
    whole = llm.complete(prompt).text

    async def stream():
        return [piece async for piece in await llm.astream_complete(prompt)]

    pieces = asyncio.run(stream())
    assert "".join(piece.delta for piece in pieces) == pieces[-1].text == whole
    assert [p.text for p in llm.stream_complete(prompt)][-1] == whole
    assert str(llm.chat([ChatMessage(content=prompt)])) == whole
    split = [
        ChatMessage(role="system", content=f"Context:\n{nodes[0].text}"),
        ChatMessage(content="Question: What colour is the logo?"),
    ]
    assert "The logo is blue." in str(asyncio.run(llm.achat(split)))


def test_tools_need_a_model():
    with pytest.raises(NoLLMConfiguredError, match="Tools need a language model"):
        ExtractiveLLM().chat([ChatMessage(content="x")], tools=[object()])


@pytest.mark.parametrize(
    ("prompt", "question", "context"),
    [
        ("Context:\na b\n\nQuestion: q?\n\nAnswer:", "q?", "a b"),
        ("Question: q?\n\nContext:\na b", "q?", "a b"),
        ("a b\n\nQuery: q", "q", "a b"),
        ("a b\nWhat is c?", "What is c?", "a b"),
        ("Context:\nQ: old?\n\nA: x\n\nQuestion: new?", "new?", "Q: old?\n\nA: x"),
        ("no question here", "", ""),
    ],
)
def test_question_and_context_are_told_apart(prompt, question, context):
    assert read_prompt(prompt) == (question, context)


def test_code_that_a_sentence_introduces_is_quoted_with_it():
    prompt = (
        "Context:\nTo limit a route, decorate it:\n\n```python\n@limit(5)\ndef f(): "
        "...\n```\n\nQuestion: How do I limit a route?"
    )
    answer = str(ExtractiveLLM().complete(prompt))
    assert (
        "“To limit a route, decorate it:” [1]\n```\n@limit(5)\ndef f(): ...\n```"
        in (answer)
    )


def test_not_more_quotes_than_asked_for(demo):
    nodes = demo.as_retriever(8).retrieve("rate limit storage redis memory")
    prompt = seed_prompt(nodes, "Which rate limit storage is there?")
    answer = ExtractiveLLM(max_passages=1).complete(prompt).text
    assert answer.count("“") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":class:`~flask_limiter.Limiter` limits", "`Limiter` limits"),
        (
            "see :ref:`the guide <guide>` and `this <http://x>`_",
            "see the guide and this",
        ),
        ("[a link](http://x) and ``code``", "a link and `code`"),
        ("**bold** and *plain*, snake_case_name", "bold and plain, snake_case_name"),
        ("2 * 3 * 4", "2 * 3 * 4"),
    ],
)
def test_inline_markup_is_removed(text, expected):
    assert plain(text) == expected


def test_a_chunk_falls_into_sentences_items_rows_and_code():
    text = (
        "# Title\n\nOne sentence. Two, e.g. this.\n\n"
        "- an item\n- another\n  goes on\n\n"
        "| a | b |\n|---|---|\n| c | d |\n\n```\nx = 1\n```\n\n"
        ".. code-block:: python\n\n   y = 2\n\n.. note:: Mind this.\n"
    )
    assert [(unit.kind, unit.text) for unit in units(text)] == [
        ("sentence", "One sentence."),
        ("sentence", "Two, e.g. this."),
        ("item", "an item"),
        ("item", "another goes on"),
        ("row", "a — b"),
        ("row", "c — d"),
        ("code", "x = 1"),
        ("code", "y = 2"),
        ("sentence", "Mind this."),
    ]
    assert {unit.heading for unit in units(text)} == {"Title"}
