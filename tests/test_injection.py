"""What steps are given besides events: resources, as the engine hands them out."""

import asyncio
import json
import threading
from typing import Annotated

import pytest
from pydantic import BaseModel

from stepwell import (
    Context,
    Event,
    Resource,
    ResourceConfig,
    ResourceManager,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    catch_error,
    retry_policy,
    step,
    wait_none,
)
from stepwell.errors import StepTimeoutError, WorkflowValidationError
from stepwell.testing import VirtualClock


class Item(Event):
    n: int = 0


class Client:
    """Counts how many of its kind were made."""

    made = 0

    def __init__(self, name="client"):
        type(self).made += 1
        self.name = name


@pytest.fixture(autouse=True)
def count_from_zero():
    Client.made = 0


def make_client():
    return Client()


async def make_client_later():
    await asyncio.sleep(0)
    return Client("later")


class Settings(BaseModel):
    model: str
    retries: int = 1


# -- what a step gets ---------------------------------------------------------------


@pytest.mark.parametrize("factory", [make_client, make_client_later, Client])
async def test_a_step_is_given_what_a_factory_makes(factory):
    class Flow(Workflow):
        @step
        async def begin(
            self, ev: StartEvent, client: Annotated[Client, Resource(factory)]
        ) -> StopEvent:
            return StopEvent(result=client.name)

    assert await Flow().run() in ("client", "later")


async def test_a_resource_may_stand_anywhere_beside_event_and_context():
    class Flow(Workflow):
        @step
        async def begin(
            self,
            client: Annotated[Client, Resource(make_client)],
            ctx: Context,
            other: Annotated[Client, Resource(make_client_later)],
            ev: StartEvent,
            *,
            third: Annotated[Client, Resource(Client)],
        ) -> StopEvent:
            await ctx.set("name", client.name)
            names = await ctx.get("name"), other.name, third.name, ev.x
            return StopEvent(result=names)

    assert await Flow().run(x=1) == ("client", "later", "client", 1)


async def test_a_plain_def_step_is_given_resources_in_its_thread():
    class Flow(Workflow):
        @step
        def begin(
            self, ev: StartEvent, client: Annotated[Client, Resource(make_client_later)]
        ) -> StopEvent:
            assert threading.current_thread() is not threading.main_thread()
            return StopEvent(result=client.name)

    assert await Flow().run() == "later"


async def test_a_free_function_is_given_resources():
    class Flow(Workflow):
        pass

    @step(workflow=Flow)
    async def begin(
        ev: StartEvent, client: Annotated[Client, Resource(make_client)]
    ) -> StopEvent:
        return StopEvent(result=client.name)

    assert await Flow().run() == "client"


async def test_a_handler_of_failures_is_given_resources():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            raise OSError

        @catch_error
        async def recover(
            self, ev: StepFailedEvent, client: Annotated[Client, Resource(make_client)]
        ) -> StopEvent:
            return StopEvent(result=client.name)

    assert await Flow().run() == "client"


async def test_a_step_that_takes_a_list_is_given_resources():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=1), Item(n=2)]

        @step
        async def end(
            self, items: list[Item], client: Annotated[Client, Resource(make_client)]
        ) -> StopEvent:
            return StopEvent(result=(len(items), client.name))

    assert await Flow().run() == (2, "client")


async def test_annotations_in_quotes_find_the_names_around_the_step():
    class Local:
        pass

    def make_local() -> "Local":
        return Local()

    def make_pair(local: "Annotated[Local, Resource(make_local)]"):
        return (local, "pair")

    class Flow(Workflow):
        @step
        async def begin(
            self,
            ev: "StartEvent",
            local: "Annotated[Local, Resource(make_local)]",
            pair: "Annotated[tuple, Resource(make_pair)]",
        ) -> "StopEvent":
            return StopEvent(result=pair == (local, "pair"))

    assert await Flow().run() is True


async def test_a_step_called_by_itself_takes_its_resources_as_arguments():
    class Flow(Workflow):
        @step
        async def begin(
            self, ev: StartEvent, client: Annotated[Client, Resource(make_client)]
        ) -> StopEvent:
            return StopEvent(result=client.name)

    stop = await Flow().begin(StartEvent(), client=Client("by hand"))
    assert stop.result == "by hand"


async def test_a_subclass_inherits_what_its_steps_are_given():
    class Base(Workflow):
        @step
        async def begin(
            self, ev: StartEvent, client: Annotated[Client, Resource(make_client)]
        ) -> StopEvent:
            return StopEvent(result=client.name)

    class Derived(Base):
        pass

    assert await Derived().run() == "client"


# -- how often it is made -----------------------------------------------------------


def keeping(keep):
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(3)]

        @step
        async def work(
            self,
            ctx: Context,
            ev: Item,
            client: Annotated[Client, Resource(make_client_later, cache=keep)],
            again: Annotated[Client, Resource(make_client_later, cache=keep)],
        ) -> StopEvent | None:
            assert client is again
            done = ctx.collect_events(ev, [Item] * 3)
            return StopEvent(result=client) if done else None

    return Flow


async def test_a_kept_resource_is_made_once_for_all_runs_of_an_instance():
    flow = keeping(True)()
    assert await flow.run() is await flow.run()
    assert Client.made == 1


async def test_another_instance_makes_its_own():
    flow = keeping(True)
    assert await flow().run() is not await flow().run()
    assert Client.made == 2


async def test_what_is_not_kept_is_made_once_for_each_call():
    flow = keeping(False)()
    await flow.run()
    assert Client.made == 3
    await flow.run()
    assert Client.made == 6


async def test_what_is_not_kept_is_made_anew_for_each_attempt():
    class Flow(Workflow):
        @step(retry_policy=retry_policy(wait=wait_none()))
        async def begin(
            self, ev: StartEvent, client: Annotated[Client, Resource(Client, False)]
        ) -> StopEvent:
            if Client.made < 3:
                raise OSError
            return StopEvent(result=Client.made)

    assert await Flow().run() == 3


def test_a_kept_resource_serves_one_event_loop_after_another():
    flow = keeping(True)()
    assert flow.run_sync() is flow.run_sync()
    assert Client.made == 1


# -- what goes wrong ----------------------------------------------------------------


async def test_a_factory_that_raises_is_named_with_its_step():
    def broken():
        raise KeyError("no such host")

    class Flow(Workflow):
        @step
        async def begin(
            self, ev: StartEvent, client: Annotated[Client, Resource(broken)]
        ) -> StopEvent: ...

    with pytest.raises(KeyError) as caught:
        await Flow().run()
    resource, where = caught.value.__notes__
    assert "while making the resource" in resource and "broken" in resource
    assert where == "in step `begin` of Flow, on StartEvent, attempt 1"


async def test_a_factory_that_fails_is_called_again_by_the_step_s_policy():
    made = []

    def flaky():
        made.append(1)
        if len(made) < 3:
            raise OSError
        return "third"

    class Flow(Workflow):
        @step(retry_policy=retry_policy(wait=wait_none()))
        async def begin(
            self, ev: StartEvent, value: Annotated[str, Resource(flaky)]
        ) -> StopEvent:
            return StopEvent(result=value)

    assert await Flow().run() == "third"


def test_making_a_resource_counts_towards_the_step_s_timeout():
    async def slow():
        await asyncio.sleep(100)

    class Flow(Workflow):
        @step(timeout=5)
        async def begin(
            self, ev: StartEvent, value: Annotated[str, Resource(slow)]
        ) -> StopEvent: ...

    async def main():
        with pytest.raises(StepTimeoutError):
            await Flow().run()

    clock = VirtualClock()
    clock.run(main())
    assert clock.now == pytest.approx(5)


async def test_resources_in_a_circle_are_refused_before_a_run_begins():
    def one(two: "Annotated[int, Resource(two)]"): ...

    def two(one: "Annotated[int, Resource(one)]"): ...

    class Flow(Workflow):
        @step
        async def begin(
            self, ev: StartEvent, value: Annotated[int, Resource(one)]
        ) -> StopEvent: ...

    with pytest.raises(WorkflowValidationError) as caught:
        Flow().run()
    said = str(caught.value)
    assert "step `begin`, parameter `value`" in said and "circular" in said


async def test_a_factory_that_lacks_something_is_refused_before_a_run_begins():
    def needy(key): ...

    class Flow(Workflow):
        @step
        async def begin(
            self, ev: StartEvent, value: Annotated[int, Resource(needy)]
        ) -> StopEvent: ...

    with pytest.raises(WorkflowValidationError, match="cannot be given `key`"):
        Flow().run()


# -- settings from files ------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Configured(Workflow):
    @step
    async def begin(
        self,
        ev: StartEvent,
        settings: Annotated[Settings, ResourceConfig("settings.json", "llm.fast")],
    ) -> StopEvent:
        return StopEvent(result=settings.model)


def write(folder, **settings):
    text = json.dumps({"llm": {"fast": settings}})
    (folder / "settings.json").write_text(text, encoding="utf-8")


async def test_a_step_is_given_settings_from_a_part_of_a_file(folder):
    write(folder, model="small")
    assert await Configured().run() == "small"


async def test_a_file_is_read_once_by_an_instance(folder):
    flow = Configured()
    write(folder, model="small")
    await flow.run()
    write(folder, model="large")
    assert await flow.run() == "small"
    assert await Configured().run() == "large"


async def test_a_missing_file_is_told_before_a_run_begins(folder):
    with pytest.raises(WorkflowValidationError, match="there is no file"):
        Configured().run()


async def test_a_file_that_is_gone_later_is_told_by_the_step(folder):
    class Flow(Configured):
        @step
        async def begin(self, ev: StartEvent) -> Item:
            (folder / "settings.json").unlink()
            return Item()

        @step
        async def end(
            self,
            ev: Item,
            settings: Annotated[Settings, ResourceConfig("settings.json", "llm.fast")],
        ) -> StopEvent: ...

    write(folder, model="small")
    with pytest.raises(FileNotFoundError, match="there is no file") as caught:
        await Flow().run()
    assert "in step `end` of Flow" in caught.value.__notes__[-1]


async def test_files_are_looked_into_once_for_all_runs_of_an_instance(folder):
    flow = Configured()
    write(folder, model="small")
    await flow.run()
    (folder / "settings.json").unlink()
    assert await flow.run() == "small"


def test_validate_looks_into_files(folder):
    with pytest.raises(WorkflowValidationError) as caught:
        Configured().validate()
    assert "step `begin`, parameter `settings`: there is no file" in str(caught.value)
    write(folder, retries=1)
    with pytest.raises(WorkflowValidationError, match="model: Field required"):
        Configured().validate()
    write(folder, model="small")
    assert Configured().validate() is False


def test_validate_may_be_told_to_leave_files_alone(folder):
    assert Configured().validate(validate_resource_configs=False) is False


# -- validate_resources -------------------------------------------------------------


class Checked(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> Item:
        return Item()

    @step
    async def one(
        self, ev: Item, client: Annotated[Client, Resource(lambda: 1 / 0)]
    ) -> StopEvent: ...

    @step
    async def two(
        self, ev: Item, client: Annotated[Client, Resource(make_client_later)]
    ) -> StopEvent: ...


def test_validate_makes_nothing_unless_it_is_asked_to():
    assert Checked().validate() is False
    assert Client.made == 0


def test_validate_makes_every_resource_and_names_those_that_fail():
    with pytest.raises(WorkflowValidationError) as caught:
        Checked().validate(validate_resources=True)
    said = str(caught.value)
    assert "step `one`, parameter `client`: ZeroDivisionError" in said
    assert "`two`" not in said
    assert Client.made == 1


async def test_validate_makes_resources_inside_a_running_loop_too():
    with pytest.raises(WorkflowValidationError, match="ZeroDivisionError"):
        Checked().validate(validate_resources=True)


async def test_what_validate_made_is_not_what_runs_are_given():
    flow = keeping(True)()
    flow.validate(validate_resources=True)
    assert Client.made == 1
    await flow.run()
    assert Client.made == 2


# -- a manager of one's own ---------------------------------------------------------


async def test_what_a_manager_was_given_is_given_to_steps():
    manager = ResourceManager()
    await manager.set("make_client", Client("by hand"))

    class Flow(Workflow):
        @step
        async def begin(
            self, ev: StartEvent, client: Annotated[Client, Resource(make_client)]
        ) -> StopEvent:
            return StopEvent(result=client.name)

    assert await Flow(resource_manager=manager).run() == "by hand"
    assert await Flow().run() == "client"


async def test_two_workflows_may_share_a_manager():
    manager = ResourceManager()
    flow = keeping(True)
    one = await flow(resource_manager=manager).run()
    assert await flow(resource_manager=manager).run() is one
    assert one in manager.get_all().values()


def test_what_was_set_by_hand_is_neither_made_nor_looked_for_by_validate(folder):
    manager = ResourceManager()
    asyncio.run(manager.set("settings.json.llm.fast", Settings(model="set")))
    flow = Configured(resource_manager=manager)
    assert flow.validate(validate_resources=True) is False
    assert flow.run_sync() == "set"


async def test_a_child_makes_its_own_resources():
    child = keeping(True)()

    class Parent(Workflow):
        @step
        async def begin(
            self,
            ctx: Context,
            ev: StartEvent,
            client: Annotated[Client, Resource(make_client_later)],
        ) -> StopEvent:
            return StopEvent(result=await ctx.run(child) is client)

    assert await Parent().run() is False
