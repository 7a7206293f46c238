"""`FunctionAgent`: a language model and its tools, as a workflow of three steps.

The model is asked; the tools it calls run side by side; what they gave is told, and
the model is asked again, until it answers. What tools and models are is in
`stepwell.rag`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, get_origin, get_type_hints

from stepwell import Context, StartEvent, Workflow, WorkflowHandler, step
from stepwell.agents.events import (
    AgentInput,
    AgentOutput,
    AgentStream,
    AgentWorkflowStartEvent,
    ToolCall,
    ToolCallResult,
)
from stepwell.rag import (
    ChatMessage,
    FunctionTool,
    InvalidOptionError,
    MaxIterationsError,
    Settings,
    ToolSelection,
    acall_tool,
    as_tools,
)

__all__ = ["FunctionAgent"]

_NAME = "Agent"
_AT_ONCE = 8
# Keys of the run's state.
_MEMORY = "chat_history"
_SAID = "conversation"
_ROUNDS = "rounds"
_MOST = "max_iterations"
_CALLED = "tool_calls"


class FunctionAgent(Workflow):
    """A language model that answers with the help of tools.

    What a tool raises goes back to the model, and so do arguments that do not fit.
    The stream shows `AgentInput`, the model's words as `AgentStream`, `ToolCall` and
    `ToolCallResult`; the result is an `AgentOutput`. With the same ``ctx`` the next
    run remembers the conversation.

    A function with a parameter annotated `Context` is given that of the step which
    calls it; models are not told of it. An asynchronous one may so ask a person:
    ``await ctx.wait_for_event(HumanResponseEvent, InputRequiredEvent(prefix="…"))``.

    Args:
        tools: `FunctionTool`, or functions, of which they are made.
        llm: The model; `Settings.llm` at the time of the run if not given. It needs
            ``achat``, and ``astream_chat`` to be seen writing.
        system_prompt: Put before every conversation.
        name: What the agent is called, in events and pictures.
        description: What it is for.
        max_iterations: How often the model is asked in one run.
        streaming: Whether the model's words are shown as they come.
        timeout: Seconds a run may take; None for no limit.
        **options: As for `Workflow`.

    Example:
        >>> import asyncio
        >>> from stepwell.testing import FakeLLM
        >>> def add(a: int, b: int) -> int:
        ...     return a + b
        >>> llm = FakeLLM([FakeLLM.calls("add", a=2, b=3), "The sum is 5."])
        >>> async def main():
        ...     return await FunctionAgent([add], llm).run("What is 2 + 3?")
        >>> print(asyncio.run(main()))
        The sum is 5.
    """

    def __init__(
        self,
        tools: Iterable[FunctionTool | Callable[..., Any]] = (),
        llm: Any = None,
        system_prompt: str | None = None,
        *,
        name: str = _NAME,
        description: str = "",
        max_iterations: int = 8,
        streaming: bool = True,
        timeout: float | None = None,
        **options: Any,
    ) -> None:
        if name != _NAME:
            options.setdefault("workflow_name", name)
        super().__init__(timeout=timeout, **options)
        self.tools = as_tools(
            each if isinstance(each, FunctionTool) else _given_context(each)
            for each in tools
        )
        self.name = name
        self.description = description
        self.system_prompt = system_prompt
        self.max_iterations = _checked(max_iterations)
        self.streaming = streaming
        self._llm = llm

    @property
    def llm(self) -> Any:
        """The language model that will be asked."""
        return Settings.llm if self._llm is None else self._llm

    def run(
        self,
        user_msg: str | ChatMessage | Context[Any] | None = None,
        *args: Any,
        ctx: Context[Any] | None = None,
        start_event: StartEvent | None = None,
        **kwargs: Any,
    ) -> WorkflowHandler:
        """Ask the agent; `await` what comes back for the `AgentOutput`.

        Args:
            user_msg: The question, or the task.
            *args: As for `Workflow.run`.
            ctx: A context to keep using: the agent remembers what was said in it.
            start_event: The start event, instead of all of this.
            **kwargs: ``chat_history`` and ``max_iterations``, see
                `AgentWorkflowStartEvent`; and what `Workflow.run` takes.
        """
        if isinstance(user_msg, str | ChatMessage):
            kwargs["user_msg"] = user_msg
        elif user_msg is not None:
            args = (user_msg, *args)
        return super().run(*args, ctx=ctx, start_event=start_event, **kwargs)

    @step
    async def ask_model(
        self, ctx: Context, ev: AgentWorkflowStartEvent | AgentInput
    ) -> list[ToolCall] | AgentOutput:
        """Ask the model for an answer, or for tools to call."""
        if isinstance(ev, AgentWorkflowStartEvent):
            ev = await self._begin(ctx, ev)
        answer = await self._answer(ctx, ev.input)
        message = ChatMessage(
            role="assistant",
            content=answer.content,
            tool_calls=[
                ToolSelection.model_validate(each, from_attributes=True)
                for each in answer.tool_calls
            ],
        )
        await ctx.store.set(_SAID, [*ev.input, message])
        if not message.tool_calls:
            return await self._output(ctx, message)
        rounds, most = await ctx.store.get(_ROUNDS) + 1, await ctx.store.get(_MOST)
        if rounds >= most:
            names = tuple(each.tool_name for each in message.tool_calls)
            raise MaxIterationsError.after(rounds, self.name, names)
        await ctx.store.set(_ROUNDS, rounds)
        calls = [
            ToolCall(
                tool_name=each.tool_name,
                tool_kwargs=each.tool_kwargs,
                tool_id=each.tool_id,
                arguments=each.arguments,
            )
            for each in message.tool_calls
        ]
        for call in calls:
            ctx.write_event_to_stream(call)
        return calls

    @step(num_workers=_AT_ONCE)
    async def call_tool(self, ctx: Context, ev: ToolCall) -> ToolCallResult:
        """Call one tool; how it fails is told to the model too."""
        wanted = ToolSelection.model_validate(ev, from_attributes=True)
        output = await acall_tool(self.tools, wanted)
        direct = any(t.return_direct for t in self.tools if t.name == ev.tool_name)
        result = ToolCallResult(
            tool_name=ev.tool_name,
            tool_kwargs=ev.tool_kwargs,
            tool_id=ev.tool_id,
            tool_output=output,
            return_direct=direct and not output.is_error,
        )
        ctx.write_event_to_stream(result)
        return result

    @step
    async def tell_results(
        self, ctx: Context, results: list[ToolCallResult]
    ) -> AgentInput | AgentOutput:
        """Tell the model what the tools gave."""
        said = await ctx.store.get(_SAID)
        said = [*said, *[each.tool_output.as_message() for each in results]]
        await ctx.store.set(_SAID, said)
        await ctx.store.set(_CALLED, [*await ctx.store.get(_CALLED), *results])
        for each in results:
            if each.return_direct:
                message = ChatMessage(
                    role="assistant", content=each.tool_output.content
                )
                await ctx.store.set(_SAID, [*said, message])
                return await self._output(ctx, message)
        return self._input(ctx, said)

    async def _begin(
        self, ctx: Context[Any], ev: AgentWorkflowStartEvent
    ) -> AgentInput:
        """Take up the conversation, and add what is asked."""
        said = ev.chat_history
        if said is None:
            said = await ctx.store.get(_MEMORY, [])
        said = list(said)
        if (asked := ev.user_msg) is not None:
            said.append(ChatMessage(content=asked) if isinstance(asked, str) else asked)
        if not said:
            raise InvalidOptionError(
                f"{self.name} was asked nothing: write agent.run('…')."
            )
        most = ev.max_iterations
        most = self.max_iterations if most is None else _checked(most)
        await ctx.store.set(_MOST, most)
        await ctx.store.set(_ROUNDS, 0)
        await ctx.store.set(_CALLED, [])
        await ctx.store.set(_SAID, said)
        return self._input(ctx, said)

    def _input(self, ctx: Context[Any], said: list[ChatMessage]) -> AgentInput:
        event = AgentInput(input=said, current_agent_name=self.name)
        ctx.write_event_to_stream(event)
        return event

    async def _output(self, ctx: Context[Any], message: ChatMessage) -> AgentOutput:
        # Remembered when it is whole: a call without its result would make the
        # next request a wrong one.
        await ctx.store.set(_MEMORY, await ctx.store.get(_SAID))
        return AgentOutput(
            response=message,
            current_agent_name=self.name,
            tool_calls=await ctx.store.get(_CALLED),
        )

    async def _answer(self, ctx: Context[Any], said: Sequence[ChatMessage]) -> Any:
        """Return the model's message; what it says is shown as it comes."""
        llm = self.llm
        if self.system_prompt:
            said = [ChatMessage(role="system", content=self.system_prompt), *said]
        # A server may refuse an empty list.
        options = {"tools": self.tools} if self.tools else {}
        if not self.streaming or not hasattr(llm, "astream_chat"):
            if hasattr(llm, "achat"):
                return (await llm.achat(said, **options)).message
            if not hasattr(llm, "chat"):
                raise InvalidOptionError(
                    f"{self.name} needs a model with achat() or chat(); "
                    f"{type(llm).__name__} has neither."
                )
            return (await asyncio.to_thread(llm.chat, said, **options)).message
        message = ChatMessage(role="assistant")
        stream = await llm.astream_chat(said, **options)
        try:
            async for piece in stream:
                message = piece.message
                if piece.delta:
                    shown = AgentStream(delta=piece.delta, current_agent_name=self.name)
                    ctx.write_event_to_stream(shown)
        finally:
            if (close := getattr(stream, "aclose", None)) is not None:
                await close()
        return message


def _given_context(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function without its parameter for a context, which it is given."""
    try:
        hints = get_type_hints(fn) if inspect.isroutine(fn) else {}
    except NameError:
        return fn  # making a tool of it says what is wrong
    wanted = [n for n, kind in hints.items() if Context in (kind, get_origin(kind))]
    if not wanted:
        return fn
    given = wanted[0]

    def call(**kwargs: Any) -> Any:
        return fn(**{given: Context.get_step_context()}, **kwargs)

    async def acall(**kwargs: Any) -> Any:
        return await call(**kwargs)

    made = wraps(fn)(acall if inspect.iscoroutinefunction(fn) else call)
    signature = inspect.signature(fn)
    left = [each for name, each in signature.parameters.items() if name != given]
    made.__dict__["__signature__"] = signature.replace(parameters=left)
    return made


def _checked(most: int) -> int:
    if most < 1:
        raise InvalidOptionError(f"max_iterations={most} must be 1 or more.")
    return most
