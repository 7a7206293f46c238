"""What is injected into steps: made once, made in order, and said clearly when not."""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import threading
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from stepwell.errors import WorkflowValidationError
from stepwell.resources import (
    Resource,
    ResourceConfig,
    ResourceDefinition,
    ResourceDescriptor,
    ResourceError,
    ResourceManager,
    find_problems,
)


class Made:
    """A value that is only equal to itself."""

    def __init__(self, *parts: object) -> None:
        self.parts = parts


class Limits(BaseModel):
    retries: int
    name: str = "unnamed"


def wanted(name: str, annotated: Any, names: dict[str, Any]) -> ResourceDefinition:
    """The definition of a parameter, as the reader of signatures makes it."""
    kind, mark = annotated.__origin__, annotated.__metadata__[0]
    return ResourceDefinition.bind(name, mark, kind, names)


def asking(resource: ResourceDescriptor, name: str = "it", **names: Any):
    return ResourceDefinition.bind(name, resource, Made, names)


def config(*arguments: Any, kind: Any = Limits) -> ResourceDefinition:
    return ResourceDefinition.bind("limits", ResourceConfig(*arguments), kind, {})


def only_problem(definition: ResourceDefinition, **options: Any) -> str:
    [problem] = find_problems([definition], **options)
    return problem


async def the_error(definition: ResourceDefinition) -> ResourceError:
    with pytest.raises(ResourceError) as caught:
        await ResourceManager().resolve([definition])
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, WorkflowValidationError)
    return caught.value


def at_the_top() -> Made:
    """Made at the top of the module."""
    return Made()


def with_default(
    one: Annotated[Made, Resource(at_the_top)], two: int = 2, **more: object
) -> Made:
    return Made(one, two, more)


# How values are made


async def test_a_factory_may_be_sync_or_async_or_return_an_awaitable():
    async def later() -> Made:
        return Made("later")

    def future() -> asyncio.Future[str]:
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        ready.set_result("future")
        return ready

    manager = ResourceManager()
    assert isinstance(await manager.get(Resource(at_the_top)), Made)
    assert (await manager.get(Resource(later))).parts == ("later",)
    assert await manager.get(Resource(future)) == "future"


async def test_a_factory_gets_the_resources_it_asks_for_and_keeps_its_defaults():
    values = await ResourceManager().resolve(
        [asking(Resource(with_default), "all"), asking(Resource(at_the_top), "one")]
    )
    assert values["all"].parts == (values["one"], 2, {})


async def test_dependencies_are_made_first_and_all_the_way_down():
    order = []

    def bottom() -> str:
        order.append("bottom")
        return "b"

    async def middle(below: Annotated[str, Resource(bottom)]) -> str:
        order.append("middle")
        return below + "m"

    def top(below: Annotated[str, Resource(middle)]) -> str:
        order.append("top")
        return below + "t"

    values = await ResourceManager().resolve([asking(Resource(top), **locals())])
    assert values == {"it": "bmt"}
    assert order == ["bottom", "middle", "top"]


async def test_classes_methods_partials_and_callable_objects_are_factories():
    class Client:
        def __init__(self, one: Annotated[Made, Resource(at_the_top)]) -> None:
            self.one = one

        def child(self, two: Annotated[Made, Resource(at_the_top)]) -> tuple[Any, Any]:
            return self.one, two

        def __call__(self, three: Annotated[Made, Resource(at_the_top)]) -> Made:
            return three

    manager = ResourceManager()
    one = await manager.get(Resource(at_the_top))
    client = await manager.get(Resource(Client))
    assert client.one is one
    assert await manager.get(Resource(client.child)) == (one, one)
    assert await manager.get(Resource(client)) is one
    assert await manager.get(Resource(dict)) == {}
    partly = await manager.get(Resource(functools.partial(with_default, two=3)))
    assert partly.parts == (one, 3, {})


async def test_what_a_partial_binds_is_not_replaced():
    replaced = functools.partial(with_default, one="bound")
    assert (await ResourceManager().get(Resource(replaced))).parts[0] == "bound"


async def test_a_decorated_factory_is_read_through_its_decorator():
    def loud(factory):
        @functools.wraps(factory)
        def wrapper(*positional, **named):
            return ["loud", factory(*positional, **named)]

        return wrapper

    @loud
    def quiet(one: Annotated[Made, Resource(at_the_top)]) -> Made:
        return one

    said, made = await ResourceManager().get(Resource(quiet))
    assert said == "loud" and isinstance(made, Made)


# How annotations are resolved


async def test_local_names_of_the_step_reach_factories_at_any_depth():
    class Local:
        pass

    def deep() -> Local:
        return Local()

    def middle(local: Annotated[Local, Resource(deep)]) -> list[Local]:
        return [local]

    def top(inner: Annotated[list[Local], Resource(middle)]) -> Any:
        return inner

    definition = wanted("it", Annotated[Any, Resource(top)], locals())
    assert find_problems([definition]) == []
    [made] = (await ResourceManager().resolve([definition]))["it"]
    assert type(made) is Local


async def test_a_factory_of_a_module_sees_its_module_before_the_names_of_the_step():
    other = asking(Resource(with_default), Made=int, at_the_top=lambda: "wrong")
    one, _, _ = (await ResourceManager().resolve([other]))["it"].parts
    assert type(one) is Made


async def test_a_name_that_is_not_there_is_an_error_that_says_it():
    def needs(one: Annotated[Missing, Resource(at_the_top)]) -> Made:  # noqa: F821
        return Made(one)

    definition = asking(Resource(needs))
    said = str(await the_error(definition))
    assert "needs" in said and "'Missing' is not defined" in said
    assert "'Missing' is not defined" in only_problem(definition)


async def test_a_return_annotation_that_is_unknown_does_no_harm():
    def needs(one: Annotated[Made, Resource(at_the_top)]) -> Missing:  # noqa: F821
        return one

    assert isinstance(await ResourceManager().get(Resource(needs)), Made)


async def test_one_descriptor_may_stand_at_two_places_with_two_types(tmp_path):
    class Name(BaseModel):
        name: str

    file = tmp_path / "a.json"
    file.write_text('{"retries": 1, "name": "x"}')
    shared = ResourceConfig(file)
    values = await ResourceManager().resolve(
        [
            ResourceDefinition.bind("limits", shared, Limits, {}),
            ResourceDefinition.bind("name", shared, Name, {}),
        ]
    )
    assert values == {"limits": Limits(retries=1, name="x"), "name": Name(name="x")}


async def test_a_parameter_that_nothing_can_be_given_for_is_named():
    def needs(one: Annotated[Made, Resource(at_the_top)], two, *, three: int) -> Made:
        raise AssertionError("called")

    said = str(await the_error(asking(Resource(needs))))
    assert "needs` cannot be given `two`, `three`" in said
    assert "default" in said
    assert "`two`, `three`" in only_problem(asking(Resource(needs), "mine"))


def test_what_cannot_be_called_is_no_factory():
    with pytest.raises(ResourceError, match="takes a function, not 3"):
        Resource(3)  # type: ignore[arg-type]


# Once, and anew


async def test_a_cached_value_is_made_once_however_many_ask_at_once():
    calls, gate = [], asyncio.Event()

    async def slow() -> Made:
        calls.append(1)
        await gate.wait()
        return Made()

    async def above(one: Annotated[Made, Resource(slow)]) -> Made:
        return one

    manager = ResourceManager()
    asked = [asking(Resource(slow), "a"), asking(Resource(above), "b", slow=slow)]
    tasks = [
        asyncio.ensure_future(manager.resolve(way))
        for way in (asked, asked[::-1], asked[:1], asked[1:])
    ]
    await asyncio.wait(tasks, timeout=0)
    gate.set()
    values = [value for each in await asyncio.gather(*tasks) for value in each.values()]
    assert len(calls) == 1
    assert len(set(map(id, values))) == 1


async def test_another_manager_makes_its_own():
    once = Resource(at_the_top)
    assert await ResourceManager().get(once) is not await ResourceManager().get(once)


async def test_uncached_values_are_new_in_each_call_and_shared_within_one():
    def fresh() -> Made:
        return Made()

    def left(it: Annotated[Made, Resource(fresh, cache=False)]) -> Made:
        return it

    def right(it: Annotated[Made, Resource(fresh, cache=False)]) -> Made:
        return it

    manager, names = ResourceManager(), dict(fresh=fresh)
    diamond = [
        asking(Resource(left, cache=False), "left", **names),
        asking(Resource(right, False), "right", **names),
        asking(Resource(fresh, cache=False), "fresh"),
    ]
    first, second = await manager.resolve(diamond), await manager.resolve(diamond)
    assert first["left"] is first["right"] is first["fresh"]
    assert second["left"] is second["right"] is second["fresh"]
    assert first["left"] is not second["left"]
    uncached = diamond[2].resource
    assert await manager.get(uncached) is not await manager.get(uncached)
    assert manager.get_all() == {}


async def test_factories_of_one_name_do_not_share_a_value():
    def factory(what: str) -> Any:
        def get() -> str:
            return what

        return get

    first, second = factory("first"), factory("second")
    assert first.__qualname__ == second.__qualname__
    manager = ResourceManager()
    assert await manager.get(Resource(first)) == "first"
    assert await manager.get(Resource(second)) == "second"
    assert await manager.get(Resource(first)) == "first"


async def test_a_method_of_one_object_is_one_factory():
    class Pool:
        def connection(self) -> Made:
            return Made()

    manager, pool, other = ResourceManager(), Pool(), Pool()
    one = await manager.get(Resource(pool.connection))
    assert await manager.get(Resource(pool.connection)) is one
    assert await manager.get(Resource(other.connection)) is not one


async def test_what_is_set_by_name_is_given_instead():
    manager, fake = ResourceManager(), Made("fake")
    await manager.set("at_the_top", fake)
    await manager.set("with_default", "also")
    assert await manager.get(Resource(at_the_top, cache=False)) is fake
    assert await manager.get(resource=Resource(with_default)) == "also"
    assert manager.get_all() == {"at_the_top": fake, "with_default": "also"}
    assert manager.overrides == manager.get_all()


async def test_set_wins_over_what_was_made_before():
    manager = ResourceManager()
    made = await manager.get(Resource(at_the_top))
    assert manager.get_all() == {"at_the_top": made} and manager.overrides == {}
    await manager.set("at_the_top", "new")
    assert await manager.get(Resource(at_the_top)) == "new"
    assert manager.get_all() == {"at_the_top": "new"}


# When something goes wrong


async def test_the_error_of_a_factory_is_raised_as_itself_with_its_name():
    def broken() -> Made:
        raise KeyError("no key")

    def above(one: Annotated[Made, Resource(broken)]) -> Made:
        return one

    with pytest.raises(KeyError) as caught:
        await ResourceManager().get(asking(Resource(above), broken=broken).resource)
    [note] = caught.value.__notes__
    assert "resource" in note and "broken" in note and "above" not in note


async def test_a_failure_reaches_all_who_wait_and_is_not_kept():
    gate, outcomes = asyncio.Event(), iter([ValueError("first"), None])
    calls = []

    async def flaky() -> Made:
        calls.append(1)
        await gate.wait()
        if error := next(outcomes):
            raise error
        return Made()

    manager = ResourceManager()
    tasks = [asyncio.ensure_future(manager.get(Resource(flaky))) for _ in range(3)]
    await asyncio.wait(tasks, timeout=0)
    gate.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(error) for error in errors] == ["first"] * 3
    assert len(calls) == 1
    assert isinstance(await manager.get(Resource(flaky)), Made)


@pytest.mark.parametrize("cancelled", [0, 1, 2])
async def test_one_who_waits_may_be_cancelled_and_the_others_get_theirs(cancelled):
    gate = asyncio.Event()

    async def slow() -> Made:
        await gate.wait()
        return Made()

    manager = ResourceManager()
    tasks = [asyncio.ensure_future(manager.get(Resource(slow))) for _ in range(3)]
    await asyncio.wait(tasks, timeout=0)
    tasks[cancelled].cancel()
    await asyncio.wait(tasks[cancelled : cancelled + 1])
    gate.set()
    got = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(got.pop(cancelled), asyncio.CancelledError)
    assert got[0] is got[1] and isinstance(got[0], Made)


# Circles


def circle() -> tuple[ResourceDefinition, ResourceDefinition]:
    async def ping(other: Annotated[Made, Resource(pong)]) -> Made:
        raise AssertionError("called")

    async def pong(other: Annotated[Made, Resource(ping)]) -> Made:
        raise AssertionError("called")

    names = dict(ping=ping, pong=pong)
    return asking(Resource(ping), "a", **names), asking(Resource(pong), "b", **names)


async def test_a_circle_is_an_error_that_names_the_way_round():
    error = await the_error(circle()[0])
    short = [name.rsplit(".", 1)[-1] for name in error.chain]  # type: ignore[attr-defined]
    assert short == ["ping", "pong", "ping"]
    assert " -> ".join(error.chain) in str(error)  # type: ignore[attr-defined]


def test_a_circle_is_found_without_calling_anything_and_told_once():
    [problem] = find_problems(circle(), configs=False)
    assert problem.startswith("parameter `a`: circular") and "ping -> " in problem


async def test_two_who_meet_in_a_circle_do_not_wait_for_each_other():
    begun, gate = [], asyncio.Event()

    async def held() -> None:
        begun.append(1)
        await gate.wait()

    def ping(
        first: Annotated[None, Resource(held, cache=False)],
        other: Annotated[Made, Resource(pong)],
    ) -> Made:
        raise AssertionError("called")

    def pong(
        first: Annotated[None, Resource(held, cache=False)],
        other: Annotated[Made, Resource(ping)],
    ) -> Made:
        raise AssertionError("called")

    manager = ResourceManager()
    names = dict(held=held, ping=ping, pong=pong)
    tasks = [
        asyncio.ensure_future(manager.resolve([asking(Resource(f), **names)]))
        for f in (ping, pong)
    ]
    await asyncio.wait(tasks, timeout=0)
    assert len(begun) == 2
    gate.set()
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(error, ResourceError) and "circular" in str(error)


async def test_asking_for_the_same_resource_side_by_side_is_no_circle():
    gate = asyncio.Event()

    async def shared() -> Made:
        await gate.wait()
        return Made()

    async def one(it: Annotated[Made, Resource(shared)]) -> Made:
        return it

    async def two(it: Annotated[Made, Resource(shared)]) -> Made:
        return it

    manager = ResourceManager()
    tasks = [
        asyncio.ensure_future(manager.resolve([asking(Resource(f), shared=shared)]))
        for f in (one, two)
    ]
    await asyncio.wait(tasks, timeout=0)
    gate.set()
    first, second = await asyncio.gather(*tasks)
    assert first["it"] is second["it"]


# Loops and threads


def test_a_manager_serves_one_event_loop_after_another():
    manager, fresh = ResourceManager(), Resource(at_the_top, cache=False)

    async def ask() -> tuple[Any, Any]:
        return await manager.get(Resource(at_the_top)), await manager.get(fresh)

    first, second = asyncio.run(ask()), asyncio.run(ask())
    assert first[0] is second[0] and first[1] is not second[1]


def test_a_loop_that_is_left_in_the_middle_blocks_no_later_one():
    manager, first = ResourceManager(), True

    async def stuck() -> Made:
        nonlocal first
        if first:
            first = False
            await asyncio.get_running_loop().create_future()
        return Made()

    async def begin() -> asyncio.Task[Any]:
        task = asyncio.ensure_future(manager.get(Resource(stuck)))
        await asyncio.wait([task], timeout=0)
        return task

    loop = asyncio.new_event_loop()
    left = loop.run_until_complete(begin())
    loop.close()
    made = asyncio.run(manager.get(Resource(stuck)))
    assert isinstance(made, Made)
    # Python tells of tasks that are left pending; this one is left on purpose.
    left._log_destroy_pending = False  # type: ignore[attr-defined]
    del left
    gc.collect()
    assert asyncio.run(manager.get(Resource(stuck))) is made


def test_loops_in_two_threads_share_what_is_made_once():
    manager, calls = ResourceManager(), []
    begun, gate = threading.Event(), threading.Event()

    async def slow() -> Made:
        calls.append(1)
        begun.set()
        await asyncio.to_thread(gate.wait)
        return Made()

    got: list[Made] = []

    def ask() -> None:
        got.append(asyncio.run(manager.get(Resource(slow))))

    async def ask_and_open() -> Made:
        waiting = asyncio.ensure_future(manager.get(Resource(slow)))
        await asyncio.wait([waiting], timeout=0)
        gate.set()
        return await waiting

    thread = threading.Thread(target=ask)
    thread.start()
    begun.wait()
    mine = asyncio.run(ask_and_open())
    thread.join()
    assert got == [mine] and len(calls) == 1


# Files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = {"retries": 3, "app": {"limits": {"retries": 5, "name": "in"}, "list": [1]}}
    (tmp_path / "settings.json").write_text(json.dumps(data))
    return tmp_path


async def test_a_model_is_filled_from_a_file_or_a_part_of_it(folder):
    values = await ResourceManager().resolve([config("settings.json")])
    assert values == {"limits": Limits(retries=3)}
    values = await ResourceManager().resolve([config("settings.json", "app.limits")])
    assert values == {"limits": Limits(retries=5, name="in")}


async def test_a_factory_may_ask_for_what_a_file_says(folder):
    def client(limits: Annotated[Limits, ResourceConfig("settings.json")]) -> int:
        return limits.retries

    assert await ResourceManager().get(Resource(client)) == 3


async def test_a_file_is_read_once_by_a_manager_and_again_by_the_next(folder):
    manager = ResourceManager()
    first = await manager.resolve([config("settings.json")])
    (folder / "settings.json").write_text('{"retries": 4}')
    assert await manager.resolve([config("settings.json")]) == first
    second = await ResourceManager().resolve([config("settings.json")])
    assert second == {"limits": Limits(retries=4)}


def test_a_file_that_is_not_named_json_is_refused_when_it_is_written():
    with pytest.raises(ResourceError, match=r"\.json files, not 'settings\.yaml'"):
        ResourceConfig("settings.yaml")


def test_what_is_no_model_is_refused_when_it_is_written():
    with pytest.raises(ResourceError, match=r"pydantic model, not <class 'int'>"):
        config("settings.json", kind=int)


async def test_a_missing_file_is_a_missing_file_and_says_where_it_was_sought(folder):
    error = await the_error(config("seting.json"))
    assert isinstance(error, FileNotFoundError)
    assert "'seting.json'" in str(error) and repr(str(folder)) in str(error)


def test_problems_of_files_are_listed_without_making_anything(folder):
    (folder / "broken.json").write_text("{'a': 1}")
    (folder / "folder.json").mkdir()
    told = {
        "absent.json": "there is no file",
        "broken.json": "line 1 column 2",
        "folder.json": "cannot be read",
    }
    for file, said in told.items():
        problem = only_problem(config(file))
        assert problem.startswith("parameter `limits`: ")
        assert file in problem and said in problem


def test_data_that_does_not_fit_names_field_and_reason(folder):
    (folder / "settings.json").write_text('{"retries": "many"}')
    problem = only_problem(config("settings.json"))
    assert "does not fit Limits: retries: Input should be a valid integer" in problem


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ("ap", "the file has no key 'ap'; it has: retries, app. Did you mean app?"),
        ("app.lmits", "'app' has no key 'lmits'; it has: limits, list. Did you mean"),
        ("app.list.0", "'list' has no key '0'; it has: none."),
    ],
)
def test_a_selector_that_leads_nowhere_says_where_it_stops(folder, selector, said):
    assert said in only_problem(config("settings.json", selector))


def test_files_that_factories_ask_for_are_looked_at_too(folder):
    def client(limits: Annotated[Limits, ResourceConfig("absent.json")]) -> int:
        raise AssertionError("called")

    definition = asking(Resource(client), "client")
    assert "parameter `client`: there is no file" in only_problem(definition)
    assert find_problems([definition], configs=False) == []


def test_what_is_set_by_hand_is_no_problem(folder):
    assert find_problems([config("absent.json")], given={"absent.json"}) == []


# What a drawing reads


def test_a_resource_tells_its_name_its_docstring_and_where_it_is_written():
    resource = Resource(at_the_top)
    assert resource.name == "at_the_top" and resource.factory is at_the_top
    assert resource.description == "Made at the top of the module."
    line = at_the_top.__code__.co_firstlineno
    assert resource.source == (__file__, line)


def test_what_cannot_be_told_of_a_factory_is_none():
    assert Resource(dict).source is None
    assert Resource(eval("lambda: 1")).source is None
    assert Resource(functools.partial(at_the_top)).name == "at_the_top"


def test_a_config_tells_what_it_was_given():
    one = ResourceConfig("a.json", "b.c", "label", "what it is for")
    assert (one.config_file, one.path_selector) == ("a.json", "b.c")
    assert (one.label, one.description) == ("label", "what it is for")
    assert one.name == "a.json.b.c" and one.cache is True


# Descriptors of other people


class Constant:
    """A descriptor that shares nothing with ours but the shape."""

    cache = False
    kind: Any = None

    def __init__(self, value: object, *needs: ResourceDescriptor) -> None:
        self.name = f"constant {value}"
        self.value, self.needs = value, needs

    async def resolve(self, manager: ResourceManager) -> Any:
        return self.value, *[await manager.get(need) for need in self.needs]

    def set_type_annotation(self, type_annotation: Any) -> None:
        self.kind = type_annotation

    def set_localns(self, localns: dict[str, Any] | None) -> None:
        pass

    def get_dependencies(self) -> list[tuple[str, ResourceDescriptor, Any]]:
        return [("", need, None) for need in self.needs]


async def test_descriptors_of_other_people_are_resolved_in_the_same_resolution():
    fresh = Resource(at_the_top, cache=False)
    mine = Constant(1, fresh)
    assert isinstance(mine, ResourceDescriptor)
    definitions = [asking(mine, "mine"), asking(fresh, "fresh")]
    values = await ResourceManager().resolve(definitions)
    assert values["mine"] == (1, values["fresh"]) and mine.kind is Made


async def test_a_circle_through_descriptors_of_other_people_is_found():
    mine = Constant(1)
    mine.needs = (Constant(2, mine),)
    definition = asking(mine)
    assert "constant 1 -> constant 2 -> constant 1" in str(await the_error(definition))
    assert "constant 1 -> constant 2 -> constant 1" in only_problem(definition)
