"""Hard cases: whatever breaks, a run ends, and says what broke."""

import asyncio
import dataclasses
import functools
import sys
import threading

import pytest
from pydantic import BaseModel, create_model

from stepwell import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    MemoryJournal,
    StartEvent,
    StopEvent,
    Workflow,
    retry_policy,
    step,
    wait_none,
)
from stepwell.errors import (
    JournalUnavailable,
    WorkflowCancelledByUser,
    WorkflowConfigurationError,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowTimeoutError,
    WorkflowValidationError,
)
from stepwell.journals.base import CallReturned
from stepwell.testing import VirtualClock


class Item(Event):
    n: int


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int


def raising(error):
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            raise error

    return Flow(timeout=5).run()


@pytest.mark.parametrize("error", [Unprintable(), Frozen(3)])
async def test_exceptions_of_every_make_come_out_as_themselves(error):
    with pytest.raises(type(error)) as caught:
        await raising(error)
    assert caught.value is error


async def test_stop_iteration_becomes_what_python_makes_of_it():
    class Flow(Workflow):
        @step
        def begin(self, ev: StartEvent) -> StopEvent:
            return next(iter([]))

    for handler in (Flow(timeout=5).run(), raising(StopIteration())):
        with pytest.raises(RuntimeError, match="raised StopIteration"):
            await handler


async def test_a_policy_whose_delays_run_out_ends_the_run():
    class Policy:
        delays = iter([0.0])

        def next(self, elapsed_time, attempts, error):
            return next(self.delays)

    class Flow(Workflow):
        @step(retry_policy=Policy())
        async def begin(self, ev: StartEvent) -> StopEvent:
            raise OSError

    with pytest.raises(RuntimeError, match="policy raised StopIteration"):
        await Flow(timeout=5).run()


async def test_a_policy_that_gives_no_number_is_named():
    class Policy:
        def next(self, elapsed_time, attempts, error):
            return "soon"

    class Flow(Workflow):
        @step(retry_policy=Policy())
        async def begin(self, ev: StartEvent) -> StopEvent:
            raise OSError

    with pytest.raises(TypeError, match="seconds or None, not 'soon'") as caught:
        await Flow(timeout=5).run()
    assert "retry policy of step `begin`" in caught.value.__notes__[-1]


async def test_verbose_with_a_closed_output_goes_on(monkeypatch):
    class Closed:
        def write(self, text):
            raise ValueError("I/O operation on closed file")

        def flush(self):
            pass

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=1)

    monkeypatch.setattr(sys, "stdout", Closed())
    assert await Flow(verbose=True).run() == 1


# -- joins -------------------------------------------------------------------------


async def test_a_retry_after_a_complete_join_gets_the_same_set_again():
    tries = []

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(3)]

        @step(retry_policy=retry_policy(wait=wait_none()))
        async def join(self, ctx: Context, ev: Item) -> StopEvent | None:
            items = ctx.collect_events(ev, [Item] * 3)
            if items is None:
                return None
            tries.append([item.n for item in items])
            if len(tries) < 3:
                raise OSError("429")
            return StopEvent(result=tries)

    assert await Flow().run() == [[0, 1, 2]] * 3


def joining(expected):
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(2)]

        @step
        async def join(self, ctx: Context, ev: Item) -> StopEvent | None:
            items = ctx.collect_events(ev, expected)
            return StopEvent(result=[i.n for i in items]) if items else None

        @step
        def thread(self, ctx: Context, ev: Item) -> None:
            ctx.collect_events(ev, expected)

    return Flow(timeout=5).run()


async def test_expected_may_be_any_sequence():
    assert await joining((Item, Item)) == [0, 1]
    assert await joining(Item) == [0]


async def test_expected_that_holds_no_classes_is_refused():
    with pytest.raises(WorkflowRuntimeError, match=r"\[A, B\], or \[A\] \* 3"):
        await joining([Item(n=1)])


# -- people ------------------------------------------------------------------------


async def questions(handler):
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            yield event


class Twice(Workflow):
    @step
    async def ask(self, ev: StartEvent) -> InputRequiredEvent:
        return InputRequiredEvent(n=1)

    @step(num_workers=1)
    async def answer(
        self, ctx: Context, ev: HumanResponseEvent
    ) -> InputRequiredEvent | StopEvent:
        count = await ctx.get("count", 0) + 1
        await ctx.set("count", count)
        return StopEvent(result=count) if count == 3 else InputRequiredEvent(n=count)


async def test_an_answer_given_twice_is_no_credit_for_the_next_question():
    handler = Twice().run()
    answered = 0
    async for _ in questions(handler):
        answered += 1
        if answered == 1:
            handler.send_event(HumanResponseEvent())
            handler.send_event(HumanResponseEvent())
        elif answered == 3:
            # Both answers were taken, and this question is still open.
            assert handler.status in {"running", "waiting"}
            handler.send_event(HumanResponseEvent())
    assert await handler == 3


async def test_one_question_may_need_several_answers():
    class Vote(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> InputRequiredEvent:
            return InputRequiredEvent()

        @step
        async def count(self, ctx: Context, ev: HumanResponseEvent) -> StopEvent | None:
            votes = ctx.collect_events(ev, [HumanResponseEvent] * 3)
            return StopEvent(result=sum(v.yes for v in votes)) if votes else None

    handler = Vote(timeout=5).run()
    async for _ in questions(handler):
        for yes in (True, False, True):
            handler.send_event(HumanResponseEvent(yes=yes))
            for _ in range(5):
                await asyncio.sleep(0)
    assert await handler == 2


async def test_a_plain_event_may_answer_a_question_and_a_stall_is_found_after_it():
    class Flow(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> InputRequiredEvent:
            return InputRequiredEvent()

        @step
        async def answer(self, ev: Item) -> StopEvent | None: ...

    handler = Flow(timeout=60, disable_validation=True).run()
    async for _ in questions(handler):
        handler.send_event(Item(n=1))
    with pytest.raises(WorkflowStalledError):
        await handler


def test_who_was_never_asked_is_not_waited_for_beyond_the_timeout():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> InputRequiredEvent | None: ...

        @step
        async def answer(self, ev: HumanResponseEvent) -> StopEvent: ...

    async def main():
        with pytest.raises(WorkflowTimeoutError):
            await Flow(timeout=3).run()

    clock = VirtualClock()
    clock.run(main())
    assert clock.now == pytest.approx(3)


# -- journals and threads ----------------------------------------------------------


def test_a_journal_that_hangs_cannot_keep_a_run_from_being_stopped():
    class Hanging(MemoryJournal):
        async def append(self, run_id, facts):
            await asyncio.Event().wait()

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent: ...

    async def main():
        with pytest.raises(WorkflowTimeoutError):
            await Flow(timeout=1, journal=Hanging()).run()
        handler = Flow(timeout=None, journal=Hanging()).run()
        await handler.cancel_run(timeout=60)
        with pytest.raises(WorkflowCancelledByUser):
            await handler

    VirtualClock().run(main())


async def test_a_journal_that_is_cancelled_ends_the_run():
    class Cancelled(MemoryJournal):
        async def append(self, run_id, facts):
            raise asyncio.CancelledError

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent: ...

    with pytest.raises(JournalUnavailable):
        await Flow(timeout=5, journal=Cancelled()).run()


async def test_a_reader_in_another_thread_wakes_and_may_cancel():
    started = asyncio.Event()

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            started.set()
            ctx.write_event_to_stream(Item(n=1))
            await asyncio.Event().wait()

    handler = Flow(timeout=None).run()
    await started.wait()
    seen = []

    async def read():
        async for event in handler.stream_events():
            seen.append(type(event).__name__)
            if isinstance(event, Item):
                handler._run.cancel("a reader had enough")

    thread = threading.Thread(target=lambda: asyncio.run(read()))
    thread.start()
    with pytest.raises(WorkflowCancelledByUser, match="had enough"):
        await handler
    await asyncio.to_thread(thread.join)
    assert seen == ["Item", "WorkflowCancelledEvent"]


# -- how steps are written ---------------------------------------------------------


def counted(function):
    @functools.wraps(function)
    async def around(*args, **kwargs):
        around.calls += 1
        return await function(*args, **kwargs)

    around.calls = 0
    return around


async def test_a_decorator_above_step_is_not_bypassed():
    class Flow(Workflow):
        @counted
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=1)

    assert await Flow().run() == 1
    assert Flow.begin.calls == 1


async def test_a_plain_wrapper_around_an_async_step_is_awaited():
    def traced(function):
        @functools.wraps(function)
        def around(*args, **kwargs):
            return function(*args, **kwargs)

        return around

    class Flow(Workflow):
        @step
        @traced
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=1)

    assert await Flow().run() == 1


@pytest.mark.parametrize("kinds", [Event, list, list[Event]])
async def test_a_step_may_leave_open_which_events_it_returns(kinds):
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> kinds:
            return Item(n=1)

        @step
        async def end(self, ev: Item) -> StopEvent:
            return StopEvent(result=ev.n)

    assert await Flow().run() == 1


async def test_optional_parameters_and_none_in_lists():
    class Flow(Workflow):
        @step
        async def begin(
            self, ev: StartEvent | None, ctx: Context | None = None
        ) -> list[Item | None]:
            await ctx.set("x", 1)
            return [None, Item(n=1), None]

        @step
        async def end(self, ev: Item) -> StopEvent:
            return StopEvent(result=ev.n)

    assert await Flow().run() == 1


def test_a_step_may_not_hide_the_method_that_starts_runs():
    with pytest.raises(WorkflowValidationError, match="named `run`"):

        class Flow(Workflow):
            @step
            async def run(self, ev: StartEvent) -> StopEvent: ...


async def test_a_step_named_like_another_method_of_every_workflow_hides_nothing():
    class Flow(Workflow):
        @step
        async def validate(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=ev.n)

    assert Flow().validate() is False
    assert await Flow().run(n=1) == 1


async def test_attributes_of_the_author_do_not_meet_those_of_the_engine():
    class Flow(Workflow):
        def __init__(self):
            super().__init__()
            self._executor = self._journal = self._timeout = "mine"

        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=self._executor)

    assert await Flow().run() == "mine"


def test_methods_without_step_are_named():
    class Flow(Workflow):
        async def begin(self, ev: StartEvent) -> StopEvent: ...

    with pytest.raises(WorkflowConfigurationError, match="with @step: `begin`"):
        Flow()


def test_a_missing_self_is_named():
    with pytest.raises(WorkflowValidationError, match="Write `self` first"):

        class Flow(Workflow):
            @step
            async def begin(ev: StartEvent) -> StopEvent: ...


async def test_what_was_returned_instead_is_recognised():
    def returning(make):
        class Flow(Workflow):
            @step
            async def begin(self, ev: StartEvent) -> StopEvent | Item:
                return make()

            @step
            async def end(self, ev: Item) -> None: ...

        return Flow().run()

    async def forgotten(): ...

    for make, hint in [
        (forgotten, "return await"),
        (lambda: (Item(n=1), Item(n=2)), "go into a list"),
        (lambda: [[Item(n=1)]], "flatten"),
    ]:
        with pytest.raises(WorkflowRuntimeError, match=hint):
            await returning(make)


def test_a_method_of_another_workflow_is_not_added():
    class One(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent: ...

    class Two(Workflow):
        pass

    with pytest.raises(WorkflowValidationError, match="method of another class"):
        Two.add_step(One.begin)
    assert One().validate() is False


# -- cells run again ---------------------------------------------------------------


async def test_a_start_class_run_again_is_built_as_it_is_now():
    space = {"StartEvent": StartEvent, "__name__": "notebook_of_starts"}
    exec("class Ask(StartEvent):\n    q: str\n", space)
    old = space["Ask"]

    class Flow(Workflow):
        @step
        async def begin(self, ev: old) -> StopEvent:
            return StopEvent(result=ev.k)

    exec("class Ask(StartEvent):\n    q: str\n    k: int = 7\n", space)
    assert await Flow().run(q="q") == 7

    new = space["Ask"]

    @step(workflow=Flow)
    async def beside(ev: new) -> None: ...

    assert await Flow().run(q="q") == 7


def test_classes_made_by_a_factory_are_no_redefinitions():
    first = create_model("Row", __base__=Event, a=(int, ...))
    second = create_model("Row", __base__=Event, b=(int, ...))
    assert not isinstance(first(a=1), second)


def test_issubclass_of_no_class_is_a_type_error():
    with pytest.raises(TypeError):
        issubclass(int | str, Event)


# -- contexts and state ------------------------------------------------------------


class State(BaseModel):
    n: int = 0


async def test_a_context_that_does_not_fit_is_refused_at_the_start():
    class Plain(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent: ...

    class Typed(Workflow):
        @step
        async def begin(self, ctx: Context[State], ev: StartEvent) -> StopEvent: ...

    with pytest.raises(WorkflowRuntimeError, match=r"holds DictState.*expect State"):
        Typed().run(ctx=Context(Plain()))
    with pytest.raises(WorkflowRuntimeError, match="takes a Context, not str"):
        Typed().run(ctx="hello")
    with pytest.raises(WorkflowRuntimeError, match="which would be lost"):
        Plain().run(start_event=StartEvent(), extra=1)


@pytest.mark.parametrize("key", ["model_config", "model_extra", "copy", "__dict__"])
async def test_any_text_may_be_a_key(key):
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.set(key, {"a": 1})
            await ctx.set("other", 2)
            return StopEvent(result=(await ctx.get(key), await ctx.get("other")))

    assert await Flow().run() == ({"a": 1}, 2)


async def test_a_key_that_is_no_text_is_refused():
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.set(3, 1)

    with pytest.raises(ValueError, match="a path in the state is text"):
        await Flow().run()


def test_questions_leave_no_timers_behind():
    async def main():
        handler = Twice(timeout=1000).run()
        async for _ in questions(handler):
            await asyncio.sleep(1)
            assert len(handler._run._timers) <= 1
            handler.send_event(HumanResponseEvent())
        return await handler

    assert VirtualClock().run(main()) == 3


async def test_a_journal_that_fails_stops_the_steps_that_run():
    class Failing(MemoryJournal):
        async def append(self, run_id, facts):
            if any(isinstance(fact, CallReturned) for fact in facts):
                raise OSError("disk full")
            return await super().append(run_id, facts)

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Item | None:
            ctx.send_event(Item(n=1))
            ctx.send_event(Item(n=2))

        @step
        async def work(self, ev: Item) -> StopEvent | None:
            if ev.n == 2:
                return None
            try:
                await asyncio.Event().wait()
            finally:
                stopped.append(ev.n)

    stopped = []
    handler = Flow(journal=Failing()).run()
    with pytest.raises(JournalUnavailable):
        await handler
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert all(call.ended is not None for call in handler.record)
    assert not any(call.status == "running" for call in handler.record)
