"""What a run shows of itself, retries, and steps that catch errors: B20 to B23."""

import asyncio
import warnings

import pytest

from parity.engines import (
    Raised,
    ending,
    names_of,
    on_both,
    same,
    settle,
    shown,
    stream_of,
    trying,
)

# -- B20: the stream ---------------------------------------------------------------


async def test_b20_the_stream_has_what_was_written_and_the_stop_event():
    async def program(w):
        class Progress(w.Event):
            done: int

        class Middle(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> Middle:
                ctx.write_event_to_stream(Progress(done=1, note="half"))
                ctx.write_event_to_stream(None)
                return Middle()

            @w.step
            async def end(self, ctx: w.Context, ev: Middle) -> w.StopEvent:
                ctx.write_event_to_stream(Progress(done=2))
                return w.StopEvent(result="done")

        return await stream_of(Flow().run())

    assert await same(program) == [
        ("Progress", {"done": 1, "note": "half"}),
        ("Progress", {"done": 2}),
        ("StopEvent", {"result": "done"}),
    ]


async def test_b20_a_late_reader_misses_nothing():
    async def program(w):
        class Progress(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                ctx.write_event_to_stream(Progress())
                return w.StopEvent()

        handler = Flow().run()
        await handler
        return await names_of(handler)

    assert await same(program) == ["Progress", "StopEvent"]


async def test_b20_a_failure_ends_the_stream_and_is_raised_by_await_only():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                raise LookupError("gone")

        handler = Flow().run()
        (name, fields), *rest = await stream_of(handler)
        error = fields.pop("exception")
        fields.pop("elapsed_seconds")
        return [name, fields, repr(error), rest, await ending(handler)]

    assert await same(program) == [
        "WorkflowFailedEvent",
        {"step_name": "begin", "attempts": 1},
        "LookupError('gone')",
        [],
        "LookupError",
    ]


async def test_b20_every_reader_has_the_whole_stream():
    # On purpose: LlamaIndex has one reader; after its end, another one is an error.
    async def program(w):
        class Progress(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                ctx.write_event_to_stream(Progress())
                return w.StopEvent()

        handler = Flow().run()
        first = await names_of(handler)
        return [first, await ending(names_of(handler))]

    theirs, ours = await on_both(program)
    assert theirs == [["Progress", "StopEvent"], "WorkflowRuntimeError"]
    assert ours == [["Progress", "StopEvent"], ["Progress", "StopEvent"]]


async def test_b20_readers_may_read_side_by_side():
    # On purpose: in LlamaIndex the second one gets nothing and then an error.
    async def program(w):
        class Progress(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                ctx.write_event_to_stream(Progress())
                return w.StopEvent()

        handler = Flow().run()
        readers = [ending(names_of(handler)) for _ in range(2)]
        return await asyncio.gather(*readers)

    theirs, ours = await on_both(program)
    assert theirs == [["Progress", "StopEvent"], "WorkflowRuntimeError"]
    assert ours == [["Progress", "StopEvent"]] * 2


async def test_b20_a_second_loop_after_a_break_begins_at_the_first_event():
    # On purpose: a loop is a reader of its own; LlamaIndex goes on where it stopped.
    async def program(w):
        class Progress(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                for n in range(3):
                    ctx.write_event_to_stream(Progress(n=n))
                return w.StopEvent()

        handler = Flow().run()
        stream = handler.stream_events()
        first = shown(await anext(stream))
        await stream.aclose()
        return [first, [fields.get("n") for _, fields in await stream_of(handler)]]

    theirs, ours = await on_both(program)
    assert theirs == [("Progress", {"n": 0}), [1, 2, None]]
    assert ours == [("Progress", {"n": 0}), [0, 1, 2, None]]


async def test_b20_a_stop_event_written_by_hand_is_an_event_like_others():
    # On purpose: a nested workflow's stop, passed on, ends LlamaIndex's stream.
    async def program(w):
        class Progress(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                ctx.write_event_to_stream(w.StopEvent(result="inner"))
                ctx.write_event_to_stream(Progress())
                return w.StopEvent(result="outer")

        handler = Flow().run()
        return [await stream_of(handler), await handler]

    inner, outer = (
        ("StopEvent", {"result": "inner"}),
        ("StopEvent", {"result": "outer"}),
    )
    theirs, ours = await on_both(program)
    assert theirs == [[inner], "outer"]
    assert ours == [[inner, ("Progress", {}), outer], "outer"]


# -- B21: what runs show when asked for it -----------------------------------------


async def test_b21_internal_events_tell_of_every_step():
    async def program(w):
        class Middle(w.Event): ...

        class Progress(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> Middle:
                ctx.write_event_to_stream(Progress())
                return Middle()

            @w.step
            async def end(self, ev: Middle) -> w.StopEvent:
                return w.StopEvent()

        told = []
        async for event in Flow().run().stream_events(expose_internal=True):
            if isinstance(event, w.StepStateChanged):
                began = event.step_state is w.StepState.RUNNING
                name = event.input_event_name if began else None
                told.append((event.name, event.step_state.name, name))
            else:
                told.append(type(event).__name__)
        return told

    assert await same(program) == [
        ("begin", "RUNNING", "StartEvent"),
        "Progress",
        ("begin", "NOT_RUNNING", None),
        ("end", "RUNNING", "Middle"),
        ("end", "NOT_RUNNING", None),
        "StopEvent",
    ]


async def test_b21_the_option_may_be_given_by_position():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent()

        handler = Flow().run()
        return [type(event).__name__ async for event in handler.stream_events(True)]

    assert await same(program) == ["StepStateChanged", "StepStateChanged", "StopEvent"]


async def test_b21_internal_events_have_a_base_class():
    async def program(w):
        kinds = (w.StepStateChanged, w.WorkflowIdleEvent, w.UnhandledEvent)
        return [issubclass(kind, w.InternalDispatchEvent) for kind in kinds]

    assert await same(program) == [True, True, True]


async def test_b21_a_question_comes_after_the_step_that_asked_it():
    async def program(w):
        class Progress(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def ask(
                self, ctx: w.Context, ev: w.StartEvent
            ) -> w.InputRequiredEvent:
                ctx.write_event_to_stream(Progress())
                return w.InputRequiredEvent()

            @w.step
            async def hear(self, ev: w.HumanResponseEvent) -> w.StopEvent:
                return w.StopEvent()

        handler = Flow().run()
        told = []
        async for event in handler.stream_events(expose_internal=True):
            if isinstance(event, w.StepStateChanged):
                told.append((event.name, event.step_state.name))
            elif not isinstance(event, w.WorkflowIdleEvent):
                told.append(type(event).__name__)
            if isinstance(event, w.InputRequiredEvent):
                await settle()
                await handler.send_event(w.HumanResponseEvent())
        return told

    assert await same(program) == [
        ("ask", "RUNNING"),
        "Progress",
        ("ask", "NOT_RUNNING"),
        "InputRequiredEvent",
        ("hear", "RUNNING"),
        ("hear", "NOT_RUNNING"),
        "StopEvent",
    ]


async def test_b21_names_of_classes_are_written_alike():
    # On purpose: LlamaIndex writes class names at the start and their repr at the end.
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent()

        events = await stream_of(Flow().run(), expose_internal=True)
        ended = events[1][1]
        return [ended["input_event_name"], ended["output_event_name"]]

    theirs, ours = await on_both(program)
    assert theirs == [
        f"<class 'workflows.events.{name}Event'>" for name in ("Start", "Stop")
    ]
    assert ours == [f"{name}Event" for name in ("Start", "Stop")]


async def test_b21_a_run_that_waits_for_somebody_is_idle():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def ask(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                answer = await ctx.wait_for_event(w.HumanResponseEvent)
                return w.StopEvent(result=answer.response)

        handler = Flow().run()
        async for event in handler.stream_events(expose_internal=True):
            if isinstance(event, w.WorkflowIdleEvent):
                await handler.send_event(w.HumanResponseEvent(response="yes"))
        return await handler

    assert await same(program) == "yes"


# -- B22: retries ------------------------------------------------------------------


async def test_b22_every_attempt_is_told_and_the_failure_counts_them():
    async def program(w):
        policy = w.retry_policy(wait=w.wait_none(), stop=w.stop_after_attempt(3))

        class Flow(w.Workflow):
            @w.step(retry_policy=policy)
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                raise LookupError("gone")

        handler = Flow().run()
        told = []
        async for event in handler.stream_events(expose_internal=True):
            if isinstance(event, w.StepStateChanged):
                told.append(event.step_state.name)
            else:
                told.append((type(event).__name__, event.step_name, event.attempts))
        return [told, await ending(handler)]

    assert await same(program) == [
        [*["RUNNING", "NOT_RUNNING"] * 3, ("WorkflowFailedEvent", "begin", 3)],
        "LookupError",
    ]


async def test_b22_a_policy_is_asked_with_failures_counted_from_one():
    async def program(w):
        asked = []

        class Policy:
            def next(self, elapsed_time, attempts, error):
                asked.append((elapsed_time >= 0, attempts, str(error)))
                return 0.001 if attempts < 3 else None

        class Flow(w.Workflow):
            tries = 0

            @w.step(retry_policy=Policy())
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                self.tries += 1
                raise LookupError(f"gone {self.tries}")

        return [await ending(Flow().run()), asked]

    assert await same(program) == [
        "LookupError",
        [(True, 1, "gone 1"), (True, 2, "gone 2"), (True, 3, "gone 3")],
    ]


async def test_b22_a_step_knows_its_attempts():
    async def program(w):
        policy = w.retry_policy(wait=w.wait_none(), stop=w.stop_after_attempt(2))

        class Flow(w.Workflow):
            @w.step(retry_policy=policy)
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                info = ctx.retry_info()
                if info.retry_number == 0:
                    raise LookupError(f"{info.last_exception} {info.last_failed_at}")
                return w.StopEvent(
                    result=(
                        info.retry_number,
                        str(info.last_exception),
                        info.elapsed_seconds >= 0,
                        info.last_failed_at.utcoffset().total_seconds(),
                    )
                )

        return await Flow().run()

    assert await same(program) == (1, "None None", True, 0.0)


async def test_b22_a_delayed_attempt_holds_no_worker():
    async def program(w):
        policy = w.retry_policy(wait=w.wait_fixed(0.2), stop=w.stop_after_attempt(2))

        class Item(w.Event):
            n: int

        class Done(w.Event): ...

        class Flow(w.Workflow):
            order = ()

            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> Item | None:
                for n in range(3):
                    ctx.send_event(Item(n=n))

            @w.step(num_workers=1, retry_policy=policy)
            async def work(self, ev: Item) -> Done:
                self.order = (*self.order, ev.n)
                if self.order == (0,):
                    raise LookupError("again")
                return Done()

            @w.step
            async def end(self, ctx: w.Context, ev: Done) -> w.StopEvent | None:
                if ctx.collect_events(ev, [Done] * 3):
                    return w.StopEvent(result=self.order)

        return await Flow().run()

    assert await same(program) == (0, 1, 2, 0)


async def test_b22_policies_are_composed_of_small_answers():
    async def program(w):
        error, other = LookupError("gone away"), ValueError("bad")
        error.__cause__ = TimeoutError()
        conditions = [
            w.retry_if_exception(lambda e: "gone" in str(e)),
            w.retry_if_exception_type(LookupError),
            w.retry_if_not_exception_type(LookupError),
            w.retry_unless_exception_type((ValueError, LookupError)),
            w.retry_if_exception_message(match="go.e"),
            w.retry_if_exception_message(message="gone away"),
            w.retry_if_not_exception_message(match="gone"),
            w.retry_if_exception_cause_type(TimeoutError),
            w.retry_any(w.retry_never(), w.retry_always()),
            w.retry_all(w.retry_never(), w.retry_always()),
        ]
        waits = [
            w.wait_fixed(2),
            w.wait_none(),
            w.wait_exponential(multiplier=1, exp_base=2, max=5, min=0),
            w.wait_incrementing(start=1, increment=2, max=4),
            w.wait_chain(w.wait_fixed(1), w.wait_fixed(7)),
            w.wait_combine(w.wait_fixed(1), w.wait_fixed(2)),
            w.wait_fixed(1) + w.wait_fixed(3),
        ]
        stops = [
            w.stop_after_attempt(2),
            w.stop_after_delay(10),
            w.stop_before_delay(10),
            w.stop_any(w.stop_after_attempt(9), w.stop_after_delay(10)),
            w.stop_all(w.stop_after_attempt(2), w.stop_after_delay(10)),
            w.stop_never(),
        ]
        answers = []
        for condition in conditions:
            policy = w.retry_policy(retry=condition, wait=w.wait_fixed(1))
            answers += [policy.next(0, 1, each) is not None for each in (error, other)]
        for wait in waits:
            policy = w.retry_policy(wait=wait, stop=w.stop_never())
            answers += [policy.next(0, n, error) for n in (1, 2, 3, 4)]
        for stop in stops:
            policy = w.retry_policy(wait=w.wait_fixed(2), stop=stop)
            for elapsed, attempts in ((0, 1), (0, 2), (9, 1), (11, 2)):
                answers.append(policy.next(elapsed, attempts, error) is None)
        random = [
            w.wait_random(1, 2),
            w.wait_exponential_jitter(initial=1, max=1.5, jitter=0.5),
            w.wait_random_exponential(multiplier=1, max=2),
        ]
        for wait in random:
            policy = w.retry_policy(wait=wait, stop=w.stop_never())
            answers.append(all(0 <= policy.next(0, n, error) <= 2 for n in (1, 2, 3)))
        return answers

    answers = await same(program)
    assert answers[:2] == [True, False] and len(answers) == 20 + 28 + 24 + 3


async def test_b22_a_policy_of_nothing_is_three_attempts_five_seconds_apart():
    async def program(w):
        policy = w.retry_policy()
        return [policy.next(0, attempts, LookupError()) for attempts in (1, 2, 3)]

    assert await same(program) == [5.0, 5.0, None]


async def test_b22_the_older_policies_still_work():
    async def program(w):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # LlamaIndex's
            constant = w.ConstantDelayRetryPolicy(maximum_attempts=3, delay=0.5)
            growing = w.ExponentialBackoffRetryPolicy(
                initial_delay=1,
                multiplier=2,
                max_delay=3,
                maximum_attempts=4,
                jitter=False,
            )
        return [
            [policy.next(0, n, LookupError()) for n in (1, 2, 3, 4)]
            for policy in (constant, growing)
        ]

    assert await same(program) == [[0.5, 0.5, None, None], [1.0, 2.0, 3.0, None]]


async def test_b22_a_policy_that_raises_fails_the_run():
    async def program(w):
        class Policy:
            def next(self, elapsed_time, attempts, error):
                raise ValueError("in the policy")

        class Flow(w.Workflow):
            @w.step(retry_policy=Policy())
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                raise LookupError("in the step")

        raised = await ending(Flow(timeout=1).run())
        notes = getattr(raised.error, "__notes__", [])
        return raised, repr(raised.error.__cause__), notes

    # Only the note is our own.
    theirs, ours = await on_both(program)
    assert theirs == ("ValueError", "LookupError('in the step')", [])
    assert ours[:2] == theirs[:2]
    assert ours[2] == ["in the retry policy of step `begin`"]


# -- B23: catch_error --------------------------------------------------------------


async def test_b23_a_step_that_catches_errors_goes_on_in_their_stead():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                raise LookupError("gone")

            @w.catch_error
            async def rescue(self, ev: w.StepFailedEvent) -> w.StopEvent:
                return w.StopEvent(
                    result=(
                        ev.step_name,
                        type(ev.input_event).__name__,
                        repr(ev.exception),
                        ev.attempts,
                        ev.elapsed_seconds >= 0,
                        ev.failed_at.utcoffset().total_seconds(),
                    )
                )

        return await Flow().run()

    assert await same(program) == (
        "begin",
        "StartEvent",
        "LookupError('gone')",
        1,
        True,
        0.0,
    )


async def test_b23_it_is_called_when_no_retry_is_left():
    async def program(w):
        policy = w.retry_policy(wait=w.wait_none(), stop=w.stop_after_attempt(3))

        class Flow(w.Workflow):
            @w.step(retry_policy=policy)
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                raise LookupError("gone")

            @w.catch_error(for_steps=["begin"])
            async def rescue(self, ev: w.StepFailedEvent) -> w.StopEvent:
                return w.StopEvent(result=ev.attempts)

        return await Flow().run()

    assert await same(program) == 3


async def test_b23_named_steps_come_before_the_wildcard():
    async def program(w):
        class Middle(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> Middle:
                if ev.where == "begin":
                    raise LookupError
                return Middle()

            @w.step
            async def end(self, ev: Middle) -> w.StopEvent:
                raise LookupError

            @w.catch_error(for_steps=["end"])
            async def for_end(self, ev: w.StepFailedEvent) -> w.StopEvent:
                return w.StopEvent(result="for_end")

            @w.catch_error
            async def for_all(self, ev: w.StepFailedEvent) -> w.StopEvent:
                return w.StopEvent(result="for_all")

        return [await Flow().run(where="begin"), await Flow().run(where="end")]

    assert await same(program) == ["for_all", "for_end"]


@pytest.mark.parametrize("allowed", [1, 2])
async def test_b23_it_helps_so_often_along_one_chain(allowed):
    async def program(w):
        class Again(w.Event): ...

        class Flow(w.Workflow):
            helped = 0

            @w.step
            async def begin(self, ev: w.StartEvent | Again) -> w.StopEvent:
                raise LookupError("gone")

            @w.catch_error(max_recoveries=allowed)
            async def rescue(self, ev: w.StepFailedEvent) -> Again:
                self.helped += 1
                return Again()

        flow = Flow()
        return [await ending(flow.run()), flow.helped]

    assert await same(program) == ["LookupError", allowed]


async def test_b23_what_it_raises_ends_the_run():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                raise LookupError("first")

            @w.catch_error
            async def rescue(self, ev: w.StepFailedEvent) -> w.StopEvent:
                raise ValueError("second")

        handler = Flow().run()
        events = await stream_of(handler)
        return [events[-1][1]["step_name"], await ending(handler)]

    assert await same(program) == ["rescue", "ValueError"]


async def test_b23_it_is_not_called_when_time_is_up():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def dream(self, ev: w.StartEvent) -> w.StopEvent:
                await asyncio.sleep(60)

            @w.catch_error
            async def rescue(self, ev: w.StepFailedEvent) -> w.StopEvent:
                return w.StopEvent(result="rescued")

        return await ending(Flow(timeout=0.02).run())

    assert await same(program) == "WorkflowTimeoutError"


async def test_b23_the_limit_of_recoveries_is_a_whole_number_above_zero():
    async def program(w):
        def define(number):
            class Flow(w.Workflow):
                @w.step
                async def begin(self, ev: w.StartEvent) -> w.StopEvent: ...
                @w.catch_error(max_recoveries=number)
                async def rescue(self, ev: w.StepFailedEvent) -> w.StopEvent: ...

            Flow().run()

        return [trying(define, 0), trying(define, "1")]

    assert await same(program) == ["WorkflowValidationError"] * 2


async def test_b23_a_mistake_in_the_program_is_not_caught():
    # On purpose: to go on after it would hide it.
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return "no event"

            @w.catch_error
            async def rescue(self, ev: w.StepFailedEvent) -> w.StopEvent:
                return w.StopEvent(result="rescued")

        return await ending(Flow().run())

    theirs, ours = await on_both(program)
    assert theirs == "rescued"
    assert isinstance(ours, Raised) and ours == "WorkflowRuntimeError"
