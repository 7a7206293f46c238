"""A workflow's graph in JupyterLab: with a mouse, in both themes, and untrusted."""

import re
import urllib.parse

import nbformat
import pytest

from stepwell import StartEvent, StopEvent, Workflow, step
from stepwell.notebook.diagram import Diagram

pytestmark = pytest.mark.browser

DEFINE = '''
from stepwell import Event, StartEvent, StopEvent, Workflow, step

class Found(Event):
    passages: list[str]

class Search(Workflow):
    @step(num_workers=8)
    async def search(self, ev: StartEvent) -> Found:
        """Look everywhere."""
        return Found(passages=[])

    @step
    async def answer(self, ev: Found) -> StopEvent:
        return StopEvent()
'''
FIGURE = ".jp-RenderedHTML img"
# What is pointed at in the middle of the box of `search`, and where that is.
POINTED_AT = """() => {
    const image = document.querySelector('.jp-RenderedHTML img');
    const all = [...document.querySelectorAll('.jp-RenderedHTML span[title]')];
    const box = all.find(each => each.title.startsWith('search('))
        .getBoundingClientRect();
    const x = box.left + box.width / 2, y = box.top + box.height / 2;
    const whole = image.getBoundingClientRect();
    return {
        title: document.elementFromPoint(x, y).title,
        x: (x - whole.left) / whole.width,
        y: (y - whole.top) / whole.height,
        width: whole.width,
    };
}"""
SCHEME = """() => getComputedStyle(
    document.querySelector('.jp-RenderedHTML img')).colorScheme"""


class Search(Workflow):
    """One that is shown without its kernel."""

    @step
    async def search(self, ev: StartEvent) -> StopEvent:
        """Look everywhere."""
        return StopEvent()


@pytest.fixture(scope="module")
def notebook(lab):
    opened = lab.notebook("graph", [DEFINE, "Search"])
    opened.run_all()
    opened.wait_for(FIGURE)
    yield opened
    opened.close()


def test_pointing_at_a_step_shows_its_signature_and_docstring(notebook):
    title = notebook.page.evaluate(POINTED_AT)["title"]
    assert title.startswith("search(ev: StartEvent) -> Found\n")
    assert title.endswith("Look everywhere.")


def test_titles_stay_over_their_boxes_when_the_picture_shrinks(notebook):
    page = notebook.page
    before = page.evaluate(POINTED_AT)
    page.set_viewport_size({"width": 720, "height": 800})
    page.wait_for_function(
        "wide => document.querySelector('.jp-RenderedHTML img').width < wide - 100",
        arg=before["width"],
    )
    after = page.evaluate(POINTED_AT)
    page.set_viewport_size({"width": 1280, "height": 1000})
    assert after["title"] == before["title"]
    assert after["x"] == pytest.approx(before["x"], abs=0.01)
    assert after["y"] == pytest.approx(before["y"], abs=0.03)


def test_the_picture_is_as_dark_as_the_page(notebook):
    schemes = {}
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        notebook.set_theme(theme)
        schemes[theme] = notebook.page.evaluate(SCHEME)
    assert schemes == {"JupyterLab Dark": "dark", "JupyterLab Light": "light"}


def test_the_picture_stays_when_the_kernel_is_restarted(notebook):
    notebook.restart()
    assert notebook.page.evaluate(POINTED_AT)["title"].startswith("search(")


def test_a_notebook_nobody_trusts_shows_the_picture_and_what_its_boxes_say(lab):
    opened = lab.notebook("strange", ["Search"])
    strange = nbformat.read(opened.path, 4)
    bundle = Diagram.of(Search).bundle()
    strange.cells[0].outputs = [
        nbformat.v4.new_output("execute_result", bundle, execution_count=1)
    ]
    nbformat.write(strange, opened.path)
    opened.open()
    opened.wait_for(FIGURE)
    trusted = opened.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.content.widgets[0].model.trusted"
    )
    found = opened.page.evaluate(POINTED_AT)
    words = opened.wait_for(".jp-RenderedHTML").inner_text().strip()
    opened.close()
    assert not trusted
    assert found["width"] > 200
    assert found["title"].endswith("Look everywhere.")
    assert words == "Search · 1 step · 2 events"


def test_mermaid_itself_reads_names_back(lab):
    name = '<b>"q" & #35; _x_ 1. \\n 🐘 שלום end`'
    opened = lab.notebook(
        "mermaid",
        [
            DEFINE,
            f"Found.__name__ = {name!r}\n"
            'display({"text/vnd.mermaid": Search.to_mermaid()}, raw=True)',
        ],
    )
    opened.run_all()
    source = opened.wait_for(".jp-RenderedMermaid img").get_attribute("src")
    opened.close()
    svg = urllib.parse.unquote(source)
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", svg))
    assert '&lt;b&gt;"q" &amp; #35; _x_ 1. \\n 🐘 שלום end`' in words
