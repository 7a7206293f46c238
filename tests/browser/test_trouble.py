"""What goes wrong around a run: closed tabs, restarted kernels, floods, villains."""

import os

import pytest

from browser.programs import FROZEN, LIVE, OPEN, SHOW, SLOW

pytestmark = pytest.mark.browser

# Both ends of a pipe wait for each other: nobody has to look again and again.
WAIT_FOR_PIPES = """
async def through_pipes():
    await asyncio.to_thread(Path("go").read_text)
    gate.set_result(None)
    await handler
    # The panel reads the end from the stream, as this does.
    async for event in handler.stream_events(): pass
    await asyncio.to_thread(Path("ended").write_text, "ended")

waiting = asyncio.create_task(through_pipes())
"""
VILLAIN = (
    "\"></style></script></details>'"
    "<img src=x onerror=window.hacked=1><svg onload=window.hacked=2></svg>"
    "<script>window.hacked=3</script>"
)


def in_cell(cell, selector):
    return f".jp-Cell >> nth={cell} >> {selector}"


def state_in(output):
    return "".join(output["data"]["text/plain"]).split(" · ")[0]


@pytest.fixture
def pipes(front_end):
    """Lets a run end that `WAIT_FOR_PIPES` holds, and returns when it has."""
    paths = [front_end.root / "go", front_end.root / "ended"]
    for path in paths:
        os.mkfifo(path)

    def let_it_end():
        paths[0].write_text("go")
        assert paths[1].read_text() == "ended"

    yield let_it_end
    for path in paths:
        path.unlink()


def test_a_run_goes_on_while_its_tab_is_closed(front_end, pipes):
    cells = [SLOW, SHOW, WAIT_FOR_PIPES]
    notebook = front_end.notebook("closed", cells)
    notebook.run_all()
    notebook.wait_for(LIVE)
    notebook.wait_for_idle()
    with notebook.closed_tab():
        pipes()
    cell = notebook.run_cell("handler")
    notebook.wait_for(in_cell(cell, f'{FROZEN}:has-text("done")'))
    assert state_in(notebook.outputs(cell)[0]) == "Slow: done"
    assert notebook.errors == []
    notebook.close()


def test_a_panel_saved_alive_shows_the_end_when_reopened(front_end, pipes):
    cells = [SLOW, SHOW, WAIT_FOR_PIPES]
    notebook = front_end.notebook("saved alive", cells)
    notebook.run_all()
    notebook.wait_for(LIVE)
    notebook.wait_for_idle()
    notebook.save()
    with notebook.closed_tab():
        pipes()
    notebook.wait_for(in_cell(1, '.jp-OutputArea-output:has-text("done")'))
    assert notebook.page.locator(LIVE).count() == 0
    assert notebook.errors == []
    notebook.close()


def test_a_panel_goes_on_living_when_its_tab_is_opened_again(front_end):
    notebook = front_end.notebook("reopened alive", [SLOW, SHOW])
    notebook.run_all()
    notebook.wait_for(LIVE)
    notebook.wait_for_idle()
    notebook.reopen()
    notebook.press("Stop")
    notebook.wait_for(in_cell(1, '.jp-OutputArea-output:has-text("cancelled")'))
    assert notebook.errors == []
    notebook.close()


def test_two_pages_on_one_kernel_both_show_the_run_and_its_end(front_end):
    notebook = front_end.notebook("two", [SLOW, SHOW])
    notebook.run_all()
    notebook.wait_for(LIVE)
    notebook.wait_for_idle()
    other = notebook.beside()
    cell = other.run_cell("handler")
    other.wait_for(in_cell(cell, LIVE))
    other.run_cell(OPEN)
    notebook.wait_for(in_cell(1, f'{FROZEN}:has-text("done")'))
    other.wait_for(in_cell(cell, f'{FROZEN}:has-text("done")'))
    assert state_in(notebook.outputs(1)[0]) == "Slow: done"
    assert state_in(other.outputs(cell)[0]) == "Slow: done"
    assert notebook.errors == other.errors == []
    other.page.close()
    notebook.close()


def test_a_kernel_restart_in_a_run_spoils_no_output_for_long(front_end):
    early = "gate.set_result(None)\nearly = Slow().run()\nawait early\nearly"
    fresh = "gate = asyncio.get_running_loop().create_future()"
    notebook = front_end.notebook("restart", [SLOW, early, fresh, SHOW])
    notebook.run_all()
    notebook.wait_for(LIVE)
    notebook.wait_for_idle()
    notebook.restart()
    notebook.wait_for(in_cell(1, f'{FROZEN}:has-text("done") img >> nth=0'))
    notebook.run_all()
    notebook.wait_for_idle()
    notebook.wait_for(LIVE)
    notebook.run_cell(OPEN)
    notebook.wait_for(in_cell(3, f'{FROZEN}:has-text("done")'))
    assert notebook.page.locator(":text('model not found')").count() == 0
    assert notebook.page.locator(LIVE).count() == 0
    assert notebook.errors == []
    notebook.close()


FLOOD = """
class Tick(Event):
    number: int

class Flood(Workflow):
    @step
    async def pour(self, ctx: Context, ev: StartEvent) -> StopEvent:
        for number in range(10_000):
            ctx.write_event_to_stream(Tick(number=number))
            await asyncio.sleep(0)
        return StopEvent(result="all poured")

handler = Flood().run()
display(handler)
await handler
"""


def test_ten_thousand_events_trip_no_limit_and_lose_no_end(front_end):
    notebook = front_end.notebook("flood", [SLOW, FLOOD, "len(handler.record)"])
    notebook.run_all()
    notebook.wait_for_idle()
    notebook.wait_for_output(1, "all poured")
    notebook.wait_for(in_cell(1, '.jp-RenderedHTMLCommon:has-text("done")'))
    assert state_in(notebook.outputs(1)[0]) == "Flood: done"
    assert "rate exceeded" not in notebook.page.content()
    assert "rate exceeded" not in front_end.server.log
    assert notebook.errors == []
    notebook.close()


LONG = """
lines = ["class Long(Workflow):"]
for n in range(300):
    takes = f"E{n}" if n else "StartEvent"
    gives = f"E{n + 1}" if n < 299 else "StopEvent"
    globals()[takes] = globals().get(takes) or type(
        takes, (Event,), {"__module__": "__main__"})
    lines += ["    @step",
              f"    async def s{n}(self, ev: {takes}) -> {gives}:",
              "        await asyncio.sleep(0.02)",
              f"        return {gives}()"]
exec("\\n".join(lines))
await asyncio.gather(*[Long(timeout=None).run() for _ in range(2)])
"""


def test_two_runs_of_300_steps_trip_no_limit_and_lose_no_end(front_end):
    notebook = front_end.notebook("long", [SLOW, LONG])
    notebook.run_all()
    notebook.wait_for_idle()
    notebook.wait_for(in_cell(1, '.jp-RenderedHTMLCommon:has-text("300/300") >> nth=1'))
    states = [state_in(output) for output in notebook.outputs(1)[:2]]
    assert states == ["Long: done"] * 2
    assert "rate exceeded" not in notebook.page.content()
    assert "rate exceeded" not in front_end.server.log
    assert notebook.errors == []
    notebook.close()


GREAT = """
class Great(Event):
    text: str

class Shipping(Workflow):
    @step
    async def ship(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ctx.write_event_to_stream(Great(text="x" * 2_000_000))
        await asyncio.wait([gate])
        return StopEvent(result="y" * 2_000_000)

handler = Shipping().run()
handler
"""


def test_an_event_of_two_megabytes_is_shown_in_brief(front_end):
    notebook = front_end.notebook("great", [SLOW, GREAT])
    notebook.run_all()
    notebook.wait_for(LIVE)
    notebook.wait_for('.jupyter-widgets :text("Great")')
    notebook.run_cell(OPEN)
    notebook.wait_for(in_cell(1, '.jp-RenderedHTMLCommon:has-text("done")'))
    notebook.save()
    assert notebook.path.stat().st_size < 200_000
    assert "rate exceeded" not in front_end.server.log
    assert notebook.errors == []
    notebook.close()


HOSTILE_RUN = """
def named(function, name):
    function.__name__ = function.__qualname__ = name
    return step(function)

Told = type("Told" + VILLAIN, (Event,), {
    "__annotations__": {"text": str}, "__module__": "__main__"})
Asked = type("Asked" + VILLAIN, (InputRequiredEvent,), {
    "__annotations__": {"prompt": str}, "__module__": "__main__"})

async def tell(self, ctx: Context, ev: StartEvent) -> Told:
    ctx.write_event_to_stream(Asked(prompt=VILLAIN))
    ctx.write_event_to_stream(Told(text=VILLAIN))
    print(VILLAIN)
    return Told(text=VILLAIN)

async def fail(self, ev: Told) -> StopEvent:
    await asyncio.wait([gate])
    raise ValueError(VILLAIN)

Hostile = type("Hostile" + VILLAIN, (Workflow,), {
    "__module__": "__main__",
    "tell" + VILLAIN: named(tell, "tell" + VILLAIN),
    "fail" + VILLAIN: named(fail, "fail" + VILLAIN),
})
handler = Hostile().run()
handler
"""
HOSTILE_ANSWER = """
class Answering(Workflow):
    @step
    async def answer(self, ev: StartEvent) -> StopEvent:
        await asyncio.wait([gate])
        return StopEvent(result=VILLAIN)

answering = Answering(workflow_name=VILLAIN).run()
answering
"""
HOSTILE_DOCUMENT = """
from stepwell.rag import Document, NodeList, NodeWithScore, TextNode
nodes = [NodeWithScore(node=TextNode(text=VILLAIN, metadata={
    "file_name": VILLAIN, VILLAIN: VILLAIN}), score=0.5)]
display(NodeList(nodes))
display(nodes[0])
Document(text=VILLAIN)
"""
# What runs if somebody forgets to escape; later in the page than all the rest.
CONTROL = """
from IPython.display import HTML
HTML("<img src=x onerror=window.control=1>")
"""


def test_nothing_that_strangers_wrote_is_executed(front_end):
    cells = [
        f"VILLAIN = {VILLAIN!r}",
        SLOW,
        HOSTILE_RUN,
        HOSTILE_ANSWER,
        HOSTILE_DOCUMENT,
        "Hostile",
    ]
    notebook = front_end.notebook("villain", cells)
    notebook.run_all()
    notebook.wait_for(f"{LIVE} >> nth=1")
    notebook.wait_for_idle()
    assert_nothing_ran(notebook)
    notebook.run_cell(OPEN)
    notebook.run_cell("await answering\nanswering")
    notebook.run_cell("handler.record")
    last = notebook.run_cell("await handler")
    notebook.wait_for(in_cell(2, '.jp-RenderedHTMLCommon:has-text("failed")'))
    notebook.wait_for_output(last, "ValueError")
    # A kernel does not begin what it is sent until it is done with an error.
    notebook.wait_for_idle()
    assert_nothing_ran(notebook)
    notebook.reopen()
    assert_nothing_ran(notebook)
    assert notebook.errors == []
    notebook.close()


def assert_nothing_ran(notebook):
    notebook.page.evaluate("() => { delete window.control; }")
    notebook.run_cell(CONTROL)
    notebook.page.wait_for_function("() => window.control === 1")
    assert notebook.page.evaluate("() => window.hacked") is None
