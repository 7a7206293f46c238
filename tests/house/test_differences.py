"""docs/coming-from-llamaindex.md: what it says is shown by tests that exist."""

import ast
import importlib
import re

import pytest

import stepwell
from house.plan import ROOT

PAGE = (ROOT / "docs" / "coming-from-llamaindex.md").read_text(encoding="utf-8")
_, *SECTIONS = re.split(r"^### ", PAGE.partition("## Differences")[2], flags=re.M)
DIFFERENCES = {
    text.partition("\n")[0]: re.split(r"^## ", text, flags=re.M)[0] for text in SECTIONS
}
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


@pytest.mark.parametrize("title", DIFFERENCES)
def test_every_difference_says_both_and_names_a_test(title):
    text = DIFFERENCES[title]
    assert re.search(r"^- There: ", text, re.M) and re.search(r"^- Here: ", text, re.M)
    assert re.search(r"^- Test: `tests/[\w/]+\.py::\w+`$", text, re.M)
    assert text.count("- Test:") == len(re.findall(r"\.py::", text)), "not readable"


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_every_named_test_exists(file):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    there = {node.name for node in tree.body if isinstance(node, functions)}
    assert {name for named, name in NAMED if named == file} - there == set()


def test_every_test_of_a_difference_is_named():
    """A program that ends differently on both engines is a difference."""
    named = {name for _, name in NAMED}
    silent = []
    for file in sorted((ROOT / "tests" / "parity").glob("test_*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.AsyncFunctionDef) and "on_both" in ast.dump(node):
                silent += [] if node.name in named | ALIKE else [node.name]
    assert silent == []


# Both engines do the same here, as far as anybody can rely on it.
ALIKE = {
    "test_b27_data_that_is_no_context_is_refused",
    "test_a_thousand_events_are_fanned_out_and_joined_in_no_time",
}


def test_the_table_of_modules_names_what_is_there():
    rows = re.findall(r"^\| `workflows[\w.]*` \| (.*) \| `([\w.]+)` \|$", PAGE, re.M)
    assert len(rows) >= 10
    for names, room in rows:
        module = importlib.import_module(room)
        for name in re.findall(r"`(\w+)`", names):
            assert hasattr(module, name), f"{room} has no {name}"
            assert name in stepwell.__all__


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", PAGE):
        if "://" not in target:
            assert (ROOT / "docs" / target).exists(), target
