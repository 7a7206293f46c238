"""Questions to people in a panel, answered by clicks and keys.

All tests of a kernel share one open notebook, whose cells each of them replaces. How
cells that await ask, which is not the same everywhere, is in `test_everywhere`.
"""

from collections.abc import Iterator

import pytest

from browser.pages import Notebook

pytestmark = pytest.mark.browser

DEFINE = """
import asyncio
from typing import Literal
from pydantic import Field
from stepwell import *

class Review(InputRequiredEvent):
    text: str

class Reviewed(HumanResponseEvent):
    verdict: Literal["accept", "revise"]
    stars: int = Field(ge=1, le=5)
    text: str
    notify: bool = False

class Desk(Workflow):
    @step
    async def ask(self, ev: StartEvent) -> Review:
        ask = "Is <img src=x onerror=window.hacked=1> good?"
        return Review(prompt=ask, text="a\\nb")

    @step
    async def take(self, ev: Reviewed) -> StopEvent:
        return StopEvent(result=[ev.verdict, ev.stars, ev.text, ev.notify])

class Sure(Workflow):
    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        answers = []
        for prompt in ev.prompts:
            answer = await ctx.wait_for_event(
                HumanResponseEvent,
                waiter_event=InputRequiredEvent(prompt=prompt, default=True),
                timeout=600,
            )
            answers.append(answer.response)
        return StopEvent(result=answers)

class Name(Workflow):
    @step
    async def ask(self, ev: StartEvent) -> InputRequiredEvent:
        return InputRequiredEvent(prefix="Name?")

    @step
    async def take(self, ev: HumanResponseEvent) -> StopEvent:
        return StopEvent(result=f"Hello, {ev.response}!")
"""
FORM = ".jupyter-widgets:visible"
TEXT = f"{FORM} input[type=text]"


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
    notebook.start_over([DEFINE, "handler = Desk().run()\nhandler"])
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
    notebook.start_over([DEFINE, "handler = Name().run()\nhandler"])
    notebook.run_all()
    notebook.type_into(TEXT, "Ada")
    notebook.page.keyboard.press("Enter")
    notebook.wait_for('.jp-RenderedHTMLCommon:has-text("Hello, Ada!")')


def test_one_press_says_yes_and_the_next_question_comes(notebook):
    cell = "handler = Sure().run(prompts=['One?', 'Two?'])\nhandler"
    notebook.start_over([DEFINE, cell])
    notebook.run_all()
    notebook.wait_for(f'{FORM} :text("One?")')
    notebook.wait_for(f'{FORM} :text("left to answer")')
    notebook.press("Yes")
    notebook.wait_for(f'{FORM} :text("Two?")')
    notebook.press("No")
    notebook.wait_for('.jp-RenderedHTMLCommon:has-text("[True, False]")')


def test_a_form_that_code_has_answered_is_gone(notebook):
    notebook.start_over([DEFINE, "handler = Name().run()\nhandler"])
    notebook.run_all()
    notebook.wait_for(TEXT)
    notebook.run_cell("handler.send_event(handler.questions[0].answer('Bob'))")
    notebook.wait_for('.jp-RenderedHTMLCommon:has-text("Hello, Bob!")')
    assert notebook.page.locator(TEXT).count() == 0


def test_cancel_stops_the_run_which_may_ask_again(notebook):
    notebook.start_over([DEFINE, "handler = Name().run()\nhandler"])
    notebook.run_all()
    notebook.press("Cancel")
    notebook.wait_for('.jp-RenderedHTMLCommon:has-text("Cancel was pressed")')
    notebook.run_cell("again = handler.resume()\nagain")
    notebook.type_into(TEXT, "Eve")
    notebook.press("Send")
    notebook.wait_for('.jp-RenderedHTMLCommon:has-text("Hello, Eve!")')
