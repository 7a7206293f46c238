"""Workflow classes whose cell is run again: which one is the newest, and stale runs."""

import asyncio
import copy
import gc
import pickle
import weakref
from typing import Generic, TypeVar

import pytest

from stepwell import Event, StartEvent, StopEvent, Workflow, step
from stepwell.classes import renewed

T = TypeVar("T")


class Cells:
    """Runs cells as a notebook does, in a module that is none."""

    def __init__(self, name):
        self.names = {"__name__": name}
        exec("from stepwell import *\nimport asyncio", self.names)

    def run(self, cell):
        exec(cell, self.names)
        return self.names["Flow"]


HOLDS = """
class Flow(Workflow):
    '''Waits.'''
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        await asyncio.Event().wait()
"""


async def stale_after(act, cell=HOLDS):
    cells = Cells("stale_cells")
    flow = cells.run(cell)
    handler = flow().run()
    act(cells, flow)
    found = handler.is_stale
    await handler.cancel_run()
    return found


async def test_a_run_is_stale_once_its_class_was_defined_again():
    again = HOLDS.replace("Waits", "Waits for ever")
    assert await stale_after(lambda cells, flow: cells.run(again)) is True


async def test_other_classes_make_no_run_stale():
    def other(cells, flow):
        exec(HOLDS.replace("Flow", "Other"), cells.names)

    assert await stale_after(other) is False


async def test_a_step_that_was_replaced_or_inherited_anew_makes_a_run_stale():
    def replace(cells, flow):
        async def only(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

        flow.only = step(only)

    assert await stale_after(replace) is True

    based = HOLDS.replace("Flow", "Base") + "class Flow(Base): pass"
    assert await stale_after(lambda c, f: replace(c, f.__mro__[1]), based) is True


async def test_a_run_whose_class_is_no_workflow_any_more_is_stale():
    def unfinished(cells, flow):
        exec("class Flow(Workflow): pass", cells.names)

    assert await stale_after(unfinished) is True

    def twice(cells, flow):
        cells.run(
            "class A(StartEvent): pass\nclass B(StartEvent): pass\n"
            "class Flow(Workflow):\n"
            "    @step\n    async def a(self, ev: A) -> StopEvent: ...\n"
            "    @step\n    async def b(self, ev: B) -> StopEvent: ...\n"
        )

    assert await stale_after(twice) is True


ANSWERS = """
class {name}({bases}):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result={result})
"""


async def test_a_subclass_keeps_the_base_that_it_was_defined_on_until_it_is_run_again():
    cells = Cells("based_cells")
    base = ANSWERS.format(name="Base", bases="Workflow", result="{}")
    sub = "class Flow(Base):\n    pass"
    exec(base.format(1), cells.names)
    flow = cells.run(sub)()
    exec(base.format(2), cells.names)
    assert await renewed(flow).run() == 1
    cells.run(sub)
    assert await renewed(flow).run() == 2
    assert await flow.run() == 1


async def test_classes_of_one_name_in_two_modules_are_strangers():
    first = Cells("cells_a").run(
        ANSWERS.format(name="Flow", bases="Workflow", result=1)
    )
    Cells("cells_b").run(ANSWERS.format(name="Flow", bases="Workflow", result=2))
    assert first.newest is first


def test_classes_made_by_functions_and_by_type_are_strangers():
    def make():
        class Flow(Workflow):
            @step
            async def only(self, ev: StartEvent) -> StopEvent:
                return StopEvent()

        return Flow

    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent()

    first, second = make(), make()
    assert first.newest is first
    assert second.newest is second
    made = [type(Workflow)("Made", (Workflow,), {"only": step(only)}) for _ in "ab"]
    assert [cls.newest for cls in made] == made


def test_a_renewed_workflow_has_all_that_it_had_and_init_is_not_called():
    cells = Cells("renewed_cells")
    cell = (
        "class Flow(Workflow):\n"
        "    __slots__ = ('kept', 'unset')\n"
        "    made = 0\n"
        "    def __init__(self, **options):\n"
        "        super().__init__(**options)\n"
        "        type(self).made += 1\n"
        "        self.kept, self.__secret = [1], 'hidden'\n"
        "    def secret(self):\n        return self.__secret\n"
        "    @step\n    async def only(self, ev: StartEvent) -> StopEvent:\n"
        "        return StopEvent()\n"
    )
    flow = cells.run(cell)(timeout=7, workflow_name="named")
    again = renewed(flow) if cells.run(cell) else None
    assert type(again) is cells.names["Flow"]
    assert (again.kept is flow.kept, again.secret()) == (True, "hidden")
    assert not hasattr(again, "unset")
    assert again.workflow_name == "named"
    assert type(again).made == 0
    assert renewed(again) is again


async def test_a_generic_workflow_is_renewed_too():
    cells = Cells("generic_cells")
    cells.names.update(Generic=Generic, T=T)
    cell = ANSWERS.format(name="Flow", bases="Workflow, Generic[T]", result="{}")
    flow = cells.run(cell.format(1))[int]()
    cells.run(cell.format(2))
    assert await renewed(flow).run() == 2


async def test_a_copy_of_a_workflow_is_one():
    flow = Copied(timeout=3)
    for other in (copy.copy(flow), pickle.loads(pickle.dumps(flow))):
        assert await other.run() == "copied"


class Copied(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result="copied")


def test_definitions_that_nobody_needs_are_forgotten():
    cells = Cells("forgotten_cells")
    cell = ANSWERS.format(name="Flow", bases="Workflow", result="1")
    piece = "class Piece(Event):\n    n: int = 0\n"
    old = []
    for _ in range(5):
        flow = cells.run(piece + cell)
        asyncio.run(run(flow))
        old += [weakref.ref(flow), weakref.ref(cells.names["Piece"])]
        del flow
    # The last run of each loop, and what pydantic keeps of the last model, may stay.
    gc.collect()
    assert sum(ref() is not None for ref in old) <= 4


async def run(flow):
    handler = flow().run()
    await handler
    assert not handler.is_stale
    assert handler.resumed_from is None


@pytest.mark.parametrize("kind", [Event, Workflow])
def test_a_class_that_is_alone_is_its_own_newest(kind):
    assert kind.newest is kind
