"""State shared by steps: paths, typed state, edits that roll back."""

import asyncio
import threading

import pytest
from pydantic import BaseModel, Field

from stepwell import (
    Context,
    DictState,
    InMemoryStateStore,
    JsonSerializer,
    StartEvent,
    StopEvent,
    step,
)
from stepwell import Workflow as BaseWorkflow
from stepwell.errors import (
    ContextStateError,
    WorkflowConfigurationError,
)


class Shape(BaseModel):
    n: int = 0
    tags: list[str] = []
    inner: dict[str, int] = {}


def free() -> InMemoryStateStore[DictState]:
    return InMemoryStateStore(DictState())


async def test_what_was_set_is_got():
    store = free()
    await store.set("a", 1)
    assert await store.get("a") == 1
    assert (await store.get_state())["a"] == 1


async def test_paths_make_dictionaries_and_reach_into_lists():
    store = free()
    await store.set("user.name", "Ada")
    await store.set("user.tags", ["x", "y"])
    assert await store.get("user") == {"name": "Ada", "tags": ["x", "y"]}
    assert await store.get("user.tags.1") == "y"


@pytest.mark.parametrize("key", ["", "a.b"])
async def test_a_key_that_is_no_plain_name_is_not_reached_by_path(key):
    store = free()
    store.current[key] = 1
    assert await store.get("a.b", None) is None
    with pytest.raises(ValueError):
        await store.get(key)


async def test_a_path_that_is_no_text_is_refused():
    store = free()
    store.current[3] = 1  # type: ignore[index]
    for refused in (store.get(3), store.set(3, 1), store.set("", 1)):
        with pytest.raises(ValueError, match=r"text such as 'user\.name'"):
            await refused


async def test_a_path_that_is_not_there_names_what_is():
    store = free()
    await store.set("query", 1)
    with pytest.raises(
        ValueError, match=r"Path 'querry' not found.*Did you mean query"
    ):
        await store.get("querry")
    assert await store.get("querry", default=None) is None


async def test_typed_state_refuses_fields_it_does_not_have():
    store = InMemoryStateStore(Shape())
    await store.set("n", 3)
    await store.set("inner.a", 5)
    assert await store.get("inner.a") == 5
    with pytest.raises(ValueError, match=r"Shape has no field 'm' .*; it has: n, tags"):
        await store.set("m", 1)


async def test_values_are_not_copied():
    store, lock = free(), threading.Lock()
    await store.set("lock", lock)
    assert await store.get("lock") is lock


async def test_an_edit_is_kept_whole_or_not_at_all():
    store = InMemoryStateStore(Shape())
    async with store.edit_state() as state:
        state.n = 1
        state.tags.append("a")
        assert await store.get("n") == 0
    assert await store.get("tags") == ["a"]
    with pytest.raises(KeyError):
        async with store.edit_state() as state:
            state.n = 2
            state.tags.append("b")
            raise KeyError
    assert (await store.get("n"), await store.get("tags")) == (1, ["a"])


async def test_an_edit_shares_what_cannot_be_copied():
    store, lock = free(), threading.Lock()
    await store.set("lock", lock)
    async with store.edit_state() as state:
        assert state["lock"] is lock
        state["n"] = 1
    assert await store.get("n") == 1


async def test_edits_side_by_side_lose_nothing():
    store = InMemoryStateStore(Shape())

    async def add():
        async with store.edit_state() as state:
            seen = state.n
            await asyncio.sleep(0)
            state.n = seen + 1

    await asyncio.gather(*(add() for _ in range(20)))
    assert await store.get("n") == 20


async def test_a_write_inside_an_edit_by_the_same_task_is_refused():
    store = InMemoryStateStore(Shape())
    async with store.edit_state():
        with pytest.raises(ContextStateError, match="edit_state"):
            await store.set("n", 1)


async def test_clear_goes_back_to_the_defaults():
    store = InMemoryStateStore(Shape(n=4))
    await store.clear()
    assert await store.get("n") == 0


async def test_a_whole_state_of_another_class_is_refused():
    with pytest.raises(ValueError, match="holds Shape, not DictState"):
        await InMemoryStateStore(Shape()).set_state(DictState())


class Small(BaseModel):
    n: int = 1


class Large(Small):
    m: int = 2


class Strange(BaseModel):
    z: int = 0


async def test_steps_that_name_a_state_and_its_subclass_share_the_subclass():
    class Flow(BaseWorkflow):
        @step
        async def begin(self, ctx: Context[Small], ev: StartEvent) -> StopEvent:
            return StopEvent(result=type(await ctx.store.get_state()).__name__)

        @step
        async def other(self, ctx: Context[Large], ev: StartEvent) -> None: ...

    assert await Flow().run() == "Large"


def test_unrelated_state_classes_are_refused():
    class Flow(BaseWorkflow):
        @step
        async def begin(self, ctx: Context[Small], ev: StartEvent) -> StopEvent: ...

        @step
        async def other(self, ctx: Context[Strange], ev: StartEvent) -> None: ...

    with pytest.raises(WorkflowConfigurationError, match="Small and Strange"):
        Flow()


def test_a_state_without_defaults_is_refused_by_name():
    class Needy(BaseModel):
        key: str

    class Flow(BaseWorkflow):
        @step
        async def begin(self, ctx: Context[Needy], ev: StartEvent) -> StopEvent: ...

    with pytest.raises(WorkflowConfigurationError, match="no default for key"):
        Flow()


async def test_free_form_state_reads_like_a_mapping():
    state = DictState(a=1)
    state["b"] = 2
    state.c = 3
    assert (list(state), len(state), dict(state)) == (
        ["a", "b", "c"],
        3,
        dict(a=1, b=2, c=3),
    )
    assert (list(state.keys()), list(state.values())) == (["a", "b", "c"], [1, 2, 3])
    assert "a" in state and state.get("d", 4) == 4 and state.c == 3
    assert DictState()


async def test_names_of_methods_may_be_keys():
    store = free()
    assert await store.get("items", default=None) is None
    await store.set("items", [1])
    await store.set("copy.deep", 2)
    assert await store.get("items.0") == 1
    assert await store.get("copy") == {"deep": 2}


async def test_declared_fields_of_free_form_state_are_set_as_fields():
    class Partly(DictState):
        n: int = 0

    store = InMemoryStateStore(Partly())
    await store.set("n", 3)
    await store.set("m", 4)
    state = await store.get_state()
    assert (state.n, state["m"], await store.get("n")) == (3, 4, 3)
    again = InMemoryStateStore.from_dict(
        store.to_dict(JsonSerializer()), JsonSerializer()
    )
    assert dict(await again.get_state()) == {"n": 3, "m": 4}


def test_a_wrong_class_of_free_form_state_is_refused_where_it_is_defined():
    with pytest.raises(TypeError, match="discriminat"):

        class Wrong(DictState):
            n: int = Field(discriminator="kind")


async def test_properties_of_a_state_are_read_by_path():
    class Person(BaseModel):
        name: str = "Ada"

        @property
        def shout(self) -> str:
            return self.name.upper()

    assert await InMemoryStateStore(Person()).get("shout") == "ADA"


@pytest.mark.parametrize("path", ["n.inner", "tags.7", "tags.first"])
async def test_a_path_that_cannot_be_set_is_refused_by_name(path):
    store = InMemoryStateStore(Shape(n=1, tags=["a"]))
    with pytest.raises(ValueError, match=f"of path '{path}' cannot be set in a"):
        await store.set(path, 1)


async def test_a_whole_state_of_a_base_class_replaces_what_that_declares():
    store = InMemoryStateStore(Large(n=5, m=6))
    await store.set_state(Small(n=7))
    assert await store.get_state() == Large(n=7, m=6)


async def test_a_whole_state_of_a_subclass_is_kept():
    store = InMemoryStateStore(Small())
    await store.set_state(Large(m=9))
    assert await store.get_state() == Large(m=9)


async def test_a_state_without_defaults_cannot_be_cleared():
    class Needy(BaseModel):
        key: str

    with pytest.raises(ValueError, match="no default for key"):
        await InMemoryStateStore(Needy(key="a")).clear()


async def test_an_edit_copies_around_what_cannot_be_copied():
    store, lock = free(), threading.Lock()
    await store.set("client", {"lock": lock, "log": ["a"]})
    with pytest.raises(KeyError):
        async with store.edit_state() as state:
            state["client"]["log"].append("b")
            raise KeyError
    assert await store.get("client") == {"lock": lock, "log": ["a"]}


async def test_an_edit_shares_what_lies_in_something_that_cannot_be_copied():
    class Box:
        pass

    store, outer, inner = free(), Box(), Box()
    outer.inner, inner.lock = inner, threading.Lock()
    await store.set("one", outer)
    await store.set("two", inner)
    async with store.edit_state() as state:
        assert state["two"].lock is inner.lock


async def test_an_edit_keeps_one_value_in_two_places_one():
    store, shared = free(), ["a"]
    await store.set("one", shared)
    await store.set("two", {"inner": shared})
    async with store.edit_state() as state:
        state["one"].append("b")
    assert await store.get("two.inner") == ["a", "b"]
    assert shared == ["a"]


def test_a_store_is_edited_on_one_event_loop_after_another():
    store = InMemoryStateStore(Shape())

    async def add():
        async with store.edit_state() as state:
            seen = state.n
            await asyncio.sleep(0)
            state.n = seen + 1

    async def both():
        await asyncio.gather(add(), add())

    asyncio.run(both())
    asyncio.run(both())
    assert store.current.n == 4
