"""Contexts that LlamaIndex Workflows 2.26.1 saved, gone on with here.

`llama_index.json` holds what that library gave for workflows which have the same
steps and events as those below; `<module>` stands for the module of the events.
"""

import asyncio
import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from stepwell import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowIdleEvent,
    step,
)
from stepwell.errors import ContextSerdeError, WorkflowTimeoutError
from stepwell.retry import ConstantDelayRetryPolicy
from stepwell.serializers import UnreconstructedException
from stepwell.testing import VirtualClock


class Ask(InputRequiredEvent):
    q: str


class Answer(HumanResponseEvent):
    text: str


class Ping(Event):
    n: int


class Done(Event):
    n: int


class Confirm(Event):
    ok: bool


class S(BaseModel):
    n: int = 0
    tags: list[str] = []


def saved(name: str) -> dict:
    """One of the saved contexts."""
    text = Path(__file__).with_name("llama_index.json").read_text()
    return json.loads(text.replace("<module>", __name__))[name]


def going_on(flow, data):
    return flow.run(ctx=Context.from_dict(flow, data))


async def questions(handler) -> list[str]:
    """What a run asks until it waits."""
    asked = []
    async for event in handler.stream_events(expose_internal=True):
        if isinstance(event, InputRequiredEvent):
            asked.append(event.q)
        if isinstance(event, WorkflowIdleEvent):
            break
    return asked


class Asking(Workflow):
    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> Ask:
        await ctx.store.set("n", await ctx.store.get("n", 0) + 1)
        return Ask(q="who?")

    @step
    async def hear(self, ctx: Context, ev: Answer) -> StopEvent:
        return StopEvent(result=[ev.text, await ctx.store.get("n")])


class Typed(Workflow):
    @step
    async def begin(self, ctx: Context[S], ev: StartEvent) -> StopEvent:
        async with ctx.store.edit_state() as state:
            state.n += 1
        return StopEvent(result=[state.n, state.tags])


async def test_the_free_form_state_of_a_finished_run_is_kept_for_a_fresh_one():
    ctx = Context.from_dict(Asking(), saved("asked"))
    assert not ctx.is_running
    assert await ctx.store.get("user") == {"name": "Ada", "tags": [1, None]}
    handler = Asking().run(ctx=ctx)
    handler.send_event(Answer(text="me"))
    assert await handler == ["me", 2]


async def test_the_typed_state_of_a_finished_run_is_kept_for_a_fresh_one():
    assert await going_on(Typed(), saved("typed")) == [2, ["a"]]


async def test_a_context_that_was_never_run_is_fresh():
    ctx = Context.from_dict(Asking(), saved("before"))
    assert not ctx.is_running
    assert await ctx.store.get("n", None) is None


async def test_a_run_that_waits_between_two_steps_goes_on():
    handler = going_on(Asking(), saved("asking"))
    handler.send_event(Answer(text="me"))
    assert await handler == ["me", 1]


class Waiting(Workflow):
    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        answer = await ctx.wait_for_event(
            Confirm, waiter_event=Ask(q="sure?"), requirements={"ok": True}
        )
        return StopEvent(result=answer.ok)


async def test_a_step_that_waits_begins_again_and_asks():
    handler = going_on(Waiting(), saved("waiting"))
    assert await questions(handler) == ["sure?"]
    handler.send_event(Confirm(ok=True))
    assert await handler is True


async def test_an_answer_may_be_sent_as_soon_as_the_run_goes_on():
    handler = going_on(Waiting(), saved("waiting"))
    handler.send_event(Confirm(ok=True))
    assert await handler is True


class Twice(Workflow):
    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        first = await ctx.wait_for_event(Confirm, waiter_event=Ask(q="1"))
        second = await ctx.wait_for_event(Answer, waiter_event=Ask(q="2"))
        return StopEvent(result=[first.ok, second.text])


async def test_what_was_answered_before_is_not_asked_again():
    handler = going_on(Twice(), saved("twice"))
    assert await questions(handler) == ["2"]
    handler.send_event(Answer(text="me"))
    assert await handler == [True, "me"]


class Working(Workflow):
    def __init__(self, **options):
        super().__init__(**options)
        self.seen = []

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Ping | None: ...

    @step(num_workers=1)
    async def work(self, ctx: Context[S], ev: Ping) -> Done:
        self.seen.append((ev.n, ev.topic))
        return Done(n=ev.n)

    @step
    async def end(self, ctx: Context[S], ev: Done) -> StopEvent | None:
        if ctx.collect_events(ev, [Done] * 3):
            return StopEvent(result=await ctx.store.get("n"))
        return None


async def test_steps_at_work_begin_again_and_queued_ones_run_once():
    flow = Working()
    assert await going_on(flow, saved("working")) == 1
    assert flow.seen == [(0, "cats"), (1, "cats"), (2, "cats")]


async def test_an_event_on_its_way_reaches_its_steps():
    data, flow = saved("working"), Working()
    ping = data["workers"]["work"]["queue"].pop()
    data["deliveries"] = [{"invocation_id": "i", "index": 0, "event": ping["event"]}]
    assert await going_on(flow, data) == 1
    assert sorted(flow.seen) == [(0, "cats"), (1, "cats"), (2, "cats")]


async def test_what_the_older_version_saved_goes_on_too():
    data, flow = saved("working"), Working()
    data["version"] = 1
    work = data["workers"]["work"]
    work["in_progress"] = [each["event"] for each in work["in_progress"]]
    for name in ("deliveries", "streams", "elapsed_alive"):
        del data[name]
    assert await going_on(flow, data) == 1
    assert flow.seen == [(0, "cats"), (1, "cats"), (2, "cats")]


class Retrying(Workflow):
    @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=5, delay=0.3))
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=ctx.retry_info())


def test_a_retry_waits_for_its_delay_and_knows_the_attempts_before():
    clock = VirtualClock()

    async def main():
        return await going_on(Retrying(timeout=None), saved("delayed"))

    info = clock.run(main())
    assert clock.now == pytest.approx(0.3)
    assert info.retry_number == 1
    assert repr(info.last_exception) == "ValueError('no')"
    failed = saved("delayed")["workers"]["work"]["queue"][0]["last_failed_at"]
    assert info.last_failed_at.timestamp() == pytest.approx(failed)


async def test_an_attempt_at_work_is_the_same_attempt_again():
    info = await going_on(Retrying(), saved("retrying"))
    assert info.retry_number == 2
    assert info.elapsed_seconds > 0


async def test_an_exception_that_cannot_be_built_has_its_message():
    data = saved("retrying")
    attempt = data["workers"]["work"]["in_progress"][0]
    attempt["last_exception"]["exception_type"] = "gone.Error"
    info = await going_on(Retrying(), data)
    assert isinstance(info.last_exception, UnreconstructedException)
    assert str(info.last_exception) == "no"


class Met(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Ping | Done: ...

    @step
    async def both(self, one: Ping, two: Done) -> StopEvent:
        return StopEvent(result=[one.n, two.n])


async def test_a_step_that_got_all_its_events_begins_again_with_them():
    assert await going_on(Met(), saved("met")) == [1, 2]


class Half(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Ping | None: ...

    @step
    async def work(self, ev: Ping) -> Done: ...

    @step
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None: ...


class Listing(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> list[Ping]: ...

    @step
    async def work(self, ev: Ping) -> Done: ...

    @step
    async def end(self, done: list[Done]) -> StopEvent: ...


@pytest.mark.parametrize(
    "flow, name, told",
    [
        (Half, "half", "step `end` waited for the rest of its events"),
        (Met, "meeting", "step `both` waited for the rest of its events"),
        (Listing, "listing", "a list of events was worked on"),
    ],
)
def test_a_run_in_the_middle_of_a_join_or_a_list_is_refused(flow, name, told):
    with pytest.raises(ContextSerdeError, match=f"another engine.*{told}.*cannot be"):
        Context.from_dict(flow(), saved(name))


def test_steps_that_are_not_there_are_refused():
    with pytest.raises(ContextSerdeError, match="names step 'work'; there is: ask, he"):
        Context.from_dict(Asking(), saved("working"))


def test_events_that_are_not_there_are_refused():
    text = json.dumps(saved("working")).replace(f"{__name__}.Ping", "gone.Ping")
    with pytest.raises(ContextSerdeError, match=r"gone\.Ping is in no module"):
        Context.from_dict(Working(), json.loads(text))


def test_a_state_that_lies_in_a_store_elsewhere_is_refused():
    data = saved("asking")
    data["state"] = {"store_type": "sqlite", "run_id": "1"}
    with pytest.raises(ContextSerdeError, match="in a store of type 'sqlite'"):
        Context.from_dict(Asking(), data)


def test_the_clock_starts_anew():
    async def main():
        data = saved("asking")
        data["elapsed_alive"] = 1000.0
        handler = going_on(Asking(timeout=10), data)
        handler.send_event(Answer(text="me"))
        return await handler

    try:
        assert asyncio.run(main()) == ["me", 1]
    except WorkflowTimeoutError:
        pytest.fail("the time that people took there was counted")


@pytest.mark.parametrize("name", ["asking", "working", "twice", "delayed", "typed"])
@pytest.mark.parametrize("value", [None, "x", -1, [], {}, True])
def test_any_damage_is_refused_or_read(name, value):
    flows = {"asking": Asking, "twice": Twice, "delayed": Retrying, "typed": Typed}
    flow = flows.get(name, Working)()

    def damage(holder):
        items = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, kept in list(items):
            holder[key] = value
            try:
                Context.from_dict(flow, data)
            except ContextSerdeError as error:
                assert type(flow).__name__ in str(error)
            holder[key] = kept
            if isinstance(kept, dict | list):
                damage(kept)

    data = saved(name)
    damage(data)
