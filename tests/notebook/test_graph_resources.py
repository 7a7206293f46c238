"""What is injected into steps, drawn on request; and what boxes say."""

import json
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from stepwell import (
    Context,
    Event,
    Resource,
    ResourceConfig,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)
from stepwell.notebook import diagram
from stepwell.notebook.colours import GIVEN
from stepwell.notebook.diagram import Diagram

needs_dot = pytest.mark.skipif(not shutil.which("dot"), reason="needs the dot program")
SVG = "{http://www.w3.org/2000/svg}"


class Index:
    pass


class Limits(BaseModel):
    secret: str


class Found(Event):
    """What was found."""

    text: str
    scores: list[float] = Field(default=[])
    where: str | None = None
    mode: Literal["fast", "slow"] = "fast"
    extra: dict[str, Any]


@pytest.fixture
def searching(tmp_path, monkeypatch):
    """A workflow whose steps ask for an index, which asks for a configuration."""
    (tmp_path / "limits.json").write_text(json.dumps({"secret": "sesame"}))
    config = ResourceConfig(str(tmp_path / "limits.json"))

    def open_index(limits: Annotated[Limits, config]) -> Index:
        """Opened once a run."""
        return Index()

    class Search(Workflow):
        @step(num_workers=8)
        async def search(
            self, ev: StartEvent, index: Annotated[Index, Resource(open_index)]
        ) -> Found:
            """Look for it.

            Everywhere.
            """
            return Found(text="", extra={})

        @step(num_workers=1)
        async def answer(
            self, ctx: Context, ev: Found, idx: Annotated[Index, Resource(open_index)]
        ) -> StopEvent:
            return StopEvent()

    return Search


@pytest.fixture(params=[pytest.param("dot", marks=needs_dot), "own"])
def engine(request, monkeypatch):
    if request.param == "own":
        monkeypatch.setattr(diagram, "_graphviz_vendors", list)
    return request.param


def titles(svg: str) -> dict[str, str]:
    """What each box says, by the kind of the box and its first word."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        if "node" in group.get("class", ""):
            title = group.find(f"{SVG}title").text
            found[title.split("(")[0].split("\n")[0]] = title
    return found


def test_resources_are_drawn_only_on_request(searching, engine):
    assert "resource" not in searching.draw()
    root = ElementTree.fromstring(searching.draw(resources=True))
    kinds = [g.get("class").split()[1] for g in root if "node" in g.get("class", "")]
    assert kinds.count("resource") == 2
    paths = [g for g in root.iter(f"{SVG}g") if g.get("stroke") == GIVEN]
    assert len(paths) == 1 and len(paths[0]) == 3


def test_resources_are_counted_and_bring_no_warnings(searching):
    made = searching.draw("html", resources=True)
    assert "2 steps · 3 events · 2 resources<" in made


def test_mermaid_and_dot_name_the_parameters(searching):
    mermaid = searching.to_mermaid(resources=True)
    assert '[("Index")]:::resource' in mermaid
    assert mermaid.count('-.->|"index"|') == 1
    assert mermaid.count('-.->|"idx"|') == 1
    dot = searching.to_dot(resources=True)
    assert dot.count("shape=cylinder") == 2
    assert 'label="idx"' in dot
    assert "Index" not in searching.to_dot()


@needs_dot
def test_graphviz_draws_the_resources(searching):
    dot = searching.to_dot(resources=True)
    made = subprocess.run(
        ["dot", "-Tsvg"], input=dot.encode(), capture_output=True, check=True
    )
    texts = {e.text for e in ElementTree.fromstring(made.stdout).iter(f"{SVG}text")}
    assert {"Index", "Limits", "idx", "index"} <= texts


def test_a_step_says_its_signature_its_workers_and_its_docstring(searching):
    said = titles(searching.draw())
    assert said["search"] == (
        "search(ev: StartEvent) -> Found\nup to 8 calls at once\n\n"
        "Look for it.\n\nEverywhere."
    )
    assert said["answer"].endswith("\n1 call at once")


def test_an_event_says_its_fields_and_its_docstring(searching):
    assert titles(searching.draw())["Found"] == (
        "Found\n"
        "  text: str\n"
        "  scores: list[float] = []\n"
        "  where: str | None = None\n"
        "  mode: 'fast' | 'slow' = 'fast'\n"
        "  extra: dict\n"
        "\nWhat was found."
    )


def test_a_resource_says_where_it_comes_from_and_who_is_given_it(searching):
    said = titles(searching.draw(resources=True))
    assert "made by" in said["Index"] and "test_graph_resources.py" in said["Index"]
    assert "given to search as index, answer as idx" in said["Index"]
    assert said["Index"].endswith("Opened once a run.")
    assert said["Limits"].startswith("Limits\nread from limits.json\n")


def test_neither_folders_nor_what_a_file_holds_are_published(searching, tmp_path):
    for format in ("svg", "html", "dot", "mermaid"):
        made = searching.draw(format, resources=True)
        assert "sesame" not in made
        assert str(tmp_path) not in made


def test_what_an_svg_says_stands_over_the_image_of_a_page_too(searching):
    root = ElementTree.fromstring(searching.draw("html"))
    over = [span for span in root.iter("span") if span.get("title")]
    assert {span.get("title") for span in over} == set(
        titles(searching.draw()).values()
    )
    for span in over:
        assert "position:absolute;left:" in span.get("style")


def test_long_docstrings_and_many_fields_are_cut():
    fields = {f"field_{i}": int for i in range(30)}
    body = {"__module__": __name__, "__annotations__": fields, "__doc__": "long " * 900}
    kind = type(Event)("Wide", (Event,), body)

    async def first(self, ev):
        return kind()

    first.__annotations__ = {"ev": StartEvent, "return": kind | StopEvent}
    flow = type(Workflow)("Flow", (Workflow,), {"first": step(first)})
    tip = next(n.tip for n in Diagram.picture_of(flow).nodes if n.name == "Wide")
    assert "… and 18 more" in tip
    assert len(tip) < 1000 and tip.endswith("…")
