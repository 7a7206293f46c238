"""Answers and progress of `stepwell.rag` as a person meets them, in JupyterLab."""

import pytest

pytestmark = pytest.mark.browser

ANSWER = r"""
from stepwell.rag import *
evil = "<img src=x onerror=window.hacked=1> <script>window.hacked=1</script>"
evil += " $\\frac{1}{2}$"
def node(text, name):
    chunk = TextNode(text=text, metadata={"file_name": name})
    return NodeWithScore(node=chunk, score=1)
nodes = [node("Rates are set in a file. " * 90, f"{n}.md") for n in range(9)]
nodes[3] = node(evil, evil)
Response(response=f"Set it in the file [9]. {evil}", query="file", citations=[9],
         source_nodes=nodes)
"""
WORK = """
from stepwell.rag.progress import Progress
bar = Progress("files read", 40)
with bar:
    bar.advance(12)
    shown = input("seen?")
    bar.advance(28)
"""
CITATION = '.stepwell-rag a:has-text("9")'
IS_IN_SIGHT = """() => {
    const found = document.querySelectorAll('.stepwell-rag details');
    const box = found[8].getBoundingClientRect();
    return box.top >= 0 && box.bottom <= window.innerHeight;
}"""


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_a_number_in_an_answer_leads_to_its_passage_which_opens(lab, theme):
    notebook = lab.notebook(f"answer-{theme[-4:]}", [ANSWER])
    notebook.page.set_viewport_size({"width": 1000, "height": 600})
    notebook.set_theme(theme)
    notebook.run_all()
    notebook.wait_for(CITATION).click()
    notebook.page.wait_for_function(IS_IN_SIGHT)
    notebook.page.click('.stepwell-rag summary:has-text("8.md")')
    notebook.wait_for(".stepwell-rag details[open] pre mark >> nth=0")
    assert notebook.errors == []
    notebook.close()


def test_what_documents_hold_is_neither_run_nor_set_as_a_formula(lab):
    notebook = lab.notebook("hostile", [ANSWER])
    notebook.run_all()
    notebook.wait_for(CITATION)
    notebook.wait_for_idle()
    assert notebook.page.evaluate("() => window.hacked") is None
    assert notebook.page.query_selector(".stepwell-rag mjx-container") is None
    assert notebook.page.query_selector(".stepwell-rag img") is None
    notebook.close()


def test_a_bar_is_seen_while_the_cell_works_and_a_line_afterwards(lab):
    notebook = lab.notebook("bar", [WORK])
    notebook.run_all()
    notebook.wait_for('.jp-OutputArea :text("12 of 40 files read")')
    notebook.answer_stdin("yes")
    notebook.wait_for('.jp-OutputArea :text("40 of 40 files read")')
    notebook.save()
    (output,) = [o for o in notebook.outputs(0) if "data" in o]
    assert "".join(output["data"]["text/plain"]) == "40 of 40 files read"
    notebook.close()
