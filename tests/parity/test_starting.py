"""Starting a run, its result, its failure, its time, its end by force: B6 to B10."""

import asyncio
import traceback
import warnings

import pytest

from parity.engines import (
    ending,
    importable,
    leaves_coroutines,
    names_of,
    on_both,
    same,
    settle,
    stream_of,
    trying,
)

# -- B6: run() ---------------------------------------------------------------------


@leaves_coroutines
async def test_b06_run_needs_a_running_loop():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent: ...

        return await asyncio.to_thread(trying, Flow().run)

    assert await same(program) == "RuntimeError"


async def test_b06_run_begins_in_the_background():
    async def program(w):
        begun = asyncio.Event()

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                begun.set()
                return w.StopEvent(result=ev.text)

        handler = Flow().run(text="hello", run_id="mine")
        before = begun.is_set()
        await begun.wait()
        return [before, handler.run_id, await handler]

    assert await same(program) == [False, "mine", "hello"]


async def test_b06_keywords_become_fields_of_the_start_event():
    async def program(w):
        class Begin(w.StartEvent):
            topic: str
            limit: int = 3

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: Begin) -> w.StopEvent:
                return w.StopEvent(result=(ev.topic, ev.limit))

        return [
            await Flow().run(topic="a", limit="4"),
            await Flow().run(start_event=Begin(topic="b")),
            trying(Flow().run, limit=1),
            trying(Flow().run, start_event="begin"),
        ]

    assert await same(program) == [
        ("a", 4),
        ("b", 3),
        "WorkflowRuntimeError",
        "ValueError",
    ]


async def test_b06_a_context_may_be_the_first_argument():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent(result=await ctx.store.get("n"))

        flow = Flow()
        ctx = w.Context(flow)
        await ctx.store.set("n", 5)
        return await flow.run(ctx)

    assert await same(program) == 5


async def test_b06_more_fields_beside_a_start_event_are_refused():
    # On purpose: LlamaIndex logs a warning and drops them.
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent(result=ev.get("n"))

        run = trying(Flow().run, start_event=w.StartEvent(), n=1)
        return await ending(run) if hasattr(run, "ctx") else run

    theirs, ours = await on_both(program)
    assert theirs is None
    assert ours == "WorkflowRuntimeError" and "n=" in ours.text


async def test_b06_answers_are_for_the_run_unless_the_start_event_declares_them():
    # On purpose: a notebook that runs at night needs them where it starts a run.
    async def program(w):
        class Mine(w.StartEvent):
            answers: list[int]

        class Plain(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent(result=ev.get("answers"))

        class Declared(w.Workflow):
            @w.step
            async def begin(self, ev: Mine) -> w.StopEvent:
                return w.StopEvent(result=ev.answers)

        given = Plain().run(start_event=w.StartEvent(answers=[1]))
        runs = [Plain().run(answers=[1]), Declared().run(answers=[1]), given]
        return [await run for run in runs]

    theirs, ours = await on_both(program)
    assert theirs == [[1], [1], [1]]
    assert ours == [None, [1], [1]]


async def test_b06_a_start_event_of_another_class_is_refused():
    # On purpose: LlamaIndex accepts it, and nothing happens until the timeout.
    async def program(w):
        class Mine(w.StartEvent): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: Mine) -> w.StopEvent: ...

        run = trying(Flow(timeout=w.brief).run, start_event=w.StartEvent())
        return await ending(run) if hasattr(run, "ctx") else run

    theirs, ours = await on_both(program)
    assert theirs == "WorkflowTimeoutError"
    assert ours == "WorkflowRuntimeError" and "starts from Mine" in ours.text


# -- B7: the result ----------------------------------------------------------------


async def test_b07_a_plain_stop_gives_its_result_and_may_be_awaited_again():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent(result=[1])

        handler = Flow().run()
        done_before = handler.is_done()
        first = await handler
        gathered = await asyncio.gather(handler, handler)
        stop = await handler.stop_event_result()
        return [
            done_before,
            handler.is_done(),
            first is await handler,
            gathered,
            type(stop).__name__,
            stop.result,
            handler.get_stop_event() is stop,
        ]

    assert await same(program) == [
        False,
        True,
        True,
        [[1], [1]],
        "StopEvent",
        [1],
        True,
    ]


async def test_b07_a_stop_event_takes_its_result_by_position():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent("by position")

        return [await Flow().run(), w.StopEvent().result]

    assert await same(program) == ["by position", None]


async def test_b07_a_subclass_of_stop_is_the_result_itself():
    async def program(w):
        class Answer(w.StopEvent):
            text: str
            score: float = 0.5

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> Answer:
                return Answer(text="yes")

        handler = Flow().run()
        answer = await handler
        return [type(answer) is Answer, answer.text, answer.model_dump(), answer.result]

    assert await same(program) == [True, "yes", {"text": "yes", "score": 0.5}, None]


async def test_b07_a_subclass_gives_its_result_as_a_field():
    # On purpose: the result is a field like others; LlamaIndex calls _get_result.
    async def program(w):
        class Answer(w.StopEvent):
            a: int

            def _get_result(self):
                return self.a * 2

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> Answer:
                return Answer(a=2)

        answer = await Flow().run()
        return [type(answer).__name__, answer.result]

    theirs, ours = await on_both(program)
    assert theirs == ["Answer", 4]
    assert ours == ["Answer", None]


async def test_b07_a_stop_event_shows_its_result_as_text():
    async def program(w):
        return [str(w.StopEvent(result=3)), repr(w.StopEvent(result=3))]

    assert await same(program) == ["3", "StopEvent(result=3)"]


async def test_b07_there_is_no_stop_event_after_a_failure():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                raise LookupError("gone")

        handler = Flow().run()
        return [await ending(handler), handler.get_stop_event(), handler.is_done()]

    assert await same(program) == ["LookupError", None, True]


async def test_b07_the_result_can_be_asked_for_without_await():
    # On purpose: LlamaIndex dropped result() with the asyncio.Future it once was.
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent(result=1)

        handler = Flow().run()
        early = trying(lambda: handler.result())
        await handler
        return [early, trying(lambda: handler.result())]

    theirs, ours = await on_both(program)
    assert theirs == ["AttributeError"] * 2
    assert ours == ["WorkflowRuntimeError", 1]


async def test_b07_the_old_faces_of_a_handler_still_warn():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                raise LookupError("gone")

        handler = Flow().run()
        await ending(handler)
        with pytest.warns(DeprecationWarning):
            done = handler.done()
        with pytest.warns(DeprecationWarning):
            error = handler.exception()
        with pytest.warns(DeprecationWarning):
            cancelled = handler.cancelled()
        return [done, type(error).__name__, cancelled]

    assert await same(program) == [True, "LookupError", False]


async def test_b07_the_result_is_also_kept_by_the_context():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent(result=1)

        handler = Flow().run()
        await handler
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return handler.ctx.get_result()

    assert await same(program) == 1


# -- B8: failure -------------------------------------------------------------------


async def test_b08_the_exception_of_a_step_is_raised_as_it_is():
    async def program(w):
        mine = LookupError("gone")

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                raise mine

        raised = await ending(Flow().run())
        frames = [f.name for f in traceback.extract_tb(raised.error.__traceback__)]
        return [raised.error is mine, "begin" in frames]

    assert await same(program) == [True, True]


async def test_b08_a_failure_carries_a_note_of_where_it_was():
    # On purpose: the exception is the same; the note says step, event and attempt.
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                raise LookupError("gone")

        raised = await ending(Flow().run())
        return raised.text, getattr(raised.error, "__notes__", [])

    theirs, ours = await on_both(program)
    assert theirs == ("gone", [])
    assert ours == ("gone", ["in step `begin` of Flow, on StartEvent, attempt 1"])


async def test_b08_a_failure_cancels_the_other_steps():
    async def program(w):
        told = []
        waiting = asyncio.Event()

        class Flow(w.Workflow):
            @w.step
            async def slow(self, ev: w.StartEvent) -> w.StopEvent:
                waiting.set()
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    told.append("cancelled")
                    raise

            @w.step
            async def failing(self, ev: w.StartEvent) -> w.StopEvent:
                await waiting.wait()
                raise LookupError("gone")

        raised = await ending(Flow().run())
        await asyncio.sleep(0)
        return raised, told

    assert await same(program) == ("LookupError", ["cancelled"])


# -- B9: time ----------------------------------------------------------------------


async def test_b09_time_is_up_with_the_names_of_the_steps_at_work():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def dream(self, ev: w.StartEvent) -> w.StopEvent:
                await asyncio.sleep(60)

        handler = Flow(timeout=0.05).run()
        events = await stream_of(handler)
        raised = await ending(handler)
        return [events, raised, "dream" in raised.text, "0.05" in raised.text]

    assert await same(program) == [
        [("WorkflowTimedOutEvent", {"timeout": 0.05, "active_steps": ["dream"]})],
        "WorkflowTimeoutError",
        True,
        True,
    ]


async def test_b09_none_is_no_limit():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                await asyncio.sleep(0.01)
                return w.StopEvent(result="done")

        return await Flow(timeout=None).run()

    assert await same(program) == "done"


async def test_b09_the_clock_stops_while_a_person_is_asked():
    # On purpose: people are slower than any timeout that fits the machine's work.
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def ask(self, ev: w.StartEvent) -> w.InputRequiredEvent:
                return w.InputRequiredEvent(prefix="name?")

            @w.step
            async def hear(self, ev: w.HumanResponseEvent) -> w.StopEvent:
                return w.StopEvent(result=ev.response)

        handler = Flow(timeout=0.15).run()
        await asyncio.sleep(0.25)
        if w.engine == "stepwell":  # for LlamaIndex it is too late
            await handler.send_event(w.HumanResponseEvent(response="Ada"))
        return await ending(handler)

    theirs, ours = await on_both(program)
    assert theirs == "WorkflowTimeoutError"
    assert ours == "Ada"


async def test_b09_the_clock_of_a_run_begins_with_its_turn():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def work(self, ev: w.StartEvent) -> w.StopEvent:
                await asyncio.sleep(0.2)
                return w.StopEvent(result=ev.n)

        flow = Flow(timeout=0.35, num_concurrent_runs=1)
        return await asyncio.gather(flow.run(n=1), flow.run(n=2))

    assert await same(program) == [1, 2]


async def test_b09_runs_of_one_instance_can_be_limited():
    async def program(w):
        class Flow(w.Workflow):
            now = most = 0

            @w.step
            async def work(self, ev: w.StartEvent) -> w.StopEvent:
                self.now += 1
                self.most = max(self.most, self.now)
                await settle()
                self.now -= 1
                return w.StopEvent(result=ev.n)

        limited, free = Flow(num_concurrent_runs=2), Flow()
        for flow in (limited, free):
            assert await asyncio.gather(*[flow.run(n=n) for n in range(5)])
        return [limited.most, free.most]

    assert await same(program) == [2, 5]


# -- B10: cancelling ---------------------------------------------------------------


async def test_b10_cancel_run_ends_a_run_and_never_raises():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def dream(self, ev: w.StartEvent) -> w.StopEvent:
                await asyncio.sleep(60)

        handler = Flow().run()
        await asyncio.sleep(0)
        await handler.cancel_run()
        await handler.cancel_run(timeout=1)
        return [
            handler.is_done(),
            await ending(handler),
            await names_of(handler),
            handler.ctx.to_dict()["is_running"],
        ]

    assert await same(program) == [
        True,
        "WorkflowCancelledByUser",
        ["WorkflowCancelledEvent"],
        True,
    ]


async def test_b10_a_cancelled_run_can_be_resumed():
    async def program(w):
        entered = asyncio.Event()

        @importable
        class Middle(w.Event):
            n: int

        class Flow(w.Workflow):
            tries = 0

            @w.step
            async def begin(self, ev: w.StartEvent) -> Middle:
                return Middle(n=ev.n)

            @w.step
            async def end(self, ev: Middle) -> w.StopEvent:
                self.tries += 1
                if self.tries == 1:
                    entered.set()
                    await asyncio.sleep(60)
                return w.StopEvent(result=(ev.n, self.tries))

        flow = Flow()
        handler = flow.run(n=4)
        await entered.wait()
        await handler.cancel_run()
        ctx = w.Context.from_dict(flow, handler.ctx.to_dict())
        return [ctx.is_running, await flow.run(ctx=ctx)]

    assert await same(program) == [True, (4, 2)]


async def test_b10_a_run_that_waits_for_its_turn_can_be_cancelled():
    # On purpose: it says so as any cancelled run; LlamaIndex cancels who awaits it.
    async def program(w):
        gate = asyncio.Event()

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                await gate.wait()
                return w.StopEvent(result=ev.n)

        flow = Flow(num_concurrent_runs=1)
        first, second = flow.run(n=1), flow.run(n=2)
        await settle()
        await second.cancel_run(timeout=0.02)
        gate.set()
        return [second.is_done(), await first, await ending(second)]

    theirs, ours = await on_both(program)
    assert theirs == [True, 1, "CancelledError"]
    assert ours == [True, 1, "WorkflowCancelledByUser"]


async def test_b10_wait_for_cancels_the_run_cleanly():
    # On purpose: after it, awaiting says who cancelled, not a bare CancelledError.
    async def program(w):
        told = []

        class Flow(w.Workflow):
            @w.step
            async def dream(self, ev: w.StartEvent) -> w.StopEvent:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    told.append("cancelled")
                    raise

        handler = Flow().run()
        first = await ending(asyncio.wait_for(handler, 0.02))
        return [first, await ending(handler), told]

    theirs, ours = await on_both(program)
    assert theirs == ["TimeoutError", "CancelledError", ["cancelled"]]
    assert ours == ["TimeoutError", "WorkflowCancelledByUser", ["cancelled"]]


async def test_b10_the_old_cancel_says_that_the_run_was_cancelled():
    # On purpose: awaiting it in LlamaIndex looks like being cancelled oneself.
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def dream(self, ev: w.StartEvent) -> w.StopEvent:
                await asyncio.sleep(60)

        handler = Flow().run()
        await settle()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            handler.cancel()
        return await ending(handler)

    theirs, ours = await on_both(program)
    assert theirs == "CancelledError"
    assert ours == "WorkflowCancelledByUser"


async def test_b10_a_run_id_is_given_once():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def dream(self, ev: w.StartEvent) -> w.StopEvent:
                await asyncio.sleep(60)

        flow = Flow()
        handler = flow.run(run_id="the one")
        again = trying(flow.run, run_id="the one")
        await handler.cancel_run()
        return [handler.run_id, again]

    assert await same(program) == ["the one", "RuntimeError"]
