"""What a live panel costs: frames of the page, and time of the kernel.

    python benchmarks/panel.py           JupyterLab in the Chromium of this machine

Prints a line for each figure, with what is to be reached. Not a test: what a browser
paints in a second depends on the machine, and on what else it does. Needs what
`tests/browser` needs, whose servers and pages it uses.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from browser.pages import Notebook
from browser.servers import FrontEnd, launch, serving

SECONDS = 10
# A chain of steps, the middle one of which works through events all the time: so each
# painting has something to change.
DEFINE = """
import asyncio, json, time
from stepwell import *

def chain(length):
    ours = {"__module__": "__main__"}
    between = [type(f"E{n}", (Event,), dict(ours)) for n in range(length)]
    events = [StartEvent, *between, StopEvent]
    names = dict(ours)
    for n in range(length + 1):
        names[f"step_{n}"] = link(n, events[n], events[n + 1], n == length // 2)
    return type(f"Chain{length}", (Workflow,), names)

def link(n, taken, given, is_busy):
    async def body(self, ctx: Context, ev: taken) -> given:
        while is_busy and not gate.is_set():
            ctx.write_event_to_stream(Tick(number=n))
            await asyncio.sleep(0.05)
        return given()
    body.__name__ = body.__qualname__ = f"step_{n}"
    return step(body)

class Tick(Event):
    number: int

gate = asyncio.Event()

async def cost_of(seconds):
    # The kernel's time over some seconds, and how often the panel was painted in them.
    from stepwell.notebook import ipywidgets as face
    paint, count = face.WidgetFace.paint, 0
    def counting(self, view):
        nonlocal count
        count += 1
        paint(self, view)
    face.WidgetFace.paint = counting
    began = time.process_time()
    await asyncio.sleep(seconds)
    spent = time.process_time() - began
    face.WidgetFace.paint = paint
    return json.dumps([spent, count])
"""
COUNT_FRAMES = """seconds => new Promise(resolve => {
    let frames = 0, longest = 0, began, last;
    const frame = now => {
        if (began === undefined) { began = now; }
        else { frames += 1; longest = Math.max(longest, now - last); }
        last = now;
        if (now - began < 1000 * seconds) { requestAnimationFrame(frame); }
        else { resolve([1000 * frames / (now - began), longest]); }
    };
    requestAnimationFrame(frame);
})"""
LIVE = '.jupyter-widgets button:has-text("Stop")'


def main() -> None:
    """Measure, and print."""
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as play,
        serving("lab", Path(folder)) as server,
    ):
        browser = launch(play)
        front_end = FrontEnd(server, browser)
        for nodes in (30, 100):
            measure(front_end, nodes)
        browser.close()


def measure(front_end: FrontEnd, nodes: int) -> None:
    """Open a chain of about so many nodes, run it, and look at it for a while."""
    # A node for each step and each event between two of them.
    length = nodes // 2
    notebook = front_end.notebook(f"chain of {nodes}", [DEFINE])
    notebook.run_all()
    notebook.wait_for_idle()
    still, _ = notebook.page.evaluate(COUNT_FRAMES, 3)
    say(f"{nodes} nodes, page without a panel", f"{still:.0f} fps", "")

    notebook.run_cell(f"handler = chain({length})(timeout=None).run()")
    unseen, _ = cost(notebook)
    cell = notebook.run_cell("handler")
    notebook.wait_for(LIVE)
    fps, longest = notebook.page.evaluate(COUNT_FRAMES, SECONDS)
    say(
        f"{nodes} nodes, page with a live panel",
        f"{fps:.0f} fps, longest frame {longest:.0f} ms",
        "above 50 fps",
    )
    spent, painted = cost(notebook)
    each = 1000 * (spent - unseen) / max(painted, 1)
    shares = 100 * spent / SECONDS, 100 * unseen / SECONDS
    say(
        f"{nodes} nodes, kernel",
        f"{each:.2f} ms a frame, {painted / SECONDS:.1f} frames a second, "
        "{:.1f} % of a core, {:.1f} % without the panel".format(*shares),
        "at most 2 ms" if nodes == 30 else "",
    )
    notebook.run_cell("gate.set()")
    notebook.wait_for_output(cell, "done")
    notebook.close()


def cost(notebook: Notebook) -> tuple[float, int]:
    """The kernel's seconds of processor time while it does nothing else, and frames."""
    cell = notebook.run_cell(f"await cost_of({SECONDS})")
    notebook.wait_for_output(cell, "[")
    text = notebook.outputs(cell)[0]["data"]["text/plain"]
    spent, painted = json.loads("".join(text).strip("'"))
    return spent, painted


def say(what: str, measured: str, wanted: str) -> None:
    """Print one line."""
    print(f"{what:38} {measured:70} {wanted}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
