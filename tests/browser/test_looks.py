"""What is shown fits its cell, stays where it is, and has names for all who read."""

import pytest

pytestmark = pytest.mark.browser

DEFINE = """
import asyncio
from typing import Literal
import stepwell
from stepwell import *

class Query(Event):
    text: str
    fails: bool = False

class Hit(Event):
    pass

class Delta(Event):
    delta: str

class Review(InputRequiredEvent):
    pass

class Reviewed(HumanResponseEvent):
    stars: int
    city: Literal["a", "b", "c", "d", "e", "f"]
    remark: str

LONG = "a_name_without_any_room_for_a_line_break_" * 5

class Search(Workflow):
    @step
    async def split_the_question_into_many(self, ev: StartEvent) -> list[Query]:
        print(LONG)
        fails = ev.get("fails", False)
        return [Query(text=f"{LONG} {n}", fails=fails) for n in range(30)]

    @step(num_workers=30)
    async def search(self, ctx: Context, ev: Query) -> Hit:
        ctx.progress(1, 3, LONG)
        if ev.text.endswith(" 3") and ev.fails:
            raise ValueError(LONG)
        return Hit()

    @step
    async def merge_what_was_found(self, ctx: Context, ev: list[Hit]) -> Review:
        ctx.write_event_to_stream(Delta(delta=LONG))
        await ctx.set(LONG, LONG)
        return Review(prefix=LONG)

    @step
    async def take(self, ev: Reviewed) -> StopEvent:
        return StopEvent(result=LONG)
"""
ANSWER = 'answers=[dict(stars=1, city="a", remark=LONG)]'
RUNS = f"""
one, two = Search().run({ANSWER}), Search().run({ANSWER})
await one; await two
display(one.record, stepwell.compare(one, two))
"""
MANY = """
many = [Search().run(fails=True) for _ in range(8)]
await asyncio.gather(*many, return_exceptions=True)
"""
# Whatever reaches further right than its output, and is not cut off or scrolled there.
WIDER = """() => {
    const found = [];
    for (const output of document.querySelectorAll('.jp-OutputArea-output')) {
        const right = output.getBoundingClientRect().right + 1;
        for (const element of output.querySelectorAll('*')) {
            const box = element.getBoundingClientRect();
            if (!box.width || box.right <= right) { continue; }
            let around = element.parentElement;
            const cuts = () => getComputedStyle(around).overflowX !== 'visible';
            while (around !== output && !cuts()) { around = around.parentElement; }
            if (around === output) { found.push(element.outerHTML.slice(0, 200)); }
        }
        if (output.scrollWidth > output.clientWidth + 1) {
            found.push('scrolls: ' + output.outerHTML.slice(0, 200));
        }
    }
    return found;
}"""
FOLLOW = """() => {
    window.heights = [];
    const look = () => {
        const output = document.querySelectorAll('.jp-Cell')[1]
            .querySelector('.jp-OutputArea');
        const height = output ? Math.round(output.getBoundingClientRect().height) : 0;
        if (height !== window.heights.at(-1)) { window.heights.push(height); }
        requestAnimationFrame(look);
    };
    look();
}"""
WRITING = """
class Writing(Workflow):
    @step
    async def write(self, ctx: Context, ev: StartEvent) -> StopEvent:
        for n in range(60):
            print("line", n)
            ctx.progress(n % 20, 20) if n % 20 < 19 else ctx.progress(20, 20)
            ctx.write_event_to_stream(Delta(delta="some words more and more " * 3))
            await asyncio.sleep(0.05)
        await gate.wait()
        return StopEvent()

gate = asyncio.Event()
handler = Writing().run()
handler
"""


@pytest.mark.parametrize("width", [1280, 760])
def test_nothing_is_wider_than_its_cell(front_end, width):
    notebook = front_end.notebook(
        f"narrow {width}",
        [DEFINE, RUNS, "Search", "handler = Search().run()\nhandler", MANY],
        viewport={"width": width, "height": 3000},
    )
    notebook.run_all()
    notebook.wait_for_idle()
    notebook.wait_for('button:has-text("Send")')
    assert notebook.page.evaluate(WIDER) == []
    notebook.close()


def test_cells_below_a_live_panel_move_a_few_times_at_most(lab):
    notebook = lab.notebook("still", [DEFINE, WRITING, "1"])
    notebook.page.evaluate(FOLLOW)
    notebook.run_all()
    notebook.wait_for('.jupyter-widgets :text("line 59")')
    heights = notebook.page.evaluate("() => window.heights")
    # Nothing, the panel, its text, more of it; never less than before.
    assert heights == sorted(heights) and len(heights) <= 8, heights
    notebook.run_cell("gate.set()")
    notebook.close()


def test_fields_and_pictures_have_names(lab):
    cells = [DEFINE, "handler = Search().run()\nhandler"]
    notebook = lab.notebook("named", cells)
    notebook.run_all()
    notebook.press("Send")
    notebook.wait_for('[role="alert"] >> nth=0')
    # What the browser tells a screen reader: titles count, below empty labels too.
    spoken = notebook.page.context.new_cdp_session(notebook.page)
    nodes = spoken.send("Accessibility.getFullAXTree")["nodes"]
    found = {
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if "name" in node and "role" in node
    }
    fields = {("textbox", "Stars"), ("combobox", "City"), ("textbox", "Remark")}
    assert fields <= {(role.lower(), name) for role, name in found}
    images = [name for role, name in found if role in ("image", "img")]
    assert any(name.startswith("Workflow Search: ") for name in images)
    assert "Timeline of Search" in images
    notebook.close()
