"""`draw`, `to_dot` and `to_mermaid` on workflows: what they give, show and write."""

import base64
import pickle
import shutil
import xml.etree.ElementTree as ElementTree
from html import unescape

import nbconvert
import nbformat
import pytest

from stepwell import Event, StartEvent, StopEvent, Workflow, step
from stepwell.drawing import draw_with
from stepwell.errors import StepwellError
from stepwell.notebook import DrawingError, draw, to_dot, to_mermaid

needs_dot = pytest.mark.skipif(not shutil.which("dot"), reason="needs the dot program")


class Found(Event):
    text: str


class Search(Workflow):
    @step
    async def search(self, ev: StartEvent) -> Found:
        return Found(text="")

    @step
    async def answer(self, ev: Found) -> StopEvent:
        return StopEvent(result=ev.text)


def test_the_methods_draw_what_the_functions_draw():
    assert Search.draw() == draw(Search)
    assert Search.to_dot() == to_dot(Search)
    assert Search.to_mermaid() == to_mermaid(Search)


def test_a_class_and_an_instance_are_drawn_alike():
    assert Search().draw() == Search.draw()
    assert Search().draw("html") == Search.draw("html")
    assert Search().to_mermaid() == Search.to_mermaid()


def test_an_instance_is_drawn_with_its_own_name():
    assert "<title>Workflow Nightly: " in Search(workflow_name="Nightly").draw()


def test_a_step_may_be_named_draw():
    class Artist(Workflow):
        @step
        async def draw(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result="drawn")

    assert Artist().run_sync() == "drawn"
    assert ">draw<" in Artist.draw()
    assert ">draw<" in Artist().draw()


def test_a_method_of_its_own_named_draw_is_the_users():
    class Artist(Workflow):
        def draw(self) -> str:
            return "mine"

        @step
        async def work(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=self.draw())

    assert Artist().run_sync() == "mine"


def test_a_free_step_may_be_named_to_dot():
    class Artist(Workflow):
        pass

    @step(workflow=Artist)
    async def to_dot(ev: StartEvent) -> StopEvent:
        return StopEvent()

    assert Artist.to_dot().startswith("digraph")


def test_without_a_viewer_drawing_says_so():
    before = draw_with(None)
    try:
        with pytest.raises(StepwellError, match="nothing is registered"):
            Search.draw()
    finally:
        draw_with(before)


def test_the_methods_say_what_they_do():
    assert "works on its class and on an instance" in (Search.draw.__doc__ or "")
    assert "DOT" in (Search().to_dot.__doc__ or "")


# -- what is given back ------------------------------------------------------------


@pytest.mark.parametrize("format", ["svg", "html"])
def test_an_svg_and_html_are_text_that_shows_as_a_picture(format):
    made = Search.draw(format)
    assert isinstance(made, str)
    bundle = made._repr_mimebundle_()
    assert "data:image/svg+xml;base64," in bundle["text/html"]
    assert repr(made) == bundle["text/plain"]
    assert repr(made) == f"<{format.upper()} of Search: 2 steps · 3 events>"


@needs_dot
def test_a_png_is_bytes_that_show_as_a_picture():
    made = Search.draw("png")
    assert isinstance(made, bytes) and made.startswith(b"\x89PNG")
    bundle = made._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]) == made
    assert repr(made) == "<PNG of Search: 2 steps · 3 events>"


def test_dot_and_mermaid_are_shown_as_their_text():
    for made in (Search.to_dot(), Search.to_mermaid()):
        assert repr(made) == str(made)
        assert made._repr_mimebundle_() == {"text/plain": str(made)}


def test_a_drawing_can_be_pickled():
    made = Search.draw()
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert again._repr_mimebundle_() == made._repr_mimebundle_()


# -- where it is written -----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("graph.svg", b"<svg "),
        ("graph.SVG", b"<svg "),
        ("graph.dot", b"digraph "),
        ("graph.gv", b"digraph "),
        ("graph.mmd", b"flowchart "),
        ("graph.html", b"<!doctype html>"),
        pytest.param("graph.png", b"\x89PNG", marks=needs_dot),
    ],
)
def test_the_suffix_says_the_format(tmp_path, name, start):
    Search.draw(path=tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)


def test_a_page_that_is_written_says_its_encoding_and_is_well_formed(tmp_path):
    Search(workflow_name="<é>").draw(path=str(tmp_path / "graph.html"))
    page = (tmp_path / "graph.html").read_text(encoding="utf-8")
    assert '<meta charset="utf-8">' in page
    assert "<title>&lt;é&gt;</title>" in page


@pytest.mark.parametrize(
    ("format", "name"), [("png", "graph.svg"), ("svg", "graph.jpg")]
)
def test_a_suffix_of_another_format_is_refused(tmp_path, format, name):
    with pytest.raises(DrawingError, match=rf"'{name}'; name the file ….{format}"):
        Search.draw(format, path=tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_suffix_that_says_nothing_needs_a_format(tmp_path):
    with pytest.raises(DrawingError, match="say format="):
        Search.draw(path=tmp_path / "graph.txt")
    Search.draw("mermaid", path=tmp_path / "graph.txt")
    Search.draw("svg", path=tmp_path / "graph")
    assert {file.name for file in tmp_path.iterdir()} == {"graph.txt", "graph"}


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DrawingError, match="make that folder first"):
        Search.draw(path=tmp_path / "nowhere" / "graph.svg")


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "graph.svg").mkdir()
    with pytest.raises(DrawingError, match="cannot be written"):
        Search.draw(path=tmp_path / "graph.svg")


# -- in a kernel -------------------------------------------------------------------

DEFINE = """
from stepwell import StartEvent, StopEvent, Workflow, step

class Flow(Workflow):
    @step
    async def work(self, ev: StartEvent) -> StopEvent:
        return StopEvent()
"""


def test_a_kernel_shows_what_draw_gives_back(execute):
    _, svg, dot, png = execute(
        DEFINE, "Flow.draw()", "Flow().to_mermaid()", 'Flow.draw("png")'
    )
    assert "<img src=" in svg.bundles[0]["text/html"]
    assert svg.value == "<SVG of Flow: 1 step · 2 events>"
    assert dot.value.startswith("flowchart LR\n")
    if shutil.which("dot"):
        assert set(png.bundles[0]) == {"image/png", "text/plain"}


def test_an_exported_page_shows_the_picture_and_what_its_boxes_say(execute):
    _, cell = execute(DEFINE, "Flow")
    output = nbformat.v4.new_output("execute_result", cell.bundles[0])
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("Flow", outputs=[output])]
    )
    page, _ = nbconvert.HTMLExporter().from_notebook_node(made)
    assert page.count(' src="data:image/svg+xml;base64,') == 1
    assert unescape(page).count('title="work(ev: StartEvent) -> StopEvent') == 1


def test_the_html_of_a_cell_is_well_formed(execute):
    _, cell = execute(DEFINE, "Flow")
    ElementTree.fromstring(cell.bundles[0]["text/html"])
