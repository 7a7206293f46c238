"""Graphviz inside the pygraphviz wheel, as where there is no `dot` program."""

import shutil

import pytest

from stepwell import StartEvent, StopEvent, Workflow, step
from stepwell.notebook import diagram
from stepwell.notebook.diagram import Diagram

pytest.importorskip("pygraphviz")


class Ask(Workflow):
    @step
    async def ask(self, ev: StartEvent) -> StopEvent:
        """Is "this" — 🐘 — said?"""
        return StopEvent()


@pytest.fixture(autouse=True)
def no_dot_program(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)


def test_the_wheel_stands_in_for_the_program():
    (vendor,) = diagram._graphviz_vendors()
    assert vendor.__name__ == "stepwell.notebook.pygraphviz"


def test_the_wheel_places_as_the_program_does():
    (wheel,) = diagram._graphviz_vendors()
    picture = Diagram.picture_of(Ask)
    placed = wheel.place(picture)
    assert placed.centres.keys() == {node.id for node in picture.nodes}
    assert Diagram(picture).layout == placed


def test_the_wheel_draws_a_png():
    assert Ask.draw("png").startswith(b"\x89PNG")
