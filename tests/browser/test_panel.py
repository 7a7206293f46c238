"""The live panel as a person meets it: in JupyterLab, with a mouse."""

import pytest

pytestmark = pytest.mark.browser

DEFINE = """
import asyncio
from stepwell import *

class Part(Event):
    text: str

class Slow(Workflow):
    @step
    async def split(self, ev: StartEvent) -> list[Part]:
        return [Part(text="<img src=x onerror=window.hacked=1>") for _ in range(3)]

    @step(num_workers=2)
    async def work(self, ctx: Context, ev: Part) -> StopEvent | None:
        ctx.write_event_to_stream(ev)
        await asyncio.wait([gate])
        return StopEvent(result="ready")

gate = asyncio.get_running_loop().create_future()
"""
OPEN = "gate.set_result(None)"
LIVE = '.jupyter-widgets button:has-text("Stop")'
FROZEN = '.jp-RenderedHTMLCommon:has-text("Slow")'


def html_of(outputs):
    return [o["data"]["text/html"] for o in outputs if "text/html" in o.get("data", {})]


def state_in(outputs):
    (text,) = [o["data"]["text/plain"] for o in outputs if o["data"]]
    return "".join(text).split(" · ")[0]


def test_a_handler_shows_a_live_panel_while_the_notebook_goes_on(lab):
    notebook = lab.notebook(
        "live", [DEFINE, "handler = Slow().run()\nhandler", "1 + 1"]
    )
    notebook.run_all()
    notebook.wait_for(LIVE)
    notebook.wait_for_idle()
    notebook.wait_for('.jupyter-widgets :text("running")')
    notebook.wait_for(".jupyter-widgets svg .count >> nth=0", state="attached")
    badge = notebook.page.wait_for_function(
        "() => [...document.querySelectorAll('.jupyter-widgets .count')]"
        ".map(e => getComputedStyle(e, '::after').content).includes('\"0/3\"')"
    )
    assert badge
    assert notebook.page.evaluate("() => window.hacked") is None
    assert notebook.outputs(2)[0]["data"]["text/plain"] == "2"
    assert notebook.errors == []
    notebook.close()


def test_stop_cancels_the_run_and_freezes_the_panel(lab):
    notebook = lab.notebook("stop", [DEFINE, "handler = Slow().run()\nhandler"])
    notebook.run_all()
    notebook.wait_for(LIVE).click()
    notebook.wait_for(f'{FROZEN}:has-text("cancelled")')
    assert state_in(notebook.outputs(1)) == "Slow: cancelled"
    assert (
        "application/vnd.jupyter.widget-view+json" not in notebook.outputs(1)[0]["data"]
    )
    assert notebook.errors == []
    notebook.close()


def test_a_frozen_panel_survives_reload_and_kernel_restart(lab):
    cells = [DEFINE, "handler = Slow().run()\nhandler", OPEN]
    notebook = lab.notebook("frozen", cells)
    notebook.run_all()
    notebook.wait_for(f'{FROZEN}:has-text("done")')
    assert state_in(notebook.outputs(1)) == "Slow: done"
    (html,) = html_of(notebook.outputs(1))
    assert "onerror" not in "".join(html).replace("&lt;img src=x onerror", "")
    notebook.save()
    notebook.restart()
    notebook.open(lab.base)
    notebook.wait_for(f'{FROZEN}:has-text("done")')
    assert notebook.page.locator(".jp-Notebook img").count() == 2
    assert notebook.page.locator(":text('model not found')").count() == 0
    assert notebook.page.evaluate("() => window.hacked") is None
    assert notebook.errors == []
    notebook.close()


def test_an_awaiting_cell_shows_the_panel_and_stop_ends_it(lab):
    notebook = lab.notebook("awaited", [DEFINE, "await Slow().run()"])
    notebook.run_all()
    notebook.wait_for(LIVE).click()
    notebook.wait_for(".jp-OutputArea-output >> text=WorkflowCancelledByUser")
    kinds = [o["output_type"] for o in notebook.outputs(1)]
    assert kinds == ["display_data", "error"]
    assert state_in(notebook.outputs(1)[:1]) == "Slow: cancelled"
    assert len(notebook.outputs(1)[1]["traceback"]) <= 3
    notebook.close()


def test_interrupting_an_awaiting_cell_ends_the_run_with_a_short_error(lab):
    notebook = lab.notebook("interrupt", [DEFINE, "await Slow().run()", "gate.done()"])
    notebook.run_all()
    notebook.wait_for(LIVE)
    notebook.command("notebook:interrupt-kernel")
    notebook.wait_for(".jp-OutputArea-output >> text=WorkflowInterrupted")
    panel, error = notebook.outputs(1)
    assert state_in([panel]) == "Slow: cancelled"
    assert error["ename"] == "WorkflowInterrupted"
    assert len("\n".join(error["traceback"]).splitlines()) <= 3
    notebook.close()


def test_a_handler_shown_and_awaited_in_one_cell_has_one_panel(lab):
    cell = "handler = Slow().run()\ndisplay(handler)\nawait handler"
    notebook = lab.notebook("both", [DEFINE, cell])
    notebook.run_all()
    notebook.wait_for(LIVE).click()
    notebook.wait_for(".jp-OutputArea-output >> text=WorkflowCancelledByUser")
    kinds = [o["output_type"] for o in notebook.outputs(1)]
    assert kinds == ["display_data", "error"]
    assert state_in(notebook.outputs(1)[:1]) == "Slow: cancelled"
    notebook.close()


def test_a_workflow_cell_runs_in_place_with_its_panel(lab):
    cell = """%%workflow Waiter --run name="Ada"
import asyncio
async def wait(ev: StartEvent) -> StopEvent:
    await asyncio.get_running_loop().create_future()"""
    notebook = lab.notebook("magic", ["%load_ext stepwell", cell])
    notebook.run_all()
    notebook.wait_for(LIVE).click()
    notebook.wait_for(".jp-OutputArea-output >> text=WorkflowCancelledByUser")
    panel, error = notebook.outputs(1)
    assert state_in([panel]) == "Waiter: cancelled"
    assert error["ename"] == "WorkflowCancelledByUser"
    notebook.close()


def test_without_ipywidgets_the_panel_still_moves_and_freezes(lab):
    cells = [
        "import sys\nsys.modules['ipywidgets'] = None",
        DEFINE,
        "handler = Slow().run()\nhandler",
        "await asyncio.sleep(0)",
    ]
    notebook = lab.notebook("plain", cells)
    notebook.run_all()
    notebook.wait_for(f'{FROZEN}:has-text("running") svg .is-running >> nth=0')
    notebook.wait_for_idle()
    notebook.run_cell(OPEN)
    notebook.wait_for(f'{FROZEN}:has-text("done") img >> nth=0')
    assert state_in(notebook.outputs(2)) == "Slow: done"
    notebook.close()


def test_twenty_runs_in_one_cell_share_one_display(lab):
    cell = "await asyncio.gather(*[Slow().run() for _ in range(20)])"
    notebook = lab.notebook("many", [DEFINE, cell])
    notebook.run_all()
    notebook.wait_for_output(1, "20 running")
    assert notebook.page.locator(LIVE).count() == 0
    notebook.interrupt()
    notebook.wait_for_output(1, "WorkflowInterrupted")
    notebook.wait_for_output(1, "20 cancelled")
    kinds = [o["output_type"] for o in notebook.outputs(1)]
    assert kinds == ["display_data", "error"]
    notebook.close()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_the_graph_follows_the_theme_and_fits_its_cell(lab, theme):
    notebook = lab.notebook(f"theme {theme[-4:].strip()}", [DEFINE, "Slow"])
    notebook.set_theme(theme)
    notebook.run_all()
    notebook.wait_for_idle()
    image = notebook.wait_for(".jp-RenderedHTMLCommon img")
    notebook.page.wait_for_function("e => e.complete && e.naturalWidth > 0", arg=image)
    dark = notebook.page.evaluate("e => getComputedStyle(e).colorScheme", image)
    assert ("dark" in dark) == theme.endswith("Dark")
    scrolls = notebook.page.evaluate(
        "() => [...document.querySelectorAll('.jp-OutputArea-output')]"
        ".filter(e => e.scrollWidth > e.clientWidth + 1).length"
    )
    assert scrolls == 0
    notebook.set_theme("JupyterLab Light")
    notebook.close()
