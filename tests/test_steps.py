"""What `@step` reads from a signature, and how it says what is wrong with one."""

import pytest

from stepwell import Context, Event, StartEvent, StopEvent, Workflow, step
from stepwell.errors import StepwellError, WorkflowValidationError


def refusal(source: str) -> str:
    """The message of the error that defining the step raises."""
    namespace = {name: globals()[name] for name in ("Context", "Event", "StartEvent")}
    namespace |= {"StopEvent": StopEvent, "Workflow": Workflow, "step": step}
    with pytest.raises(WorkflowValidationError) as caught:
        exec(source, namespace)
    assert isinstance(caught.value, StepwellError)
    return str(caught.value)


def in_class(body: str) -> str:
    return "class Flow(Workflow):\n    @step\n" + "\n".join(
        f"    {line}" for line in body.splitlines()
    )


def test_no_annotations_at_all_names_the_step_and_how_to_write_it():
    said = refusal(in_class("async def begin(self, ev): ..."))
    assert "`begin`" in said and "`ev` has no annotation" in said
    assert "ev: StartEvent" in said


def test_unannotated_context():
    said = refusal(in_class("async def begin(self, ctx, ev: StartEvent) -> None: ..."))
    assert "`ctx` has no annotation" in said and "ctx: Context" in said


def test_no_return_annotation():
    said = refusal(in_class("async def begin(self, ev: StartEvent): ..."))
    assert "no return annotation" in said and "-> StopEvent" in said


def test_no_event_parameter():
    said = refusal(in_class("async def begin(self, ctx: Context) -> StopEvent: ..."))
    assert "no parameter is annotated with an event class" in said


def test_a_union_among_several_event_parameters():
    source = "async def b(self, a: StartEvent, c: Event | StopEvent) -> None: ..."
    said = refusal(in_class(source))
    assert "union" in said and "single class" in said


def test_a_parameter_that_nothing_can_be_given_for():
    said = refusal(in_class("async def b(self, ev: StartEvent, k: int) -> None: ..."))
    assert "parameter `k`" in said and "default" in said


def test_a_return_annotation_that_is_no_event():
    said = refusal(in_class("async def b(self, ev: StartEvent) -> str: ..."))
    assert "str" in said and "StopEvent(result=" in said


def test_a_name_that_is_not_defined():
    said = refusal(in_class('async def b(self, ev: "Missing") -> StopEvent: ...'))
    assert "'Missing'" in said and "not defined" in said


def test_a_generator():
    said = refusal(in_class("async def b(self, ev: StartEvent) -> StopEvent: yield 1"))
    assert "generator" in said and "write_event_to_stream" in said


def test_a_free_function_without_a_workflow():
    said = refusal("@step\nasync def b(ev: StartEvent) -> StopEvent: ...")
    assert "@step(workflow=" in said


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, "4"])
def test_num_workers_must_be_a_positive_whole_number(workers):
    with pytest.raises(WorkflowValidationError, match="num_workers"):

        @step(workflow=Workflow, num_workers=workers)
        async def begin(ev: StartEvent) -> StopEvent: ...


def test_a_retry_policy_without_next():
    with pytest.raises(WorkflowValidationError, match=r"stepwell\.retry"):

        @step(workflow=Workflow, retry_policy=3)
        async def begin(ev: StartEvent) -> StopEvent: ...


async def test_string_annotations_and_classes_of_the_enclosing_function_resolve():
    class Mid(Event):
        n: int

    class Flow(Workflow):
        class Inner(Event):
            n: int

        @step
        async def begin(self, ev: "StartEvent") -> "Mid | None":
            return Mid(n=1)

        @step
        async def middle(self, ev: "Mid") -> "Inner":
            return Flow.Inner(n=ev.n + 1)

        @step
        async def end(self, ev: Inner) -> "StopEvent":
            return StopEvent(result=ev.n)

    assert await Flow().run() == 2


async def test_postponed_annotations_resolve():
    source = (
        "from __future__ import annotations\n"
        "class Mid(Event):\n    pass\n"
        "class Flow(Workflow):\n"
        "    @step\n"
        "    async def begin(self, ctx: Context, ev: StartEvent) -> Mid | None:\n"
        "        return Mid()\n"
        "    @step\n"
        "    async def end(self, ev: Mid) -> StopEvent:\n"
        "        return StopEvent(result='postponed')\n"
    )
    namespace = {
        "Context": Context,
        "Event": Event,
        "StartEvent": StartEvent,
        "StopEvent": StopEvent,
        "Workflow": Workflow,
        "step": step,
        "__name__": __name__,
    }
    exec(source, namespace)
    assert await namespace["Flow"]().run() == "postponed"


async def test_context_may_stand_anywhere_and_have_any_name():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent, where: Context) -> StopEvent:
            await where.set("x", 1)
            return StopEvent(result=await where.get("x"))

    assert await Flow().run() == 1


async def test_parameters_with_a_default_are_left_at_it():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent, k: int = 7) -> StopEvent:
            return StopEvent(result=k)

    assert await Flow().run() == 7


async def test_a_step_stays_callable_by_itself():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=ev.x)

    assert (await Flow().begin(StartEvent(x=4))).result == 4


async def test_free_functions_become_steps_and_see_no_self():
    class Flow(Workflow):
        pass

    @step(workflow=Flow)
    async def begin(ev: StartEvent) -> StopEvent:
        return StopEvent(result=ev.x + 1)

    assert await Flow().run(x=1) == 2


def test_an_undecorated_function_is_no_step():
    async def plain(ev: StartEvent) -> StopEvent: ...

    with pytest.raises(WorkflowValidationError, match="not decorated with @step"):
        Workflow.add_step(plain)


async def test_a_step_defined_again_in_its_cell_replaces_the_old_one(caplog):
    caplog.set_level("INFO", "stepwell.redefined")

    class Flow(Workflow):
        pass

    def cell(answer):
        @step(workflow=Flow)
        async def begin(ev: StartEvent) -> StopEvent:
            return StopEvent(result=answer)

    cell("first")
    flow = Flow()
    assert await flow.run() == "first"
    cell("second")
    assert await flow.run() == "second", "an instance made before sees the new step"
    assert caplog.messages == ["step begin of Flow replaced."]


def test_two_different_steps_of_one_name_are_refused():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent: ...

    with pytest.raises(WorkflowValidationError, match="has a step `begin` already"):

        @step(workflow=Flow)
        async def begin(ev: StartEvent) -> StopEvent: ...


async def test_a_subclass_overrides_a_step_and_leaves_the_base_alone():
    class Base(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result="base")

    class Derived(Base):
        @step
        async def extra(self, ev: StartEvent) -> None: ...

        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result="derived")

    assert await Derived().run() == "derived"
    assert await Base().run() == "base"
