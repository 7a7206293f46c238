"""Pictures of workflows: what they say, and that nobody's names get out of them."""

import base64
import os
import re
import shutil
import xml.etree.ElementTree as ElementTree

import pytest

from stepwell import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)
from stepwell.notebook import DrawingError, diagram, draw, graphviz, to_dot, to_mermaid
from stepwell.notebook.diagram import Diagram
from stepwell.notebook.layout import place

# In CI a missing program is a failure: what is not run there is run nowhere.
needs_dot = pytest.mark.skipif(
    not shutil.which("dot") and "CI" not in os.environ,
    reason="the `dot` program is not installed",
)


class Asked(InputRequiredEvent):
    pass


class Answered(HumanResponseEvent):
    pass


class Again(Event):
    pass


class Talk(Workflow):
    """Asks until it is content."""

    @step
    async def begin(self, ev: StartEvent | Again) -> Asked:
        return Asked()

    @step(num_workers=8)
    async def listen(self, ev: Answered) -> Again | StopEvent:
        return StopEvent()


def hostile() -> type[Workflow]:
    name = '<script>alert("1")</script>&\'" ]] --> 🐘\x07'
    kind = type(name, (Event,), {"__doc__": name, "__module__": __name__})

    async def first(self, ev):
        return kind()

    async def second(self, ev):
        return StopEvent()

    first.__annotations__ = {"ev": StartEvent, "return": kind}
    second.__annotations__ = {"ev": kind, "return": StopEvent}
    first.__doc__ = name
    body = {"first": step(first), "second": step(second)}
    return type(Workflow)(name, (Workflow,), body)


@pytest.fixture(params=[pytest.param("dot", marks=needs_dot), "own"])
def engine(request, monkeypatch):
    if request.param == "own":
        monkeypatch.setattr(diagram, "_graphviz_vendors", list)
    return request.param


def test_the_bundle_has_an_image_html_and_a_line_and_no_mermaid():
    bundle = Diagram.of(Talk).bundle()
    assert set(bundle) == {"image/svg+xml", "text/html", "text/plain"}
    assert bundle["text/plain"] == "<Workflow Talk: 2 steps · 5 events · 1 loop>"
    assert "data:image/svg+xml;base64," in bundle["text/html"]
    assert "<svg" not in bundle["text/html"]


def test_class_and_instance_give_the_same_picture():
    assert Diagram.of(Talk).bundle() == Diagram.of(Talk()).bundle()


def test_every_kind_of_node_and_the_worker_badge_are_drawn(engine):
    root = ElementTree.fromstring(draw(Talk, "svg"))
    classes = [g.get("class").split()[1] for g in root if "node" in g.get("class", "")]
    assert sorted(classes) == [
        *("event", "human", "human", "person", "start", "step", "step", "stop")
    ]
    texts = {e.text for e in root.iter() if e.text}
    assert {"begin", "listen", "×8", "Asked", "Answered", "person"} <= texts


@needs_dot
def test_both_engines_draw_the_same_boxes(monkeypatch):
    picture = Diagram.of(Talk).picture
    theirs, ours = graphviz.place(picture), place(picture)
    assert theirs.centres.keys() == ours.centres.keys()
    assert len(theirs.routes) == len(ours.routes) == len(picture.links)


def test_hostile_names_are_escaped_everywhere(engine):
    kind = hostile()
    for text in (draw(kind, "svg"), draw(kind, "html")):
        assert "<script>" not in text
        ElementTree.fromstring(text)
    coded = re.search(r"base64,([^\"]+)", draw(kind, "html"))[1]
    ElementTree.fromstring(base64.b64decode(coded))
    assert "<script>" not in to_mermaid(kind)


@needs_dot
def test_graphviz_accepts_the_dot_of_hostile_names():
    svg = graphviz.render(to_dot(hostile()), "svg").decode()
    assert "<script>" not in svg


def test_drawn_twice_in_a_page_two_workflows_do_not_share_ids():
    first, second = draw(Talk), draw(hostile())
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (first, second)]
    assert ids[0].isdisjoint(ids[1])


def test_the_drawing_has_a_view_box_and_yields_to_its_cell():
    root = ElementTree.fromstring(draw(Talk))
    assert root.get("viewBox").startswith("0 0 ")
    assert "max-width:100%" in root.get("style")


def test_style_rules_reach_no_further_than_the_drawing():
    for inline in (True, False):
        svg = Diagram.of(Talk).svg(inline=inline, prefix="sw-x")
        style = ElementTree.fromstring(svg).find(".//{*}style").text
        style = style.removeprefix("@media (prefers-color-scheme:dark){")
        for selectors in re.findall(r"([^{}]+)\{", style):
            assert all(".sw-x " in one for one in selectors.split(","))


def test_a_drawing_is_written_where_it_is_asked_for(tmp_path):
    made = draw(Talk, "mermaid", path=tmp_path / "talk.mmd")
    assert (tmp_path / "talk.mmd").read_text(encoding="utf-8") == made
    assert made.startswith("flowchart ")


@pytest.mark.skipif(not shutil.which("dot"), reason="needs the dot program")
def test_a_png_is_drawn_by_graphviz():
    assert draw(Talk, "png").startswith(b"\x89PNG")


def test_a_png_without_graphviz_says_what_to_install(monkeypatch):
    monkeypatch.setattr(diagram, "_graphviz_vendors", list)
    with pytest.raises(DrawingError, match="pygraphviz"):
        draw(Talk, "png")


def test_an_unknown_format_names_the_formats():
    with pytest.raises(DrawingError, match="svg, png, dot, mermaid, html"):
        draw(Talk, "gif")
