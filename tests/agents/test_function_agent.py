"""An agent: a model and its tools as a workflow, with scripted models and a server."""

import asyncio
import doctest
import json

import pytest

from rag.model_server import ModelServer, chat, stream, tool_call
from stepwell import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)
from stepwell.agents import (
    AgentInput,
    AgentOutput,
    AgentStream,
    FunctionAgent,
    ToolCall,
    ToolCallResult,
    function,
)
from stepwell.rag import (
    ChatMessage,
    Document,
    FunctionTool,
    InvalidOptionError,
    MaxIterationsError,
    ModelServerError,
    NoLLMConfiguredError,
    OpenAI,
    QueryEngineTool,
    Settings,
    VectorStoreIndex,
)
from stepwell.testing import FakeLLM

calls = FakeLLM.calls


@pytest.fixture(autouse=True)
def settings_as_after_import():
    yield
    Settings.reset()


@pytest.fixture
def server():
    pytest.importorskip("openai")
    server = ModelServer()
    yield server
    server.close()


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def shout(text: str) -> str:
    """Say it louder."""
    return text.upper()


def test_the_example_is_true():
    assert doctest.testmod(function) == (0, 6)


# -- answering ---------------------------------------------------------------------


async def test_an_agent_answers_without_calling_anything():
    answer = await FunctionAgent([add], FakeLLM("Hello!")).run("Hi")
    assert isinstance(answer, AgentOutput)
    assert str(answer) == "Hello!"
    assert answer.tool_calls == []


async def test_an_agent_calls_tools_and_answers_with_what_they_gave():
    llm = FakeLLM([calls("add", a=2, b=3), calls("shout", text="five"), "FIVE!"])
    agent = FunctionAgent([add, shout], llm, "Be loud.")
    answer = await agent.run(user_msg="2 + 3?")
    assert str(answer) == "FIVE!"
    assert [str(each.tool_output) for each in answer.tool_calls] == ["5", "FIVE"]
    assert [(m.role, m.content) for m in llm.conversations[-1]] == [
        ("system", "Be loud."),
        ("user", "2 + 3?"),
        ("assistant", ""),
        ("tool", "5"),
        ("assistant", ""),
        ("tool", "FIVE"),
    ]


async def test_tools_of_one_round_run_side_by_side_and_are_told_in_order():
    there = []
    everybody = asyncio.Event()

    async def meet(name: str) -> str:
        there.append(name)
        if len(there) == 3:
            everybody.set()
        await everybody.wait()
        return name

    llm = FakeLLM([[calls("meet", name=name) for name in "abc"], "done"])
    answer = await FunctionAgent([meet], llm).run("go")
    assert [each.tool_kwargs["name"] for each in answer.tool_calls] == ["a", "b", "c"]
    assert [m.content for m in llm.conversations[-1][-3:]] == ["a", "b", "c"]


async def test_the_stream_shows_words_calls_and_results():
    llm = FakeLLM([calls("add", a=2, b=3), "It is 5."])
    handler = FunctionAgent([add], llm, name="Adder").run("2 + 3?")
    events = [event async for event in handler.stream_events()]
    assert [type(event) for event in events] == [
        AgentInput,
        ToolCall,
        ToolCallResult,
        AgentInput,
        AgentStream,
        AgentStream,
        AgentStream,
        AgentOutput,
    ]
    assert "".join(e.delta for e in events if isinstance(e, AgentStream)) == "It is 5."
    assert events[1].tool_kwargs == {"a": 2, "b": 3}
    assert events[2].tool_id == events[1].tool_id
    assert events[0].current_agent_name == "Adder"


async def test_an_agent_may_keep_its_words_until_they_are_whole():
    handler = FunctionAgent([add], FakeLLM("Hello there!"), streaming=False).run("Hi")
    events = [event async for event in handler.stream_events()]
    assert [type(event) for event in events] == [AgentInput, AgentOutput]


async def test_the_model_of_the_settings_is_asked_where_none_is_given():
    Settings.llm = FakeLLM("From the settings.")
    assert str(await FunctionAgent().run("Hi")) == "From the settings."


async def test_a_model_that_only_blocks_is_asked_in_a_thread():
    class Blocking:
        def chat(self, messages, **kwargs):
            return FakeLLM("Slowly.").chat(messages)

    assert str(await FunctionAgent([add], Blocking()).run("Hi")) == "Slowly."


async def test_a_tool_may_give_the_answer_itself():
    tool = FunctionTool.from_defaults(add, return_direct=True)
    answer = await FunctionAgent([tool], FakeLLM([calls("add", a=1, b=2)])).run("1+2?")
    assert str(answer) == "3"


async def test_an_agent_searches_documents_by_a_query_engine():
    index = VectorStoreIndex.from_documents(
        [Document(text="The gate opens at nine.", metadata={"file_name": "gate.md"})]
    )
    tool = QueryEngineTool.from_defaults(index.as_query_engine(), "search")
    llm = FakeLLM([calls("search", input="When does the gate open?"), "At nine [1]."])
    answer = await FunctionAgent([tool], llm).run("When can I come?")
    assert "“The gate opens at nine.” [1]" in str(answer.tool_calls[0].tool_output)
    assert str(answer) == "At nine [1]."


# -- what goes wrong ---------------------------------------------------------------


async def test_what_goes_wrong_with_a_tool_is_told_to_the_model():
    def broken() -> None:
        raise OSError("the disk is full")

    wrong = [calls("broken"), calls("add", a="x", b=1), calls("subtract")]
    llm = FakeLLM([wrong, "Sorry."])
    answer = await FunctionAgent([add, broken], llm).run("go")
    told = [str(each.tool_output) for each in answer.tool_calls]
    assert told[0] == "OSError: the disk is full"
    assert told[1].startswith("Wrong arguments for add: a: Input should be a valid int")
    assert told[2].endswith("no tool 'subtract'; there are: add, broken.")
    assert all(each.tool_output.is_error for each in answer.tool_calls)
    assert str(answer) == "Sorry."


async def test_an_agent_that_never_stops_calling_is_stopped():
    llm = FakeLLM(calls("add", a=1, b=1))
    agent = FunctionAgent([add], llm, name="Adder", max_iterations=3)
    with pytest.raises(MaxIterationsError, match="Adder still calls tools after 3"):
        await agent.run("go")
    assert len(llm.prompts) == 3
    with pytest.raises(MaxIterationsError, match="after 1 rounds"):
        await agent.run("go", max_iterations=1)


async def test_without_a_model_the_error_says_how_to_set_one():
    with pytest.raises(NoLLMConfiguredError, match=r"Settings\.llm = OpenAI"):
        await FunctionAgent([add]).run("go")


async def test_an_agent_that_is_asked_nothing_says_so():
    with pytest.raises(InvalidOptionError, match=r"asked nothing: write agent\.run"):
        await FunctionAgent(llm=FakeLLM()).run()


@pytest.mark.parametrize("most", [0, -1])
def test_an_agent_without_rounds_is_refused(most):
    with pytest.raises(InvalidOptionError, match="max_iterations"):
        FunctionAgent(max_iterations=most)


async def test_a_model_that_cannot_chat_is_named():
    class Silent:
        def complete(self, prompt):
            return ""

    with pytest.raises(InvalidOptionError, match="Silent has neither"):
        await FunctionAgent(llm=Silent()).run("Hi")


# -- going on ----------------------------------------------------------------------


async def test_an_agent_remembers_within_a_context():
    llm = FakeLLM([calls("add", a=1, b=2), "3.", "You asked for 1 + 2."])
    agent = FunctionAgent([add], llm)
    ctx = Context(agent)
    await agent.run("1 + 2?", ctx=ctx)
    assert str(await agent.run("What did I ask?", ctx=ctx)) == "You asked for 1 + 2."
    assert [m.role for m in llm.conversations[-1]] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]


async def test_what_was_said_survives_in_a_saved_context():
    llm = FakeLLM([calls("add", a=1, b=2), "3.", "Yes."])
    agent = FunctionAgent([add], llm)
    ctx = Context(agent)
    await agent.run("1 + 2?", ctx=ctx)
    there = Context.from_dict(agent, json.loads(json.dumps(ctx.to_dict())))
    await agent.run("Sure?", ctx=there)
    last = llm.conversations[-1]
    assert [m.content for m in last] == ["1 + 2?", "", "3", "3.", "Sure?"]
    assert last[1].tool_calls[0].tool_kwargs == {"a": 1, "b": 2}


async def test_a_run_that_failed_is_not_remembered_in_half():
    llm = FakeLLM([calls("add", a=1, b=2), OSError("down"), "Hello."])
    agent = FunctionAgent([add], llm)
    ctx = Context(agent)
    with pytest.raises(OSError, match="down"):
        await agent.run("1 + 2?", ctx=ctx)
    await agent.run("Hi", ctx=ctx)
    assert [m.content for m in llm.conversations[-1]] == ["Hi"]


async def test_a_run_that_failed_goes_on_where_it_was():
    llm = FakeLLM([calls("add", a=1, b=2), OSError("down"), "3."])
    called = []

    def count(a: int, b: int) -> int:
        called.append((a, b))
        return a + b

    agent = FunctionAgent([FunctionTool.from_defaults(count, "add")], llm)
    handler = agent.run("1 + 2?")
    with pytest.raises(OSError, match="down"):
        await handler
    assert str(await handler.resume()) == "3."
    assert called == [(1, 2)]


async def test_a_conversation_may_be_given():
    llm = FakeLLM("ok")
    history = [ChatMessage(content="a"), ChatMessage(role="assistant", content="b")]
    await FunctionAgent(llm=llm).run("c", chat_history=history)
    assert [m.content for m in llm.conversations[0]] == ["a", "b", "c"]


# -- people ------------------------------------------------------------------------


async def delete(path: str) -> str:
    """Delete a file, once a person agrees."""
    ctx = Context.get_step_context()
    answer = await ctx.wait_for_event(
        HumanResponseEvent, InputRequiredEvent(prefix=f"Delete {path}?")
    )
    return "deleted" if answer.response == "yes" else "kept"


async def test_a_tool_may_ask_a_person():
    llm = FakeLLM([calls("delete", path="a.txt"), "Done."])
    handler = FunctionAgent([delete], llm).run("Tidy up.")
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            assert event.prefix == "Delete a.txt?"
            handler.ctx.send_event(HumanResponseEvent(response="yes"))
    assert str((await handler).tool_calls[0].tool_output) == "deleted"


async def test_a_function_is_given_the_context_it_asks_for():
    def note(text: str, ctx: Context) -> str:
        ctx.log(text)
        return str(ctx.call_id > 0)

    async def wait(ctx: Context, path: "str") -> str:
        """Wait for a person.

        Args:
            path: Of what.
        """
        answer = await ctx.wait_for_event(
            HumanResponseEvent, InputRequiredEvent(prefix=path)
        )
        return answer.response

    llm = FakeLLM([[calls("note", text="hi"), calls("wait", path="a")], "Done."])
    agent = FunctionAgent([note, wait], llm)
    assert [list(tool.parameters["properties"]) for tool in agent.tools] == [
        ["text"],
        ["path"],
    ]
    assert agent.tools[1].parameters["properties"]["path"]["description"] == "Of what."
    answer = await agent.run("go", answers=["now"])
    assert [str(each.tool_output) for each in answer.tool_calls] == ["True", "now"]


async def test_answers_of_people_may_be_prepared():
    llm = FakeLLM([calls("delete", path="a.txt"), "Done."])
    answer = await FunctionAgent([delete], llm).run("Tidy up.", answers=["no"])
    assert str(answer.tool_calls[0].tool_output) == "kept"


async def test_a_run_may_be_saved_while_a_person_is_asked():
    llm = FakeLLM([calls("delete", path="a.txt"), "Done."])
    agent = FunctionAgent([delete], llm)
    handler = agent.run("Tidy up.")
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            break
    saved = json.loads(json.dumps(handler.ctx.to_dict()))
    await handler.cancel_run()
    there = agent.run(ctx=Context.from_dict(agent, saved), answers=["yes"])
    assert str((await there).tool_calls[0].tool_output) == "deleted"
    assert [m.content for m in llm.conversations[-1]] == ["Tidy up.", "", "deleted"]


# -- inside other workflows --------------------------------------------------------


class Draft(Event):
    text: str


class Writers(Workflow):
    """Agents inside steps: one writes, the other looks it over."""

    def __init__(self, writer, reviewer, **options):
        super().__init__(**options)
        self.writer, self.reviewer = writer, reviewer

    @step
    async def write(self, ctx: Context, ev: StartEvent) -> Draft:
        return Draft(text=str(await ctx.run(self.writer, user_msg=ev.topic)))

    @step
    async def review(self, ctx: Context, ev: Draft) -> StopEvent:
        return StopEvent(result=str(await self.reviewer.run(f"Review: {ev.text}")))


async def test_agents_work_inside_steps():
    writer = FunctionAgent([shout], FakeLLM([calls("shout", text="rain"), "RAIN."]))
    reviewer = FunctionAgent(llm=FakeLLM({"Review: RAIN.": "Fine."}))
    handler = Writers(writer, reviewer).run(topic="rain")
    events = [event async for event in handler.stream_events()]
    assert await handler == "Fine."
    # Those of the agent run by ctx.run show on the stream of the whole.
    assert [e.delta for e in events if isinstance(e, AgentStream)] == ["RAIN."]


# -- looks -------------------------------------------------------------------------


def test_the_graph_shows_the_round():
    drawn = FunctionAgent.draw("mermaid")
    for name in ("ask_model", "call_tool", "tell_results", "ToolCallResult"):
        assert name in drawn


def test_an_agent_bears_its_name_where_it_is_shown():
    assert FunctionAgent(name="Adder").workflow_name == "Adder"
    assert FunctionAgent().workflow_name == "FunctionAgent"


async def test_events_of_tools_read_as_code():
    llm = FakeLLM([[calls("add", a=2, b=3), calls("add", a="x")], "It is 5."])
    handler = FunctionAgent([add], llm).run("2 + 3?")
    events = [event async for event in handler.stream_events()]
    [first, _] = [event for event in events if isinstance(event, ToolCall)]
    assert repr(first) == "ToolCall(add(a=2, b=3))"
    results = (await handler).tool_calls
    assert repr(results[0]) == "ToolCallResult(add(a=2, b=3) → '5')"
    assert repr(results[1]).startswith("ToolCallResult(add(a='x') → failed: 'Wrong ")
    assert repr(events[-1]) == "AgentOutput('It is 5.', 2 tool calls)"


async def test_an_answer_is_shown_with_the_tools_and_everything_in_it_escaped():
    bad = "<script>alert(1)</script>"
    llm = FakeLLM([[calls("shout", text=bad), calls(bad)], f"Here: {bad}"])
    shown = (await FunctionAgent([shout], llm).run("go"))._repr_html_()
    assert "<script" not in shown.lower()
    assert shown.lower().count("&lt;script&gt;") >= 4
    assert "2 tool calls" in shown and "failed" in shown


async def test_tokens_are_in_the_record_of_the_run():
    llm = FakeLLM([calls("add", a=2, b=3), "It is 5."])
    handler = FunctionAgent([add], llm).run("two plus three?")
    await handler
    asked = [call for call in handler.record if call.step == "ask_model"]
    assert [call.counts["prompt_tokens"] for call in asked] == [3, 4]
    assert asked[1].counts["completion_tokens"] == 3


# -- a real client and a server ----------------------------------------------------


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_agent_works_with_a_server(server, streaming):
    call = tool_call("1", "add", {"a": 2, "b": 3})
    if streaming:
        server.then(
            stream([{"tool_calls": [{"index": 0, **call}]}]), stream(["It is 5."])
        )
    else:
        server.then(chat(None, calls=[call]), chat("It is 5."))
    llm = OpenAI("m", api_base=server.url, max_retries=0)
    handler = FunctionAgent([add], llm, "Be brief.", streaming=streaming).run("2 + 3?")
    assert str(await handler) == "It is 5."
    assert [m["role"] for m in server.requests[1][1]["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
    ]
    assert handler.record.amounts["prompt_tokens"] == (10 if streaming else 14)


async def test_a_stream_that_breaks_off_is_an_error_that_keeps_what_had_come(server):
    server.then(stream(["It is"], cut=True))
    llm = OpenAI("m", api_base=server.url, max_retries=0)
    with pytest.raises(ModelServerError, match="broke off") as caught:
        await FunctionAgent([add], llm).run("2 + 3?")
    assert caught.value.partial_text == "It is"
