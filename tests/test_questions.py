"""Questions to people: `handler.questions`, and answers prepared with `answers=`."""

from typing import Literal

import pytest
from pydantic import BaseModel, ValidationError

from stepwell import (
    Context,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    step,
)
from stepwell.errors import WorkflowArgumentError
from stepwell.testing import VirtualClock


class Approve(InputRequiredEvent):
    order_id: int
    draft: str


class Approval(HumanResponseEvent):
    order_id: int
    draft: str
    ok: bool


class Rate(InputRequiredEvent):
    pass


class Rating(HumanResponseEvent):
    stars: Literal[1, 2, 3]


class Desk(Workflow):
    @step
    async def open(self, ev: StartEvent) -> Approve:
        return Approve(prompt="Send it?", order_id=7, draft="Dear A")

    @step
    async def close(self, ev: Approval) -> Rate:
        self.approved = ev
        return Rate(question="How was it?")

    @step
    async def rate(self, ev: Rating) -> StopEvent:
        return StopEvent(result=(self.approved.to_dict(), ev.stars))


class Waiter(Workflow):
    @step
    async def serve(self, ctx: Context, ev: StartEvent) -> StopEvent:
        got = await ctx.wait_for_event(
            Rating,
            waiter_event=InputRequiredEvent(prompt="Stars?"),
            requirements={"who": "Ada"},
            timeout=30,
        )
        return StopEvent(result=(got.stars, got.who))


async def asked(handler, kind=InputRequiredEvent):
    """The question of a run, once it has asked."""
    async for event in handler.stream_events():
        if isinstance(event, kind):
            return handler.questions[0]


async def test_a_question_knows_its_answer_and_leaves_when_it_is_answered():
    handler = Desk().run()
    question = await asked(handler)
    assert (question.prompt, question.step) == ("Send it?", "open")
    assert question.answer_class is Approval
    assert question.given == {"order_id": 7}
    assert question.offered == {"draft": "Dear A"}
    handler.send_event(question.answer({"draft": "Dear Ada", "ok": True}))
    second = await asked(handler, Rate)
    assert second.answer_class is Rating
    handler.send_event(second.answer(3))
    approved, stars = await handler
    assert approved == {"order_id": 7, "draft": "Dear Ada", "ok": True}
    assert stars == 3
    assert handler.questions == []


async def test_a_wait_says_what_the_answer_must_have_and_until_when():
    handler = Waiter().run()
    question = await asked(handler)
    assert question.answer_class is Rating
    assert question.requirements == {"who": "Ada"}
    assert question.due - question.asked_at == 30
    handler.send_event(question.answer(2))
    assert await handler == (2, "Ada")


async def test_answers_that_do_not_fit_are_refused_with_the_field():
    handler = Desk().run()
    question = await asked(handler)
    with pytest.raises(ValidationError, match="ok"):
        question.answer({"ok": "perhaps"})
    with pytest.raises(WorkflowArgumentError, match="is answered by Approval"):
        question.answer(Rating(stars=1))
    assert question.answer(True).ok is True  # the draft it was asked about is kept
    await handler.cancel_run()


@pytest.mark.parametrize(
    "answers",
    [
        [True, 2],
        {Approve: True, Rate: 2},
        {"Approve": {"ok": True}, "How was it?": lambda ev: 2},
        lambda ev: True if isinstance(ev, Approve) else 2,
        [Approval(order_id=7, draft="Dear A", ok=True), {"stars": 2}],
    ],
)
async def test_prepared_answers_are_given_without_anybody(answers):
    approved, stars = await Desk().run(answers=answers)
    assert (approved["ok"], approved["draft"], stars) == (True, "Dear A", 2)


async def test_a_question_without_a_prepared_answer_ends_the_run_and_is_named():
    handler = Desk().run(answers=[True])
    with pytest.raises(WorkflowCancelledByUser, match=r"Rate asks 'How was it\?'"):
        await handler
    assert (await handler.resume(answers=[1]))[1] == 1


async def test_a_prepared_answer_that_does_not_fit_is_named():
    with pytest.raises(WorkflowCancelledByUser, match="does not fit Rating: stars"):
        await Desk().run(answers=[True, 9])


def test_answers_are_a_list_a_mapping_or_a_function():
    with pytest.raises(WorkflowArgumentError, match="answers= takes a list"):
        Desk().run(answers="yes")


async def test_a_start_event_may_have_a_field_of_that_name():
    class Given(StartEvent):
        answers: list[str]

    class Flow(Workflow):
        @step
        async def only(self, ev: Given) -> StopEvent:
            return StopEvent(result=ev.answers)

    assert await Flow().run(answers=["a"]) == ["a"]


async def test_children_are_answered_too():
    class Parent(Workflow):
        @step
        async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=(await ctx.run(Desk()))[1])

    assert await Parent().run(answers=[True, 3]) == 3
    handler = Parent().run()
    assert (await asked(handler)).prompt == "Send it?"
    await handler.cancel_run()


async def test_a_model_may_say_what_is_to_be_filled_in():
    class Address(BaseModel):
        street: str
        number: int

    class Where(InputRequiredEvent):
        answered_by = Address

    class Flow(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> Where:
            return Where(prompt="Where to?")

        @step
        async def take(self, ev: HumanResponseEvent) -> StopEvent:
            return StopEvent(result=ev.response)

    answers = [{"street": "Oak", "number": "4"}]
    assert await Flow().run(answers=answers) == Address(street="Oak", number=4)


def test_nobody_answers_in_time():
    class Flow(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> InputRequiredEvent:
            return InputRequiredEvent(prompt="Now?", answer_within=60)

        @step
        async def take(self, ev: HumanResponseEvent) -> StopEvent:
            return StopEvent()

    async def main():
        handler = Flow().run()
        with pytest.raises(WorkflowCancelledByUser, match=r"'Now\?' within 60 sec"):
            await handler
        return handler.elapsed

    assert VirtualClock().run(main()) == 60
