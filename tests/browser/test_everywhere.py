"""What must hold wherever a notebook is opened, whatever kernel executes it.

All tests of a place share one open notebook, whose cells each of them replaces.
"""

from collections.abc import Iterator

import pytest

from browser.pages import Notebook
from browser.programs import ASKING, FORM, FROZEN, LIVE, OPEN, SHOW, SLOW, TEXT

pytestmark = pytest.mark.browser

ASK = """
class Greeting(Workflow):
    @step
    async def greet(self, ev: StartEvent) -> StopEvent:
        name = await asyncio.to_thread(input, "Who is there? ")
        return StopEvent(result=f"Hello, {name}!")

await Greeting().run()
"""
RUNNING = '.jupyter-widgets :text("running")'
BOX = "input.jp-Stdin-input"


@pytest.fixture(scope="module")
def opened(place) -> Iterator[Notebook]:
    notebook = place.notebook("everywhere", [""])
    yield notebook
    notebook.close()


@pytest.fixture
def notebook(opened) -> Iterator[Notebook]:
    yield opened
    assert opened.errors == []


def state_in(output):
    return "".join(output["data"]["text/plain"]).split(" · ")[0]


def test_the_kernel_is_the_wanted_one(place, notebook):
    notebook.start_over(["import ipykernel\nipykernel.__version__"])
    notebook.run_all()
    notebook.wait_for_output(0, place.kernel)


def test_a_handler_shows_a_live_panel_while_later_cells_are_executed(notebook):
    notebook.start_over([SLOW, SHOW, "1 + 1"])
    notebook.run_all()
    notebook.wait_for(LIVE)
    notebook.wait_for_output(2, "2")
    notebook.wait_for('.jupyter-widgets :text("running")')
    notebook.run_cell(OPEN)
    notebook.wait_for(f'{FROZEN}:has-text("done")')
    assert state_in(notebook.outputs(1)[0]) == "Slow: done"


def test_stop_is_heard_once_the_cell_has_ended(notebook):
    notebook.start_over([SLOW, SHOW])
    notebook.run_all()
    notebook.wait_for_idle()
    notebook.press("Stop")
    notebook.wait_for(f'{FROZEN}:has-text("cancelled")')
    assert state_in(notebook.outputs(1)[0]) == "Slow: cancelled"


def test_an_awaiting_cell_offers_stop_where_the_kernel_hears_it(place, notebook):
    notebook.start_over([SLOW, "await Slow().run()"])
    notebook.run_all()
    notebook.wait_for(RUNNING)
    if place.hears_clicks_while_awaiting:
        notebook.press("Stop")
    else:
        assert not notebook.page.locator(LIVE).is_visible()
        notebook.interrupt()
    notebook.wait_for_output(1, "Workflow")
    notebook.wait_for_idle()
    panel, error = notebook.outputs(1)
    assert state_in(panel) == "Slow: cancelled"
    heard = error["ename"] == "WorkflowCancelledByUser"
    assert heard or error["ename"] == "WorkflowInterrupted"
    assert heard == place.hears_clicks_while_awaiting


def test_an_interrupt_ends_an_awaiting_cell_and_its_run(notebook):
    notebook.start_over([SLOW, "await Slow().run()"])
    notebook.run_all()
    notebook.wait_for(RUNNING)
    notebook.interrupt()
    notebook.wait_for_output(1, "WorkflowInterrupted")
    panel, error = notebook.outputs(1)
    assert state_in(panel) == "Slow: cancelled"
    assert error["ename"] == "WorkflowInterrupted"


def test_a_step_of_an_awaiting_cell_can_ask_with_input(notebook):
    notebook.start_over([SLOW, ASK])
    notebook.run_all()
    notebook.answer_stdin("Ada")
    notebook.wait_for_output(1, "Hello, Ada!")


def test_a_cell_that_awaits_asks_by_form_or_by_the_input_box(place, notebook):
    notebook.start_over([ASKING, "await Name().run()", "await Desk().run()"])
    notebook.run_all()
    if place.hears_clicks_while_awaiting:
        notebook.type_into(TEXT, "Ada")
        notebook.press("Send")
        notebook.wait_for_output(1, "'Hello, Ada!'")
        notebook.wait_for(f'{FORM} label:has-text("accept") input').click()
        notebook.type_into(TEXT, "5")
        notebook.press("Send")
    else:
        notebook.answer_stdin("Ada")
        notebook.wait_for_output(1, "'Hello, Ada!'")
        for answer in ("accept", "9", "", ""):
            notebook.answer_stdin(answer)
        notebook.wait_for('.jp-Stdin :text("less than or equal to 5")')
        notebook.answer_stdin("5")
    notebook.wait_for_output(2, "['accept', 5, 'a\\\\nb', False]")


def test_an_interrupt_ends_a_cell_that_asks_and_the_next_one_asks_anew(place, notebook):
    notebook.start_over([ASKING, "await Name().run()"])
    notebook.run_all()
    notebook.wait_for(TEXT if place.hears_clicks_while_awaiting else BOX)
    notebook.interrupt()
    notebook.wait_for_output(1, "WorkflowInterrupted")
    notebook.wait_for_idle()
    cell = notebook.run_cell("await _handler.resume()")
    if place.hears_clicks_while_awaiting:
        notebook.type_into(TEXT, "Ada")
        notebook.press("Send")
    else:
        notebook.wait_for(f".jp-Cell >> nth={cell} >> {BOX}")
        notebook.answer_stdin("Ada")
    notebook.wait_for_output(cell, "'Hello, Ada!'")


def test_frozen_panels_stay_readable_after_a_restart_and_reopening(notebook):
    notebook.start_over([SLOW, SHOW, OPEN, "await Slow().run()"])
    notebook.run_all()
    notebook.wait_for(f'.jp-Cell >> nth=1 >> {FROZEN}:has-text("done")')
    notebook.wait_for_output(3, "ready")
    notebook.restart()
    assert_all_readable(notebook)
    notebook.reopen()
    assert_all_readable(notebook)


def assert_all_readable(notebook):
    notebook.wait_for(f'.jp-Cell >> nth=1 >> {FROZEN}:has-text("done") img >> nth=0')
    notebook.wait_for_output(3, "ready")
    assert state_in(notebook.outputs(1)[0]) == "Slow: done"
    assert notebook.page.locator(":text('model not found')").count() == 0
    assert notebook.page.locator(LIVE).count() == 0
