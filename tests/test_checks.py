"""The checks of a graph that may be passed over, and steps that can never start."""

import pytest

from stepwell import (
    Context,
    Event,
    HumanResponseEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    catch_error,
    step,
)
from stepwell.errors import WorkflowValidationError


class Mid(Event):
    pass


class Other(Event):
    pass


class Base(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result="done")


def problems(flow):
    """What validating says, or an empty text."""
    try:
        flow.validate()
    except WorkflowValidationError as error:
        return str(error)
    return ""


# -- steps that can never start -----------------------------------------------------


class Island(Base):
    """Two steps that only start each other."""

    @step
    async def one(self, ev: Mid) -> Other: ...

    @step
    async def two(self, ev: Other) -> Mid: ...


def test_steps_that_only_start_each_other_can_never_start():
    said = problems(Island())
    assert "step `one` can never start: the steps that return Mid cannot" in said
    assert "step `two` can never start" in said


def test_a_step_that_starts_itself_alone_can_never_start():
    class Flow(Base):
        @step
        async def again(self, ev: Mid) -> Mid: ...

    assert "step `again` can never start" in problems(Flow())


def test_a_step_that_somebody_outside_may_start_can():
    class Flow(Base):
        @step
        async def again(self, ev: HumanResponseEvent | Mid) -> Mid: ...

    assert problems(Flow()) == ""


def test_what_a_handler_returns_is_reached():
    class Flow(Base):
        @catch_error
        async def recover(self, ev: StepFailedEvent) -> Mid: ...

        @step
        async def after(self, ev: Mid) -> None: ...

    assert problems(Flow()) == ""


def test_steps_that_events_from_outside_may_start_can_with_on_stall_wait():
    assert problems(Island(on_stall="wait")) == ""


# -- passing over checks ------------------------------------------------------------


async def test_a_workflow_may_pass_over_reachability():
    assert await Island(skip_graph_checks={"reachability"}).run() == "done"
    with pytest.raises(WorkflowValidationError):
        Island(skip_graph_checks={"terminal_event"}).run()


def test_a_step_may_pass_over_reachability_alone():
    class Flow(Base):
        @step(skip_graph_checks=["reachability"])
        async def one(self, ev: Mid) -> Other: ...

        @step
        async def two(self, ev: Other) -> Mid: ...

    said = problems(Flow())
    assert "`one`" not in said and "step `two` can never start" in said


def test_the_last_step_may_pass_over_reachability_too():
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> None: ...

        @step(skip_graph_checks=["reachability"])
        async def one(self, ev: Mid) -> Mid | StopEvent: ...

    assert problems(Flow()) == ""


class Dangling(Base):
    @step
    async def extra(self, ev: StartEvent) -> Mid | None: ...


async def test_a_workflow_may_pass_over_events_that_nobody_takes():
    assert "`extra` returns Mid, but no step accepts it" in problems(Dangling())
    assert await Dangling(skip_graph_checks=["terminal_event"]).run() == "done"


def test_a_step_may_pass_over_events_that_nobody_takes():
    class Flow(Dangling):
        @step(skip_graph_checks=["terminal_event"])
        async def extra(self, ev: StartEvent) -> Mid | None: ...

    assert problems(Flow()) == ""


def test_dead_ends_are_allowed_and_their_check_may_be_named():
    class Flow(Base):
        @step(skip_graph_checks=["dead_end"])
        async def side(self, ev: StartEvent) -> Mid: ...

        @step
        async def log(self, ev: Mid) -> None: ...

    assert problems(Flow(skip_graph_checks={"dead_end"})) == ""
    assert problems(Flow()) == ""


def test_what_one_instance_passes_over_another_still_checks():
    assert problems(Island(skip_graph_checks=["reachability"])) == ""
    assert problems(Island()) != ""


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["reachabilty"], "Did you mean reachability?"),
        ("dead_ends", "Did you mean dead_end?"),
        ({"everything"}, "the checks are reachability, terminal_event, dead_end"),
        (3, "names 3"),
        ([None], "names None"),
    ],
)
def test_unknown_checks_are_refused_and_told(names, said):
    with pytest.raises(WorkflowValidationError, match=r"^Base: skip_graph") as caught:
        Base(skip_graph_checks=names)
    assert said in str(caught.value)
    with pytest.raises(WorkflowValidationError, match=r"^step `extra`: skip_graph"):

        @step(workflow=Base, skip_graph_checks=names)
        async def extra(ev: StartEvent) -> None: ...


@pytest.mark.parametrize("none", [None, [], ()])
def test_nothing_may_be_passed_over(none):
    assert problems(Base(skip_graph_checks=none)) == ""
