"""Which question an answer closes, who answers it, and until when."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    Question,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    step,
)
from stepwell.testing import VirtualClock


class Ask(InputRequiredEvent):
    pass


class AskColour(InputRequiredEvent):
    pass


class Name(HumanResponseEvent):
    pass


class Colour(HumanResponseEvent):
    pass


class Consent(Event):
    pass


class Tick(Event):
    pass


class Todo(Event):
    does: str


async def asked(handler, times=1):
    """The open questions of a run, once it has asked so often."""
    async for event in handler.stream_events():
        times -= isinstance(event, InputRequiredEvent)
        if not times:
            return handler.questions


def prompts(handler):
    return [question.prompt for question in handler.questions]


class Office(Workflow):
    """Does what it is told by `Todo` events, and ends when it hears `stop`."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Todo | Tick | None:
        for does in ev.get("todo", ()):
            ctx.send_event(Todo(does=does))

    @step(num_workers=50)
    async def work(self, ctx: Context, ev: Todo) -> Ask | AskColour | StopEvent | None:
        who = {"who": ev.does[-1]}
        if ev.does.startswith("wait_name"):
            await ctx.wait_for_event(
                Name, waiter_event=Ask(prompt=ev.does), requirements=who
            )
        elif ev.does == "wait_any":
            await ctx.wait_for_event(Name, waiter_event=Ask(prompt=ev.does))
        elif ev.does == "wait_short":
            try:
                asking = Ask(prompt=ev.does)
                await ctx.wait_for_event(Name, waiter_event=asking, timeout=1)
            except TimeoutError:
                return None
        elif ev.does == "wait_silently":
            await ctx.wait_for_event(Colour)
        elif ev.does == "consent":
            await ctx.wait_for_event(Consent, waiter_event=Ask(prompt=ev.does))
        elif ev.does == "ask":
            return Ask(prompt=ev.does)
        elif ev.does == "colour":
            return AskColour(prompt=ev.does)
        elif ev.does == "publish":
            ctx.write_event_to_stream(Ask(prompt=ev.does))
        elif ev.does == "publish_in_thread":
            asking = Ask(prompt=ev.does)
            await asyncio.to_thread(ctx.write_event_to_stream, asking)
        elif ev.does == "answer":
            ctx.send_event(Name(who="a"))
        elif ev.does == "stop":
            return StopEvent()

    @step
    async def name(self, ev: Name) -> None:
        return None

    @step
    async def colour(self, ev: Colour) -> None:
        return None

    @step
    async def consent(self, ev: Consent) -> None:
        return None

    @step
    async def tick(self, ev: Tick) -> None:
        return None


def office(*todo):
    return Office(disable_validation=True, on_stall="wait").run(todo=todo)


async def quiet():
    for _ in range(20):
        await asyncio.sleep(0)


async def test_an_answer_closes_the_question_of_its_class():
    handler = office("ask", "colour")
    await asked(handler, 2)
    handler.send_event(Colour())
    await quiet()
    assert prompts(handler) == ["ask"]
    handler.send_event(Name())
    await quiet()
    assert prompts(handler) == []
    await handler.cancel_run()


async def test_a_question_that_a_step_waits_for_is_closed_by_what_ends_the_wait():
    handler = office("wait_name_a", "wait_name_b")
    await asked(handler, 2)
    handler.send_event(Name(who="c"))
    await quiet()
    assert prompts(handler) == ["wait_name_a", "wait_name_b"]
    handler.send_event(Name(who="b"))
    await quiet()
    assert prompts(handler) == ["wait_name_a"]
    await handler.cancel_run()


async def test_an_answer_sent_to_one_step_does_not_close_what_another_waits_for():
    handler = office("wait_any")
    await asked(handler)
    handler.send_event(Name(), step="name")
    await quiet()
    assert prompts(handler) == ["wait_any"]
    handler.send_event(Name())
    await quiet()
    assert prompts(handler) == []
    await handler.cancel_run()


@pytest.mark.parametrize("todo", ["ask", "wait_any", "publish", "publish_in_thread"])
async def test_other_events_close_nothing_where_steps_take_answers(todo):
    handler = office(todo)
    await asked(handler)
    handler.send_event(Tick())
    await quiet()
    while handler.status != "waiting":  # a thread may not have ended
        await asyncio.sleep(0)
    assert prompts(handler) == [todo]
    handler.send_event(Todo(does="answer"))  # a step may answer too
    await quiet()
    assert prompts(handler) == []
    await handler.cancel_run()


async def test_any_event_from_outside_may_answer_where_no_step_takes_answers():
    class Plain(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> Ask:
            return Ask(prompt="?")

        @step
        async def take(self, ev: Consent) -> StopEvent:
            return StopEvent(result="consented")

    handler = Plain(disable_validation=True).run()
    await asked(handler)
    handler.send_event(Consent())
    assert await handler == "consented"


todos = st.sampled_from(
    [
        *("wait_name_a", "wait_name_b", "wait_any", "wait_short", "wait_silently"),
        *("consent", "ask", "colour", "publish", "publish_in_thread", "answer"),
    ]
)
answers = st.sampled_from(
    [Name(), Name(who="a"), Name(who="b"), Colour(), Consent(), Tick(), "name", 0.5, 2]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(todos.map(lambda d: Todo(does=d)), answers), max_size=12))
def test_the_questions_listed_are_those_that_are_counted(acts):
    async def main():
        handler = office()
        await quiet()
        waits = handler._run.machine._waits
        for act in acts:
            if isinstance(act, Event):
                handler.send_event(act)
            elif act == "name":
                handler.send_event(Name(), step="name")
            else:
                await asyncio.sleep(act)
            await asyncio.sleep(0.01)
            waits = handler._run.machine._waits
            assert waits.questions == len(handler.questions)
            of_waits = {q.wait_id for q in handler.questions if q.wait_id}
            assert of_waits == {w.wait_id for w in waits.open.values() if w.asks}
            data = handler.ctx.to_dict()["questions"]
            assert data["open"] == len(data["asking"])
            assert data["open"] == waits.questions - len(of_waits)
        await handler.cancel_run()

    VirtualClock().run(main())


# -- who answers -----------------------------------------------------------------------


class Desk(Workflow):
    @step
    async def open(self, ev: StartEvent) -> Ask:
        return Ask(prompt=ev.get("prompt", "?"), answer_within=60)

    @step
    async def close(self, ev: Name) -> StopEvent:
        return StopEvent(result=ev.response)


async def test_answers_may_be_made_by_an_async_function():
    async def model(event):
        await asyncio.sleep(0)
        return event.prompt * 2

    assert await Desk().run(answers=model) == "??"
    assert await Desk().run(answers={Ask: model}) == "??"


async def test_nobody_is_asked_while_an_answer_is_being_made(caplog):
    made = asyncio.Event()

    async def model(event):
        await made.wait()
        return "made"

    handler = Desk().run(answers=model)
    result = asyncio.ensure_future(handler.stop_event_result())
    while handler.status != "waiting":
        await asyncio.sleep(0)
    await quiet()
    assert handler.questions == []
    made.set()
    assert (await result).result == "made"
    assert caplog.text == ""


async def test_a_function_that_fails_ends_the_run_and_is_its_cause():
    def broken(event):
        raise KeyError("which")

    with pytest.raises(WorkflowCancelledByUser, match="KeyError: 'which'") as caught:
        await Desk().run(answers=broken)
    assert isinstance(caught.value.__cause__.__cause__, KeyError)


def test_a_function_that_never_answers_is_not_waited_for_longer_than_allowed():
    ended = []

    async def never(event):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    async def main():
        handler = Desk().run(answers=never)
        with pytest.raises(WorkflowCancelledByUser, match="within 60 seconds"):
            await handler
        await asyncio.sleep(0)
        return handler.elapsed

    assert VirtualClock().run(main()) == 60
    assert ended == [1]


@pytest.mark.parametrize("todo", ["publish", "publish_in_thread"])
async def test_questions_that_are_only_shown_are_answered_too(todo):
    flow = Office(disable_validation=True, on_stall="wait")
    asked, answered = asyncio.Event(), []

    def answer(event):
        answered.append(event.prompt)
        asked.set()
        return "yes"

    handler = flow.run(todo=[todo], answers=answer)
    await asked.wait()
    await quiet()
    assert "name" in [call.step for call in handler.record]
    assert answered == [todo]
    await handler.cancel_run()


class Parent(Workflow):
    @step
    async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
        runs = [ctx.run(Desk(), prompt=prompt) for prompt in ("a", "b")]
        return StopEvent(result=await asyncio.gather(*runs))


class Grandparent(Workflow):
    @step
    async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await ctx.run(Parent()))


@pytest.mark.parametrize("flow", [Parent, Grandparent])
async def test_each_child_gets_the_answer_to_its_own_question(flow):
    assert await flow().run(answers={"a": 1, "b": 2}) == [1, 2]
    assert await flow().run(answers=[1, 2]) == [1, 2]


async def test_a_child_may_have_answers_of_its_own():
    class Own(Workflow):
        @step
        async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=await ctx.run(Desk(), answers=["its own"]))

    assert await Own().run(answers=["the parent's"]) == "its own"


# -- until when ------------------------------------------------------------------------


def test_time_is_up_for_the_question_that_was_not_answered():
    class Many(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> list[Ask]:
            times = {"first": 10, "second": 20, "third": 30}
            return [Ask(prompt=p, answer_within=t) for p, t in times.items()]

        @step
        async def take(self, ev: Name) -> None:
            return None

        @step
        async def never(self, ev: Tick) -> StopEvent:
            return StopEvent()

    async def main():
        handler = Many(disable_validation=True).run()
        await asyncio.sleep(5)
        handler.send_event(Name())
        with pytest.raises(WorkflowCancelledByUser, match="'second' within 20"):
            await handler
        return handler.elapsed

    assert VirtualClock().run(main()) == 20


def test_a_question_that_was_answered_in_time_ends_nothing_later():
    class Slow(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> Ask:
            return Ask(prompt="?", answer_within=10)

        @step
        async def take(self, ev: Name) -> StopEvent:
            await asyncio.sleep(30)
            return StopEvent(result="done")

    async def main():
        handler = Slow().run()
        await asyncio.sleep(9)
        handler.send_event(Name())
        return await handler

    assert VirtualClock().run(main()) == "done"


def test_time_is_up_for_a_childs_question_too_and_begins_anew_when_resumed():
    async def main():
        handler = Parent().run()
        with pytest.raises(WorkflowCancelledByUser, match="'a' within 60 seconds"):
            await handler
        again = handler.resume()
        await asyncio.sleep(50)
        assert prompts(again) == ["a", "b"]
        again.send_event(Name(response=1))
        return handler.elapsed, await again

    assert VirtualClock().run(main()) == (60, [1, 1])


# -- what a question is about ----------------------------------------------------------


def test_only_ids_are_filled_in_by_the_question_itself():
    class Bill(InputRequiredEvent):
        id: int = 1
        order_id: int = 2
        userId: str = "u"
        paid: bool = False
        valid: bool = False

    class Settled(HumanResponseEvent):
        id: int
        order_id: int
        userId: str
        paid: bool
        valid: bool

    question = Question(Bill(), Settled)
    assert question.given == {"id": 1, "order_id": 2, "userId": "u"}
    assert question.offered == {"paid": False, "valid": False}
    assert question.answer({"paid": True}).paid is True


@pytest.mark.parametrize(
    ("names", "asking", "wanted"),
    [
        (["NameResponse", "AgeResponse"], "AgeRequest", "AgeResponse"),
        (["Name", "Age"], "AskAge", "Age"),
        (["NameEvent", "AgeAnswerEvent"], "AskAgeEvent", "AgeAnswerEvent"),
        (["Send", "Other"], "SendIt", "Send"),
        (["First", "Second"], "Unlike", "First"),
    ],
)
async def test_a_question_is_answered_by_the_class_of_the_likest_name(
    names, asking, wanted
):
    kinds = [
        type(HumanResponseEvent)(name, (HumanResponseEvent,), {}) for name in names
    ]
    question = type(InputRequiredEvent)(asking, (InputRequiredEvent,), {})

    async def ask(self, ev: StartEvent):
        return question()

    async def take(self, ev) -> StopEvent:
        return StopEvent()

    ask.__annotations__["return"] = question
    take.__annotations__["ev"] = kinds[0] | kinds[1]
    flow = type(Workflow)("Flow", (Workflow,), {"ask": step(ask), "take": step(take)})
    handler = flow().run()
    (found,) = await asked(handler)
    assert found.answer_class.__name__ == wanted
    await handler.cancel_run()
