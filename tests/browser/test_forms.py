"""Questions to people in a panel, answered by clicks and keys.

All tests of a kernel share one open notebook, whose cells each of them replaces. How
cells that await ask, which is not the same everywhere, is in `test_everywhere`.
"""

from collections.abc import Iterator

import pytest

from browser.pages import Notebook
from browser.programs import ASKING, FORM, TEXT

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def opened(lab, kernel) -> Iterator[Notebook]:
    notebook = lab.notebook("forms", [""], kernel=kernel)
    yield notebook
    notebook.close()


@pytest.fixture
def notebook(opened) -> Iterator[Notebook]:
    yield opened
    assert opened.errors == []
    assert opened.page.evaluate("() => window.hacked") is None


def test_a_form_is_filled_in_corrected_and_sent(notebook):
    notebook.start_over([ASKING, "handler = Desk().run()\nhandler"])
    notebook.run_all()
    notebook.press("Send")
    notebook.wait_for(f'{FORM} :text("is to be filled in") >> nth=0')
    notebook.wait_for(f'{FORM} label:has-text("revise") input').click()
    notebook.type_into(TEXT, "9")
    notebook.press("Send")
    notebook.wait_for(f'{FORM} :text("less than or equal to 5")')
    notebook.type_into(TEXT, "4")
    notebook.type_into(f"{FORM} textarea", "better")
    notebook.press("Send")
    notebook.wait_for('.jp-RenderedHTMLCommon:has-text("done")')
    cell = notebook.run_cell("await handler")
    notebook.wait_for_output(cell, "['revise', 4, 'better', False]")


def test_the_enter_key_sends_a_text(notebook):
    notebook.start_over([ASKING, "handler = Name().run()\nhandler"])
    notebook.run_all()
    notebook.type_into(TEXT, "Ada")
    notebook.page.keyboard.press("Enter")
    notebook.wait_for('.jp-RenderedHTMLCommon:has-text("Hello, Ada!")')


def test_one_press_says_yes_and_the_next_question_comes(notebook):
    cell = "handler = Sure().run(prompts=['One?', 'Two?'])\nhandler"
    notebook.start_over([ASKING, cell])
    notebook.run_all()
    notebook.wait_for(f'{FORM} :text("One?")')
    notebook.wait_for(f'{FORM} :text("left to answer")')
    notebook.press("Yes")
    notebook.wait_for(f'{FORM} :text("Two?")')
    notebook.press("No")
    notebook.wait_for('.jp-RenderedHTMLCommon:has-text("[True, False]")')


def test_a_form_that_code_has_answered_is_gone(notebook):
    notebook.start_over([ASKING, "handler = Name().run()\nhandler"])
    notebook.run_all()
    notebook.wait_for(TEXT)
    notebook.run_cell("handler.send_event(handler.questions[0].answer('Bob'))")
    notebook.wait_for('.jp-RenderedHTMLCommon:has-text("Hello, Bob!")')
    assert notebook.page.locator(TEXT).count() == 0


def test_cancel_stops_the_run_which_may_ask_again(notebook):
    notebook.start_over([ASKING, "handler = Name().run()\nhandler"])
    notebook.run_all()
    notebook.press("Cancel")
    notebook.wait_for('.jp-RenderedHTMLCommon:has-text("Cancel was pressed")')
    notebook.run_cell("again = handler.resume()\nagain")
    notebook.type_into(TEXT, "Eve")
    notebook.press("Send")
    notebook.wait_for('.jp-RenderedHTMLCommon:has-text("Hello, Eve!")')
