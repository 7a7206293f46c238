"""The numbered notebooks as they are committed."""

import json

import pytest

from house.plan import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EVERY_NOTEBOOK = pytest.mark.parametrize(
    "notebook", NOTEBOOKS, ids=[path.name for path in NOTEBOOKS]
)


def test_there_are_notebooks():
    assert NOTEBOOKS


@EVERY_NOTEBOOK
def test_no_outputs_are_committed(notebook):
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@EVERY_NOTEBOOK
def test_no_widget_state_is_committed(notebook):
    assert "widgets" not in json.loads(notebook.read_text(encoding="utf-8"))["metadata"]


@EVERY_NOTEBOOK
def test_it_opens_with_a_title(notebook):
    first = json.loads(notebook.read_text(encoding="utf-8"))["cells"][0]
    assert first["cell_type"] == "markdown"
    assert "".join(first["source"]).startswith("# ")


@EVERY_NOTEBOOK
def test_the_readme_leads_to_it(notebook):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"notebooks/{notebook.name}" in readme
