"""Where events go, and what ends a run: B11 to B16."""

import asyncio

from parity.engines import ending, names_of, on_both, same, settle, stream_of, trying

# -- B11: by exact class -----------------------------------------------------------


async def test_b11_routing_goes_by_the_exact_class():
    async def program(w):
        seen = []

        class Base(w.Event): ...

        class Derived(Base): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> Base | Derived:
                return Derived()

            @w.step
            async def base(self, ev: Base) -> w.StopEvent:
                return w.StopEvent(result="base")

            @w.step
            async def derived(self, ev: Derived) -> w.StopEvent:
                return w.StopEvent(result="derived")

            @w.step
            async def bare(self, ev: w.Event) -> None:
                seen.append(ev)

        return [await Flow(disable_validation=True).run(), seen]

    assert await same(program) == ["derived", []]


async def test_b11_every_accepting_step_gets_the_same_object():
    async def program(w):
        seen = []

        class Found(w.Event): ...

        class Seen(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> Found:
                return Found()

            @w.step
            async def left(self, ev: Found) -> Seen:
                seen.append(ev)
                return Seen()

            @w.step
            async def right(self, ev: Found) -> Seen:
                seen.append(ev)
                return Seen()

            @w.step
            async def end(self, ctx: w.Context, ev: Seen) -> w.StopEvent | None:
                if ctx.collect_events(ev, [Seen] * 2):
                    return w.StopEvent(result=len(seen))

        return [await Flow().run(), seen[0] is seen[1]]

    assert await same(program) == [2, True]


async def test_b11_subclasses_are_taken_by_steps_that_say_so():
    async def program(w):
        class Base(w.Event): ...

        class Derived(Base): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> Derived:
                return Derived()

            @w.step(accept_event_subclasses=True)
            async def end(self, ev: Base) -> w.StopEvent:
                return w.StopEvent(result=type(ev).__name__)

        return await Flow().run()

    assert await same(program) == "Derived"


async def test_b11_an_event_can_be_addressed_to_one_step():
    async def program(w):
        class Found(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> Found | None:
                ctx.send_event(Found(), step="right")

            @w.step
            async def left(self, ev: Found) -> w.StopEvent:
                return w.StopEvent(result="left")

            @w.step
            async def right(self, ev: Found) -> w.StopEvent:
                return w.StopEvent(result="right")

        return await Flow().run()

    assert await same(program) == "right"


async def test_b11_a_wrong_address_is_an_error():
    async def program(w):
        class Found(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                caught = [
                    trying(ctx.send_event, w.StartEvent(), "nobody"),
                    trying(ctx.send_event, Found(), step="begin"),
                ]
                return w.StopEvent(result=caught)

        return await Flow().run()

    assert await same(program) == ["WorkflowRuntimeError"] * 2


async def test_b11_before_a_run_nothing_can_be_sent():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent: ...

        return trying(w.Context(Flow()).send_event, w.StartEvent())

    assert await same(program) == "ContextStateError"


async def test_b11_a_class_defined_again_is_still_the_class():
    # On purpose: in a notebook a cell is run twice; LlamaIndex waits for its timeout.
    async def program(w):
        cell = {"w": w, "__name__": "cell"}
        exec("class Found(w.Event):\n    n: int", cell)
        Found = cell["Found"]

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> Found:
                return cell["Found"](n=3)  # the class of the cell's second run

            @w.step
            async def end(self, ev: Found) -> w.StopEvent:
                return w.StopEvent(result=ev.n)

        flow = Flow(timeout=w.brief)
        exec("class Found(w.Event):\n    n: int", cell)
        return await ending(flow.run())

    theirs, ours = await on_both(program)
    assert theirs == "WorkflowTimeoutError"
    assert ours == 3


# -- B12: nobody takes it ----------------------------------------------------------


async def test_b12_an_event_from_outside_that_nobody_takes_is_refused():
    # On purpose: LlamaIndex drops it and tells only those who read internal events.
    async def program(w):
        class Found(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def ask(self, ev: w.StartEvent) -> w.InputRequiredEvent:
                return w.InputRequiredEvent()

            @w.step
            async def hear(self, ev: w.HumanResponseEvent) -> w.StopEvent:
                return w.StopEvent(result="heard")

        handler = Flow().run()
        try:
            sent = await ending(handler.send_event(Found()))
        except Exception as error:
            sent = type(error).__name__
        await handler.send_event(w.HumanResponseEvent())
        events = await names_of(handler, expose_internal=True)
        return [sent, await handler, "UnhandledEvent" in events]

    theirs, ours = await on_both(program)
    assert theirs == [None, "heard", True]
    assert ours == ["WorkflowRuntimeError", "heard", False]


async def test_b12_a_question_needs_no_step_to_take_it():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def ask(self, ev: w.StartEvent) -> w.InputRequiredEvent:
                return w.InputRequiredEvent(prefix="?")

            @w.step
            async def hear(self, ev: w.HumanResponseEvent) -> w.StopEvent:
                return w.StopEvent(result=ev.response)

        handler = Flow().run()
        events = []
        async for event in handler.stream_events():
            events.append(type(event).__name__)
            if isinstance(event, w.InputRequiredEvent):
                handler.ctx.send_event(w.HumanResponseEvent(response=event.prefix))
        return [await handler, events]

    assert await same(program) == ["?", ["InputRequiredEvent", "StopEvent"]]


# -- B13: what steps return --------------------------------------------------------


async def test_b13_what_is_no_event_may_not_be_returned():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return {"answer": 1}

        raised = await ending(Flow().run())
        return raised, "instead of an Event instance" in raised.text

    assert await same(program) == ("WorkflowRuntimeError", True)


async def test_b13_an_undeclared_event_fails_at_once():
    # On purpose: LlamaIndex routes it if somebody happens to take it, else it waits.
    async def program(w):
        class Wanted(w.Event): ...

        class Other(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> Wanted:
                return Other()

            @w.step
            async def end(self, ev: Wanted) -> w.StopEvent: ...

        return await ending(Flow(timeout=w.brief).run())

    theirs, ours = await on_both(program)
    assert theirs == "WorkflowTimeoutError"
    assert ours == "WorkflowRuntimeError" and "`begin`" in ours.text


async def test_b13_an_undeclared_event_fails_also_where_somebody_takes_it():
    # On purpose: the graph that is drawn and checked is the one that runs.
    async def program(w):
        class Wanted(w.Event): ...

        class Other(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> Wanted | None:
                return Other() if ev.get("other") else None

            @w.step
            async def middle(self, ev: Wanted) -> Other: ...
            @w.step
            async def end(self, ev: Other) -> w.StopEvent:
                return w.StopEvent(result="taken")

        return await ending(Flow().run(other=True))

    theirs, ours = await on_both(program)
    assert theirs == "taken"
    assert ours == "WorkflowRuntimeError"


async def test_b13_an_event_that_nobody_accepts_may_not_be_sent():
    # On purpose: LlamaIndex drops it, and the run waits for its timeout.
    async def program(w):
        class Wanted(w.Event): ...

        class Wante(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> Wanted | None:
                ctx.send_event(Wante())

            @w.step
            async def end(self, ev: Wanted) -> w.StopEvent: ...

        return await ending(Flow(timeout=w.brief).run())

    theirs, ours = await on_both(program)
    assert theirs == "WorkflowTimeoutError"
    assert ours == "WorkflowRuntimeError" and "Did you mean Wanted?" in ours.text


async def test_b13_a_sent_stop_event_does_not_stop_a_run():
    # On purpose an error of its own: LlamaIndex ignores it without a word.
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                sent = trying(ctx.send_event, w.StopEvent(result="sent"))
                return w.StopEvent(result=["returned", sent])

        return await Flow().run()

    theirs, ours = await on_both(program)
    assert theirs == ["returned", None]
    assert ours == ["returned", "WorkflowRuntimeError"]


async def test_b13_a_run_that_cannot_go_on_says_so_at_once():
    # On purpose: LlamaIndex waits for the timeout, 45 seconds if none is given.
    async def program(w):
        class Part(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> Part:
                return Part()

            @w.step
            async def merge(self, ctx: w.Context, ev: Part) -> w.StopEvent | None:
                if ctx.collect_events(ev, [Part] * 3):
                    return w.StopEvent()

        return await ending(Flow(timeout=w.brief).run())

    theirs, ours = await on_both(program)
    assert theirs == "WorkflowTimeoutError" and "merge" not in theirs.text
    assert ours == "WorkflowTimeoutError" and ours == "WorkflowStalledError"
    assert "`merge` has 1 of 3 Part" in ours.text


async def test_b13_a_run_fed_from_outside_by_plain_events_waits_if_told_to():
    # On purpose: without on_stall="wait", that nothing comes in is a stall.
    async def program(w):
        class Tick(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> None: ...
            @w.step
            async def tick(self, ev: Tick) -> w.StopEvent:
                return w.StopEvent(result=ev.n)

        given = {"on_stall": "wait"} if w.engine == "stepwell" else {}
        handler = Flow(disable_validation=True, **given).run()
        await settle()
        await handler.send_event(Tick(n=3))
        return await handler

    assert await same(program) == 3


# -- B14: order --------------------------------------------------------------------


async def test_b14_sent_events_come_before_the_returned_one():
    # On purpose: the order of the lines in the step is the order of the events.
    async def program(w):
        class Item(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> Item:
                ctx.send_event(Item(n=1))
                ctx.send_event(Item(n=2))
                return Item(n=3)

            @w.step(num_workers=1)
            async def gather(self, ctx: w.Context, ev: Item) -> w.StopEvent | None:
                got = ctx.collect_events(ev, [Item] * 3)
                return w.StopEvent(result=[item.n for item in got]) if got else None

        return await Flow().run()

    theirs, ours = await on_both(program)
    assert theirs == [3, 1, 2]
    assert ours == [1, 2, 3]


# -- B15: workers ------------------------------------------------------------------


async def test_b15_four_calls_of_a_step_run_at_once_and_the_rest_in_order():
    async def program(w):
        class Item(w.Event):
            n: int

        class Done(w.Event):
            n: int

        class Flow(w.Workflow):
            now = most = 0
            begun = ()

            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> Item | None:
                for n in range(7):
                    ctx.send_event(Item(n=n))

            @w.step
            async def work(self, ev: Item) -> Done:
                self.begun = (*self.begun, ev.n)
                self.now += 1
                self.most = max(self.most, self.now)
                await settle()
                self.now -= 1
                return Done(n=ev.n)

            @w.step
            async def end(self, ctx: w.Context, ev: Done) -> w.StopEvent | None:
                if ctx.collect_events(ev, [Done] * 7):
                    return w.StopEvent(result=(self.most, self.begun))

        return await Flow().run()

    assert await same(program) == (4, (0, 1, 2, 3, 4, 5, 6))


async def test_b15_the_number_of_workers_can_be_set():
    async def program(w):
        class Item(w.Event):
            n: int

        class Done(w.Event): ...

        class Flow(w.Workflow):
            now = most = 0

            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> Item | None:
                for n in range(4):
                    ctx.send_event(Item(n=n))

            @w.step(num_workers=2)
            async def work(self, ev: Item) -> Done:
                self.now += 1
                self.most = max(self.most, self.now)
                await settle()
                self.now -= 1
                return Done()

            @w.step
            async def end(self, ctx: w.Context, ev: Done) -> w.StopEvent | None:
                if ctx.collect_events(ev, [Done] * 4):
                    return w.StopEvent(result=self.most)

        return await Flow().run()

    assert await same(program) == 2


async def test_b15_a_queued_call_is_announced_as_preparing():
    async def program(w):
        class Item(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> Item | None:
                for n in range(2):
                    ctx.send_event(Item(n=n))

            @w.step(num_workers=1)
            async def work(self, ev: Item) -> w.StopEvent | None:
                await settle()
                return w.StopEvent() if ev.n else None

        events = await stream_of(Flow().run(), expose_internal=True)
        return [
            (fields["step_state"].value, fields["worker_id"])
            for name, fields in events
            if name == "StepStateChanged" and fields["name"] == "work"
        ]

    assert await same(program) == [
        ("running", "0"),
        ("preparing", "<enqueued>"),
        ("not_running", "0"),
        ("running", "0"),
        ("not_running", "0"),
    ]


# -- B16: stopping -----------------------------------------------------------------


async def test_b16_a_stop_event_cancels_the_other_steps():
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
            async def quick(self, ev: w.StartEvent) -> w.StopEvent:
                await waiting.wait()
                return w.StopEvent(result="quick")

        handler = Flow().run()
        return [await names_of(handler), await handler, told]

    assert await same(program) == [["StopEvent"], "quick", ["cancelled"]]


async def test_b16_a_cancelled_step_writes_nothing_more():
    # On purpose: LlamaIndex lets through what a step writes while it is stopped.
    async def program(w):
        waiting = asyncio.Event()

        class Note(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def slow(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                waiting.set()
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    ctx.write_event_to_stream(Note())
                    raise

            @w.step
            async def quick(self, ev: w.StartEvent) -> w.StopEvent:
                await waiting.wait()
                return w.StopEvent()

        return await names_of(Flow().run())

    theirs, ours = await on_both(program)
    assert theirs == ["Note", "StopEvent"]
    assert ours == ["StopEvent"]
