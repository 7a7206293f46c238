"""Notebooks that nobody watches: executed by nbclient, exported by nbconvert."""

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbconvert.preprocessors import ExecutePreprocessor

from browser import kernels

pytestmark = pytest.mark.browser

CELLS = [
    """
import asyncio
from stepwell import *

class Part(Event):
    number: int

class Parts(Workflow):
    @step
    async def split(self, ev: StartEvent) -> list[Part]:
        return [Part(number=n) for n in range(3)]

    @step
    async def work(self, ev: Part) -> StopEvent:
        await asyncio.sleep(0.3)
        return StopEvent(result="ready")

Parts
""",
    "await Parts().run()",
    "handler = Parts().run()\nawait handler",
]
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def unwatched(kernel, tmp_path, monkeypatch):
    """A notebook to be executed by a kernel of each version."""
    kernels.write_specs(tmp_path)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS]
    )
    made.metadata.kernelspec = {
        "name": kernel,
        "display_name": f"ipykernel {kernel}",
        "language": "python",
    }
    return made


def assert_shows_the_runs(notebook):
    for cell in notebook.cells:
        bundles = [output.data for output in cell.outputs if "data" in output]
        assert all(WIDGET not in bundle for bundle in bundles)
        shown = [b["text/plain"] for b in bundles if "text/html" in b]
        assert len(shown) == 1, shown
        assert "Parts" in shown[0]
    assert "ready" in str(notebook.cells[1].outputs)


def test_nbclient_gets_each_run_once_and_without_widgets(unwatched):
    NotebookClient(unwatched, timeout=120).execute()
    assert_shows_the_runs(unwatched)
    assert "widgets" not in unwatched.metadata


def test_a_page_that_nbconvert_made_shows_the_runs_without_a_network(
    unwatched, browser, tmp_path
):
    ExecutePreprocessor(timeout=120).preprocess(unwatched)
    assert_shows_the_runs(unwatched)
    html, _ = HTMLExporter().from_notebook_node(unwatched)
    path = tmp_path / "exported.html"
    path.write_text(html, encoding="utf-8")
    page = browser.new_page(offline=True)
    page.goto(path.as_uri(), wait_until="domcontentloaded")
    pictures = page.locator(".jp-RenderedHTMLCommon img")
    assert pictures.count() >= 3
    for n in range(pictures.count()):
        picture = pictures.nth(n).element_handle()
        page.wait_for_function("e => e.complete && e.naturalWidth > 0", arg=picture)
    assert page.get_by_text("'ready'").count() >= 1
    page.close()
