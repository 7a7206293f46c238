"""State shared by steps: paths, typed state, edits that roll back."""

import asyncio
import threading

import pytest
from pydantic import BaseModel

from stepwell import Context, DictState, InMemoryStateStore, StartEvent, StopEvent, step
from stepwell import Workflow as BaseWorkflow
from stepwell.errors import (
    ContextStateError,
    WorkflowConfigurationError,
    WorkflowRuntimeError,
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


async def test_a_state_without_defaults_is_refused_by_name():
    class Needy(BaseModel):
        key: str

    class Flow(BaseWorkflow):
        @step
        async def begin(self, ctx: Context[Needy], ev: StartEvent) -> StopEvent: ...

    with pytest.raises(WorkflowRuntimeError, match="no default for key"):
        Flow().run()
