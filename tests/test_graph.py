"""The checks of a graph before it runs, and its picture as data."""

import pytest

from stepwell import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    get_workflow_representation,
    step,
)
from stepwell.errors import WorkflowConfigurationError, WorkflowValidationError


class Mid(Event):
    pass


class Middle(Event):
    pass


def test_a_workflow_without_a_first_step_cannot_be_made():
    class Flow(Workflow):
        @step
        async def end(self, ev: Mid) -> StopEvent: ...

    with pytest.raises(WorkflowConfigurationError, match="no step that accepts a St"):
        Flow()


def test_a_workflow_without_a_last_step_cannot_be_made():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> None: ...

    with pytest.raises(WorkflowConfigurationError, match="returns a StopEvent"):
        Flow()


def test_two_classes_of_start_event_are_refused():
    class OtherStart(StartEvent):
        pass

    class Flow(Workflow):
        @step
        async def a(self, ev: StartEvent) -> StopEvent: ...

        @step
        async def b(self, ev: OtherStart) -> StopEvent: ...

    with pytest.raises(WorkflowConfigurationError, match="StartEvent, OtherStart"):
        Flow()


async def test_an_event_nobody_takes_is_named_with_its_step_and_a_guess():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Mid | StopEvent: ...

        @step
        async def end(self, ev: Middle) -> StopEvent: ...

    with pytest.raises(WorkflowValidationError) as caught:
        Flow().run()
    said = str(caught.value)
    assert "`begin` returns Mid, but no step accepts it. Did you mean Middle?" in said
    assert "`end` waits for Middle, but no step returns it. Did you mean Mid?" in said


async def test_a_step_that_takes_the_stop_event_is_refused():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent: ...

        @step
        async def after(self, ev: StopEvent) -> None: ...

    with pytest.raises(WorkflowValidationError, match="`after` accepts StopEvent"):
        Flow().run()


async def test_an_end_that_cannot_be_reached_is_refused():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> None: ...

        @step
        async def a(self, ev: Mid) -> Middle: ...

        @step
        async def b(self, ev: Middle) -> Mid | StopEvent: ...

    with pytest.raises(WorkflowValidationError, match="`b`, cannot be reached"):
        Flow().run()


async def test_checks_can_be_switched_off():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Mid | StopEvent:
            return StopEvent(result=1)

    with pytest.raises(WorkflowValidationError):
        Flow().validate()
    assert await Flow(disable_validation=True).run() == 1


def test_validate_says_whether_a_person_takes_part():
    class Alone(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent: ...

    class Asking(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> InputRequiredEvent: ...

        @step
        async def end(self, ev: HumanResponseEvent) -> StopEvent: ...

    assert not Alone().validate()
    assert Asking().validate()


async def test_a_side_branch_that_ends_in_nothing_is_allowed():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Mid | Middle]:
            return [Mid(), Middle()]

        @step
        async def log(self, ev: Mid) -> None: ...

        @step
        async def end(self, ev: Middle) -> StopEvent:
            return StopEvent(result="done")

    assert await Flow().run() == "done"


def test_the_picture_has_every_step_event_and_arrow():
    class Flow(Workflow):
        """What it is for."""

        @step(num_workers=2)
        async def begin(self, ev: StartEvent) -> Mid | InputRequiredEvent:
            """First."""

        @step
        async def end(self, ev: Mid | HumanResponseEvent) -> StopEvent: ...

    graph = get_workflow_representation(Flow)
    assert (graph.name, graph.description) == ("Flow", "What it is for.")
    nodes = {node.id: node for node in graph.nodes}
    assert nodes["begin"].num_workers == 2
    assert nodes["begin"].description == "First."
    assert nodes["begin"].signature == (
        "begin(ev: StartEvent) -> Mid | InputRequiredEvent"
    )
    assert nodes["Mid"].event_types == ["Mid", "Event"]
    assert nodes["Mid"].produced_by == ["begin"]
    arrows = {(edge.source, edge.target) for edge in graph.edges}
    assert arrows == {
        ("StartEvent", "begin"),
        ("begin", "Mid"),
        ("begin", "InputRequiredEvent"),
        ("InputRequiredEvent", "external_step"),
        ("external_step", "HumanResponseEvent"),
        ("HumanResponseEvent", "end"),
        ("Mid", "end"),
        ("end", "StopEvent"),
    }
    assert get_workflow_representation(Flow(workflow_name="Mine")).name == "Mine"


async def test_an_event_of_no_class_of_its_own_may_be_returned_and_taken():
    class Bare(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Event:
            return Event(n=1)

        @step
        async def end(self, ev: Event) -> StopEvent:
            return StopEvent(result=ev.n)

    assert await Bare().run() == 1
