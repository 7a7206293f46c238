"""Steps and workflows as written: B1 to B5."""

from typing import Annotated, Optional

import pytest

from parity.engines import ending, on_both, same, trying

# -- B1: what a step is ------------------------------------------------------------


async def test_b01_a_step_needs_an_event_parameter():
    async def program(w):
        async def nothing(self) -> w.StopEvent: ...
        async def number(self, n: int) -> w.StopEvent: ...

        return [trying(w.step, nothing), trying(w.step, number)]

    assert await same(program) == ["WorkflowValidationError"] * 2


async def test_b01_a_step_needs_a_return_annotation():
    async def program(w):
        def define():
            class Flow(w.Workflow):
                @w.step
                async def begin(self, ev: w.StartEvent): ...

        return trying(define)

    assert await same(program) == "WorkflowValidationError"


async def test_b01_a_step_may_return_none():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def note(self, ev: w.StartEvent) -> None:
                return None

            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent(result="done")

        return await Flow().run()

    assert await same(program) == "done"


async def test_b01_unions_and_optionals_are_read_in_both_spellings():
    async def program(w):
        class A(w.Event):
            n: int

        class B(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> Optional[A | B]:  # noqa: UP045
                return A(n=1) if ev.pick == "a" else B(n=2)

            @w.step
            async def end(self, ev: A | B) -> w.StopEvent | None:
                return w.StopEvent(result=(type(ev).__name__, ev.n))

        return [await Flow().run(pick="a"), await Flow().run(pick="b")]

    assert await same(program) == [("A", 1), ("B", 2)]


async def test_b01_several_event_parameters_are_a_join():
    async def program(w):
        class A(w.Event):
            n: int

        class B(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def left(self, ev: w.StartEvent) -> A:
                return A(n=1)

            @w.step
            async def right(self, ev: w.StartEvent) -> B:
                return B(n=2)

            @w.step
            async def join(self, a: A, b: B) -> w.StopEvent:
                return w.StopEvent(result=(a.n, b.n))

        return await Flow().run()

    assert await same(program) == (1, 2)


async def test_b01_a_join_takes_no_unions():
    async def program(w):
        class A(w.Event): ...

        class B(w.Event): ...

        async def join(self, a: A | B, b: B) -> w.StopEvent: ...

        def define():
            type("Flow", (w.Workflow,), {"join": w.step(join)})

        return trying(define)

    assert await same(program) == "WorkflowValidationError"


async def test_b01_annotations_may_be_written_in_quotes():
    async def program(w):
        class Found(w.Event):
            n: int

        StopEvent = w.StopEvent  # which the quotes below name

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> "Found":
                return Found(n=ev.n)

            @w.step
            async def end(self, ev: "Found") -> "StopEvent":
                return w.StopEvent(result=ev.n)

        return await Flow().run(n=7)

    assert await same(program) == 7


# -- B2: what else a step takes ----------------------------------------------------


async def test_b02_the_context_goes_by_its_annotation_at_any_place():
    async def program(w):
        class State(w.DictState): ...

        class Found(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent, anything: w.Context) -> Found:
                await anything.store.set("n", 1)
                return Found()

            @w.step
            async def end(self, context: w.Context[State], ev: Found) -> w.StopEvent:
                return w.StopEvent(result=await context.store.get("n"))

        return await Flow().run()

    assert await same(program) == 1


async def test_b02_other_parameters_keep_their_defaults_and_resources_are_given():
    async def program(w):
        made = []

        def make_client():
            made.append("client")
            return {"url": "there"}

        class Flow(w.Workflow):
            @w.step
            async def begin(
                self,
                ev: w.StartEvent,
                client: Annotated[dict, w.Resource(make_client)],
                limit: int = 3,
            ) -> w.StopEvent:
                return w.StopEvent(result=(client["url"], limit, made))

        return await Flow().run()

    assert await same(program) == ("there", 3, ["client"])


async def test_b02_a_context_without_annotation_is_refused_at_once():
    # On purpose: LlamaIndex lets it pass and fails in the middle of a run.
    async def program(w):
        def define():
            class Flow(w.Workflow):
                @w.step
                async def begin(self, ctx, ev: w.StartEvent) -> w.StopEvent:
                    return w.StopEvent()

            return Flow

        made = trying(define)
        return made if not isinstance(made, type) else await made(timeout=1).run()

    theirs, ours = await on_both(program)
    assert theirs == "TypeError"
    assert ours == "WorkflowValidationError" and "ctx: Context" in ours.text


# -- B3: free functions ------------------------------------------------------------


async def test_b03_free_functions_join_the_workflow_they_name():
    async def program(w):
        class Found(w.Event):
            n: int

        class Flow(w.Workflow): ...

        @w.step(workflow=Flow)
        async def begin(ev: w.StartEvent) -> Found:
            return Found(n=ev.n + 1)

        @w.step(workflow=Flow)
        async def end(ctx: w.Context, ev: Found) -> w.StopEvent:
            return w.StopEvent(result=ev.n)

        return await Flow().run(n=1)

    assert await same(program) == 2


async def test_b03_wrong_steps_are_refused():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent: ...

        def without_workflow():
            @w.step
            async def lonely(ev: w.StartEvent) -> w.StopEvent: ...

        def same_name():
            @w.step(workflow=Flow)
            async def begin(ev: w.StartEvent) -> w.StopEvent: ...

        async def plain(ev: w.StartEvent) -> w.StopEvent: ...

        def workers(n):
            @w.step(num_workers=n, workflow=Flow)
            async def more(ev: w.StartEvent) -> w.StopEvent: ...

        return [
            trying(without_workflow),
            trying(same_name),
            trying(Flow.add_step, plain),
            trying(workers, 0),
            trying(workers, "2"),
        ]

    assert await same(program) == ["WorkflowValidationError"] * 5


async def test_b03_a_subclass_overrides_a_step_of_its_base():
    async def program(w):
        class Found(w.Event):
            by: str

        class Base(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> Found:
                return Found(by="base")

            @w.step
            async def end(self, ev: Found) -> w.StopEvent:
                return w.StopEvent(result=ev.by)

        class Child(Base):
            @w.step
            async def begin(self, ev: w.StartEvent) -> Found:
                return Found(by="child")

        return [await Base().run(), await Child().run()]

    assert await same(program) == ["base", "child"]


async def test_b03_a_step_stays_callable():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def double(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent(result=ev.n * 2)

        return (await Flow().double(w.StartEvent(n=4))).result

    assert await same(program) == 8


async def test_b03_a_step_may_be_named_like_a_method_of_workflows():
    async def program(w):
        class Draft(w.Event):
            text: str

        class Checked(w.Event):
            text: str

        class Flow(w.Workflow):
            @w.step
            async def compile(self, ev: w.StartEvent) -> Draft:
                return Draft(text=f"compile {self.label}")

            @w.step
            async def validate(self, ev: Draft) -> Checked:
                return Checked(text=f"{ev.text}, validate")

            @w.step
            async def state_type(self, ev: Checked) -> w.StopEvent:
                return w.StopEvent(result=f"{ev.text}, state_type")

        class Derived(Flow):
            @w.step
            async def validate(self, ev: Draft) -> Checked:
                return Checked(text=f"{ev.text}, validate again")

        results = []
        for kind in (Flow, Derived):
            flow = kind()
            flow.label = kind.__name__
            results.append(await flow.run())
        return results

    assert await same(program) == [
        "compile Flow, validate, state_type",
        "compile Derived, validate again, state_type",
    ]


# -- B4: the constructor -----------------------------------------------------------


async def test_b04_the_constructor_wants_one_start_and_one_stop():
    async def program(w):
        class Mine(w.StartEvent): ...

        class End(w.StopEvent): ...

        class Middle(w.Event): ...

        class NoStart(w.Workflow):
            @w.step
            async def only(self, ev: Middle) -> w.StopEvent: ...

        class NoStop(w.Workflow):
            @w.step
            async def only(self, ev: w.StartEvent) -> Middle: ...

        class TwoStarts(w.Workflow):
            @w.step
            async def one(self, ev: w.StartEvent) -> w.StopEvent: ...
            @w.step
            async def two(self, ev: Mine) -> w.StopEvent: ...

        class TwoStops(w.Workflow):
            @w.step
            async def one(self, ev: w.StartEvent) -> w.StopEvent | End: ...

        return [trying(kind) for kind in (NoStart, NoStop, TwoStarts, TwoStops)]

    assert await same(program) == ["WorkflowConfigurationError"] * 4


async def test_b04_the_constructor_leaves_the_rest_of_the_graph_for_later():
    async def program(w):
        class Never(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent: ...
            @w.step
            async def lost(self, ev: Never) -> w.StopEvent: ...

        made = Flow()
        return [type(made).__name__, trying(made.run), trying(made.validate)]

    assert await same(program) == ["Flow", *["WorkflowValidationError"] * 2]


async def test_b04_the_constructor_refuses_unknown_checks_and_limits():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent: ...

        return [
            trying(Flow, skip_graph_checks={"spelling"}),
            trying(Flow, num_concurrent_runs=0),
            trying(Flow, num_concurrent_runs=True),
            type(trying(Flow, skip_graph_checks={"reachability"})).__name__,
        ]

    assert await same(program) == [*["WorkflowValidationError"] * 3, "Flow"]


async def test_b04_what_a_workflow_says_about_itself():
    async def program(w):
        class Begin(w.StartEvent):
            topic: str

        class Middle(w.Event): ...

        class End(w.StopEvent):
            text: str

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: Begin) -> Middle: ...
            @w.step
            async def end(self, ev: Middle) -> End: ...

        flow = Flow(workflow_name="mine")
        return [
            flow.workflow_name,
            flow.start_event_class is Begin,
            flow.stop_event_class is End,
            {kind.__name__ for kind in flow.events},
        ]

    assert await same(program) == ["mine", True, True, {"Begin", "Middle", "End"}]


async def test_b04_the_name_of_a_workflow_is_that_of_its_class():
    # On purpose: names are read by people; the module and the function stay out.
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent: ...

        return Flow().workflow_name

    theirs, ours = await on_both(program)
    assert theirs.endswith("<locals>.program.<locals>.Flow")
    assert ours == "Flow"


async def test_b04_runtimes_are_not_known():
    # On purpose: where steps run is an executor, what is kept is a journal.
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent: ...

        return trying(Flow, runtime=object())

    theirs, ours = await on_both(program)
    assert theirs == "AttributeError"  # which a real runtime has
    assert ours == "WorkflowValidationError" and "executor=" in ours.text


# -- B5: the graph -----------------------------------------------------------------


async def test_b05_a_graph_with_holes_is_refused():
    async def program(w):
        class A(w.Event): ...

        class B(w.Event): ...

        class Consumed(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent: ...
            @w.step
            async def lost(self, ev: A) -> w.StopEvent: ...

        class Produced(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent | A: ...

        class Stopped(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent: ...
            @w.step
            async def more(self, ev: w.StopEvent) -> None: ...

        class Unreachable(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent: ...
            @w.step
            async def ping(self, ev: A) -> B: ...
            @w.step
            async def pong(self, ev: B) -> A: ...

        kinds = (Consumed, Produced, Stopped, Unreachable)
        return [trying(kind().validate) for kind in kinds]

    assert await same(program) == ["WorkflowValidationError"] * 4


async def test_b05_validate_says_whether_a_person_takes_part():
    async def program(w):
        class Plain(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent: ...

        class Asking(w.Workflow):
            @w.step
            async def ask(self, ev: w.StartEvent) -> w.InputRequiredEvent: ...
            @w.step
            async def hear(self, ev: w.HumanResponseEvent) -> w.StopEvent: ...

        return [Plain().validate(), Asking().validate()]

    assert await same(program) == [False, True]


async def test_b05_validation_can_be_turned_off_or_narrowed():
    async def program(w):
        class A(w.Event): ...

        class B(w.Event): ...

        class Unreachable(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent(result="done")

            @w.step
            async def ping(self, ev: A) -> B: ...
            @w.step
            async def pong(self, ev: B) -> A: ...

        return [
            await Unreachable(disable_validation=True).run(),
            await Unreachable(skip_graph_checks={"reachability", "dead_end"}).run(),
        ]

    assert await same(program) == ["done", "done"]


async def test_b05_a_step_can_be_passed_over_alone():
    async def program(w):
        class A(w.Event): ...

        class B(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent(result="done")

            @w.step(skip_graph_checks=["reachability", "dead_end"])
            async def ping(self, ev: A) -> B: ...
            @w.step(skip_graph_checks=["reachability", "dead_end"])
            async def pong(self, ev: B) -> A: ...

        return await Flow().run()

    assert await same(program) == "done"


async def test_b05_a_step_added_later_is_checked_again():
    async def program(w):
        class Never(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent(result=1)

        flow = Flow()
        before = await flow.run()

        @w.step(workflow=Flow)
        async def lost(ev: Never) -> w.StopEvent: ...

        return [before, trying(flow.run)]

    assert await same(program) == [1, "WorkflowValidationError"]


async def test_b05_a_sent_event_must_stand_in_the_return_annotation():
    async def program(w):
        class A(w.Event): ...

        class Silent(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> None:
                ctx.send_event(A())

            @w.step
            async def end(self, ev: A) -> w.StopEvent: ...

        return trying(Silent().run)

    assert await same(program) == "WorkflowValidationError"


async def test_b05_a_step_may_say_that_it_returns_any_event():
    # On purpose: what it returns must be taken by a step, all the same.
    async def program(w):
        class Found(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.Event:
                return Found()

            @w.step
            async def end(self, ev: Found) -> w.StopEvent:
                return w.StopEvent(result="found")

        async def whole():
            return await Flow().run()

        return await ending(whole())

    theirs, ours = await on_both(program)
    assert theirs == "WorkflowValidationError"
    assert ours == "found"


async def test_b05_a_side_branch_may_end_in_none():
    # On purpose: a branch that writes a log needs no event to end with.
    async def program(w):
        class Entry(w.Event):
            text: str

        class Written(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(
                self, ctx: w.Context, ev: w.StartEvent
            ) -> Entry | w.StopEvent:
                ctx.send_event(Entry(text="begun"))
                return w.StopEvent(result="done")

            @w.step
            async def write(self, ev: Entry) -> Written:
                return Written()

            @w.step
            async def count(self, ev: Written) -> None: ...

        handler = trying(Flow().run)
        return await ending(handler) if hasattr(handler, "ctx") else handler

    theirs, ours = await on_both(program)
    assert theirs == "WorkflowValidationError" and "dead_end" in theirs.text
    assert ours == "done"


@pytest.mark.parametrize("trouble", ["two wildcards", "unknown step", "covers itself"])
async def test_b05_catch_error_steps_may_not_contradict_each_other(trouble):
    async def program(w):
        given = {
            "two wildcards": (None, None),
            "unknown step": (["nobody"], None),
            "covers itself": (["second"], None),
        }[trouble]

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent: ...
            @w.catch_error(for_steps=given[0])
            async def first(self, ev: w.StepFailedEvent) -> w.StopEvent: ...
            @w.catch_error(for_steps=given[1])
            async def second(self, ev: w.StepFailedEvent) -> w.StopEvent: ...

        return trying(Flow().run)

    assert await same(program) == "WorkflowValidationError"
