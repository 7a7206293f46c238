"""Functions that a model may call, by the real client against a real server."""

import asyncio
import doctest
import json
import threading
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from rag.model_server import chat, stream, tool_call
from stepwell.rag import (
    ChatMessage,
    Document,
    ExtractiveLLM,
    FunctionTool,
    InvalidOptionError,
    MaxIterationsError,
    NoLLMConfiguredError,
    OpenAI,
    QueryEngineTool,
    ToolOutput,
    VectorStoreIndex,
    as_tools,
    tools,
)

pytest.importorskip("openai")


class Place(BaseModel):
    city: str
    country: str = "CH"


def add(a: int, b: int = 1) -> int:
    """Add two numbers.

    For whole ones only.

    Args:
        a: The first one,
            which is a number.
        b (int): The second.

    Returns:
        Their sum.
    """
    return a + b


async def weather(place: Place, unit: Literal["C", "F"] = "C") -> dict[str, object]:
    """Tell the weather."""
    return {"city": place.city, "unit": unit}


def model(server):
    return OpenAI("m", api_base=server.url, max_retries=0)


def test_the_examples_are_true():
    assert doctest.testmod(tools).attempted > 0
    assert doctest.testmod(tools).failed == 0


# -- what a tool is ----------------------------------------------------------------


def test_the_schema_is_read_from_the_signature_and_the_docstring():
    tool = FunctionTool.from_defaults(add)
    assert tool.to_openai_tool() == {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Add two numbers.\n\nFor whole ones only.",
            "parameters": {
                "type": "object",
                "properties": {
                    "a": {
                        "type": "integer",
                        "description": "The first one, which is a number.",
                    },
                    "b": {
                        "type": "integer",
                        "default": 1,
                        "description": "The second.",
                    },
                },
                "required": ["a"],
                "additionalProperties": False,
            },
        },
    }


def test_a_name_and_a_description_may_be_given():
    tool = FunctionTool.from_defaults(lambda x: x, "echo", "Say it again.")
    assert (tool.name, tool.description) == ("echo", "Say it again.")
    assert tool(x="hi") == "hi"


def test_annotations_describe_arguments_before_the_docstring_does():
    def look(up: Annotated[str, Field(description="A word.")]) -> str:
        """Look.

        Args:
            up: Something else.
        """
        return up

    parameters = FunctionTool.from_defaults(look).parameters
    assert parameters["properties"]["up"]["description"] == "A word."


def test_arguments_reach_the_function_as_its_annotations_have_them():
    seen = []

    def book(places: list[Place], copy: bool, _id: int = 0) -> None:
        seen.append((places, copy, _id))

    tool = FunctionTool.from_defaults(book)
    assert str(tool.call(places=[{"city": "Bern"}], copy="true", _id="4")) == "null"
    assert seen == [([Place(city="Bern")], True, 4)]


@pytest.mark.parametrize("wrong", [{}, {"a": "x"}, {"a": 1, "c": 2}])
def test_arguments_that_do_not_fit_never_reach_the_function(wrong):
    with pytest.raises(ValidationError):
        FunctionTool.from_defaults(add).call(**wrong)


def test_a_function_without_parameters_is_a_tool():
    tool = FunctionTool.from_defaults(lambda: 42, "answer")
    assert tool.parameters["properties"] == {}
    assert str(tool.call()) == "42"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ({"ä": [1, None]}, '{"ä": [1, null]}'),
        (Place(city="Bern"), '{"city":"Bern","country":"CH"}'),
        ([Place(city="Bern")], '[{"city": "Bern", "country": "CH"}]'),
        (1.5, "1.5"),
        (True, "true"),
    ],
)
def test_what_a_tool_gives_is_told_as_text(value, text):
    output = FunctionTool.from_defaults(lambda: value, "give").call()
    assert (str(output), output.raw_output) == (text, value)


async def test_plain_functions_run_in_a_thread_and_asynchronous_ones_on_the_loop():
    where = []

    def plain() -> None:
        where.append(threading.current_thread())

    async def other() -> None:
        where.append(threading.current_thread())

    await FunctionTool.from_defaults(plain).acall()
    await FunctionTool.from_defaults(other).acall()
    assert where[0] is not threading.current_thread()
    assert where[1] is threading.current_thread()


def test_an_asynchronous_tool_says_how_to_call_it():
    with pytest.raises(InvalidOptionError, match=r"await tool\.acall"):
        FunctionTool.from_defaults(weather).call(place={"city": "Bern"})


def positional(a, /):
    return a


def several(*values):
    return values


def strange(a: "Nowhere"):  # noqa: F821
    return a


def callback(a: threading.Thread):
    return a


@pytest.mark.parametrize(
    ("fn", "said"),
    [
        (positional, "by name"),
        (several, "by name"),
        (strange, "cannot be read"),
        (callback, "takes a, which no model can send as JSON"),
        (lambda: 1, "give name="),
        (3, "made of a function"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_with_a_reason(fn, said):
    with pytest.raises(InvalidOptionError, match=said):
        FunctionTool.from_defaults(fn)


def test_two_tools_of_one_name_are_refused():
    with pytest.raises(InvalidOptionError, match="Two tools are called add"):
        as_tools([add, FunctionTool.from_defaults(add)])


async def test_a_query_engine_is_a_tool():
    index = VectorStoreIndex.from_documents(
        [Document(text="The sky is blue.", metadata={"file_name": "sky.txt"})]
    )
    tool = QueryEngineTool.from_defaults(index.as_query_engine(), "sky", "The sky.")
    assert list(tool.parameters["properties"]) == ["input"]
    assert "“The sky is blue.” [1]" in str(tool.call(input="sky?"))
    assert "[1] sky.txt" in str(await tool.acall(input="sky?"))


# -- calling until there is an answer ----------------------------------------------


@pytest.mark.parametrize("asynchronous", [True, False])
def test_tools_are_called_until_the_model_answers(server, asynchronous):
    server.then(
        chat(None, calls=[tool_call("1", "add", {"a": 2, "b": 3})]),
        chat(None, calls=[tool_call("2", "add", {"a": 5})]),
        chat("It is 6."),
    )
    llm = model(server)
    if asynchronous:
        answer = asyncio.run(llm.achat_with_tools([add], "2 + 3 + 1?"))
    else:
        answer = llm.chat_with_tools([add], "2 + 3 + 1?")
    assert str(answer) == "It is 6."
    first, _, last = [body for _, body in server.requests]
    assert first["tools"][0]["function"]["name"] == "add"
    assert last["messages"] == [
        {"role": "user", "content": "2 + 3 + 1?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [tool_call("1", "add", '{"a": 2, "b": 3}')],
        },
        {"role": "tool", "content": "5", "tool_call_id": "1"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [tool_call("2", "add", '{"a": 5}')],
        },
        {"role": "tool", "content": "6", "tool_call_id": "2"},
    ]


@pytest.mark.parametrize("asynchronous", [True, False])
def test_tools_of_one_round_run_at_once(server, asynchronous):
    calls = [tool_call(str(n), "meet", {}) for n in range(3)]
    server.then(chat(None, calls=calls), chat("done"))
    # It opens only when all three have come.
    door = threading.Barrier(3, timeout=20)

    def meet() -> int:
        return door.wait()

    llm = model(server)
    if asynchronous:
        asyncio.run(llm.achat_with_tools([meet], "go"))
    else:
        llm.chat_with_tools([meet], "go")
    told = server.requests[1][1]["messages"][-3:]
    assert [each["tool_call_id"] for each in told] == ["0", "1", "2"]
    assert sorted(each["content"] for each in told) == ["0", "1", "2"]


@pytest.mark.parametrize("asynchronous", [True, False])
def test_what_goes_wrong_with_a_tool_is_told_to_the_model(server, asynchronous):
    def broken() -> None:
        raise OSError("the disk is full")

    server.then(
        chat(
            None,
            calls=[
                tool_call("1", "broken", {}),
                tool_call("2", "add", {"a": "x"}),
                tool_call("3", "add", "{a: 1"),
                tool_call("4", "subtract", {}),
                tool_call("5", "add", "[1]"),
            ],
        ),
        chat("Sorry."),
    )
    llm = model(server)
    if asynchronous:
        asyncio.run(llm.achat_with_tools([add, broken], "go"))
    else:
        llm.chat_with_tools([add, broken], "go")
    told = [each["content"] for each in server.requests[1][1]["messages"][-5:]]
    assert told[0] == "OSError: the disk is full"
    assert told[1].startswith("Wrong arguments for add: a: Input should be a valid int")
    assert "no JSON object: {a: 1" in told[2]
    assert "no tool 'subtract'; there are: add, broken." in told[3]
    assert "no JSON object: [1]" in told[4]


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_model_that_never_stops_calling_is_stopped(server, asynchronous):
    server.then(*[chat(None, calls=[tool_call("1", "add", {"a": 1})])] * 3)
    llm = model(server)
    with pytest.raises(MaxIterationsError, match="after 3 rounds, last add") as caught:
        if asynchronous:
            asyncio.run(llm.achat_with_tools([add], "go", max_iterations=3))
        else:
            llm.chat_with_tools([add], "go", max_iterations=3)
    assert len(server.requests) == 3
    assert (caught.value.max_iterations, caught.value.tool_names) == (3, ("add",))


def test_a_conversation_may_go_before(server):
    server.then(chat("Yes."))
    history = [ChatMessage(content="a"), ChatMessage(role="assistant", content="b")]
    model(server).chat_with_tools([], "c", chat_history=history)
    body = server.requests[0][1]
    assert [each["content"] for each in body["messages"]] == ["a", "b", "c"]
    assert "tools" not in body


def test_a_single_request_gives_the_calls_to_whoever_wants_to_make_them(server):
    server.then(chat("Let me see.", calls=[tool_call("1", "add", {"a": 1})]))
    tools = [FunctionTool.from_defaults(add)]
    [call] = (
        model(server).chat([ChatMessage(content="x")], tools=tools).message.tool_calls
    )
    assert (call.tool_name, call.tool_kwargs) == ("add", {"a": 1})


@pytest.mark.parametrize("asynchronous", [True, False])
def test_calls_are_put_together_from_the_pieces_of_a_stream(server, asynchronous):
    def part(index, arguments, id=None, name=None):
        function = {"arguments": arguments} | ({"name": name} if name else {})
        return {"tool_calls": [{"index": index, "id": id, "function": function}]}

    server.then(
        stream(
            [
                "Let me ",
                "see.",
                part(0, "", "1", "add"),
                part(0, '{"a": '),
                part(1, '{"a"', "2", "add"),
                part(0, "1}"),
                part(1, ": 2}"),
            ]
        )
    )
    llm = model(server)
    said = [ChatMessage(content="go")]

    async def read():
        return [piece async for piece in llm.astream_chat(said)]

    pieces = asyncio.run(read()) if asynchronous else list(llm.stream_chat(said))
    last = pieces[-1].message
    assert last.content == "Let me see."
    assert [(c.tool_id, c.tool_kwargs) for c in last.tool_calls] == [
        ("1", {"a": 1}),
        ("2", {"a": 2}),
    ]
    assert pieces[-1].usage.total_tokens == 8


def test_whole_calls_without_an_index_are_kept_apart(server):
    def whole(id, arguments):
        return {"tool_calls": [tool_call(id, "add", arguments)]}

    server.then(stream([whole("1", {"a": 1}), whole("2", {"a": 2})]))
    *_, last = model(server).stream_chat([ChatMessage(content="go")])
    assert [c.tool_kwargs["a"] for c in last.message.tool_calls] == [1, 2]


@pytest.mark.parametrize("asynchronous", [True, False])
def test_the_quoting_answerer_refuses_tools(asynchronous):
    with pytest.raises(NoLLMConfiguredError, match="Tools need a language model"):
        if asynchronous:
            asyncio.run(ExtractiveLLM().achat_with_tools([add], "go"))
        else:
            ExtractiveLLM().chat_with_tools([add], "go")


def test_an_output_survives_json_without_what_only_this_process_knows():
    output = FunctionTool.from_defaults(add).call(a=1)
    there = ToolOutput.model_validate_json(output.model_dump_json())
    assert (there.content, there.raw_output) == ("2", None)
    assert json.loads(output.model_dump_json())["tool_kwargs"] == {"a": 1}
