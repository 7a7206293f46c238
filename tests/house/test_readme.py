"""The code in README.md runs as it stands there."""

import ast
import asyncio
import inspect
import re
import sys
import tomllib
import types

import nbformat
import pytest
from nbclient import NotebookClient

from house.plan import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def fences(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


@pytest.fixture
def module(monkeypatch):
    """A module for the snippets to live in, as a user's own file would be."""
    made = types.ModuleType("readme_snippets")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    monkeypatch.chdir(ROOT)
    return made


def test_the_python_runs_from_top_to_bottom(module, capsys):
    async def run_all():
        for number, code in enumerate(fences("python"), 1):
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            compiled = compile(code, f"README snippet {number}", "exec", flags=flags)
            waiting = eval(compiled, vars(module))
            if inspect.iscoroutine(waiting):
                await waiting

    assert len(fences("python")) >= 3
    asyncio.run(run_all())


def test_what_a_snippet_says_it_prints_is_what_it_prints(module, capsys):
    said = [
        line.partition("# -> ")[2]
        for code in fences("python")
        for line in code.splitlines()
        if "# -> " in line
    ]
    test_the_python_runs_from_top_to_bottom(module, capsys)
    printed = capsys.readouterr().out
    assert said
    for text in said:
        assert text in printed


def test_the_notebook_cells_run_in_a_kernel():
    cells = [nbformat.v4.new_code_cell(code) for code in fences("ipython")]
    assert cells
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(
        notebook, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    ).execute()


def test_the_lines_shown_with_the_picture_are_those_of_the_notebook():
    section = README.partition("## In the notebook")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| `(.+)` \| ", section, re.M)
    path = ROOT / "notebooks" / "03_in_the_notebook.ipynb"
    cells = "\n".join(cell.source for cell in nbformat.read(path, 4).cells)
    assert len(lines) == 6
    for line in lines:
        assert line.removeprefix("await ") in cells


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_the_error_shown_is_the_error_printed(module, capsys):
    test_the_python_runs_from_top_to_bottom(module, capsys)
    printed = capsys.readouterr().out
    for text in fences("text"):
        assert text.strip() in printed


def test_the_table_of_extras_is_that_of_the_project():
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = set(tomllib.load(file)["project"]["optional-dependencies"])
    table = README.partition("## What to install")[2]
    listed = set(re.findall(r"^\| `(\w+)` \|", table, re.M))
    assert listed == extras - {"dev", "tutorial"}  # those two are for the commands
