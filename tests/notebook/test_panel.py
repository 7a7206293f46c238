"""Panels of runs in a kernel that somebody sits at, with whatever may go wrong."""

import pytest

DEFINE = """
import asyncio, gc, time
import stepwell
from stepwell import *
from stepwell.notebook.panel import panel_of

configure = stepwell.notebook.configure

class Wait(Workflow):
    @step
    async def wait(self, ev: StartEvent) -> StopEvent:
        await asyncio.wait([gate])
        return StopEvent(result="ready")

class Ask(Workflow):
    @step
    async def ask(self, ev: StartEvent) -> InputRequiredEvent:
        return InputRequiredEvent(prompt="Who?")

    @step
    async def take(self, ev: HumanResponseEvent) -> StopEvent:
        return StopEvent(result=ev.response)

async def frozen(handler):
    await handler.stop_event_result()
    await panel_of(handler).wait_for_end()

gate = asyncio.get_running_loop().create_future()
handler = runs = None
"""
COUNT = """
def count():
    gc.collect()
    names = [type(each).__name__ for each in gc.get_objects()]
    return [names.count(name) for name in ("WorkflowHandler", "RunPanel", "Run")]
"""
OPEN_UP = "gate.set_result(None)\nawait frozen(handler)"


@pytest.fixture(scope="module")
def kernel(start_kernel):
    return start_kernel()


@pytest.fixture
def closed(kernel):
    kernel.run(DEFINE)
    kernel.run("configure(panel='live')")
    kernel.displays.clear()
    return kernel


def shown(kernel):
    (display,) = kernel.displays.values()
    return display


def test_a_panel_freezes_though_the_new_steps_make_no_workflow(closed):
    closed.run("handler = Wait().run()\nhandler")
    closed.run(
        """
        class Nobody(Event): ...

        class Wait(Workflow):
            @step
            async def wait(self, ev: StartEvent) -> Nobody:
                return Nobody()
        """
    )
    assert closed.run("handler.is_stale").value == "True"
    closed.run(OPEN_UP)
    assert shown(closed)["text/plain"].startswith("Wait: done · 1/1 steps")
    assert "application/vnd.jupyter.widget-view+json" not in shown(closed)


def test_what_cannot_be_painted_hurts_no_run_and_is_told_of_once(closed):
    cell = closed.run(
        """
        from stepwell.notebook import story
        tried = asyncio.Event()
        def broken(view):
            tried.set()
            return 1 / 0
        kept, story.told_html = story.told_html, broken
        handler = Wait().run()
        display(handler)
        await tried.wait()
        gate.set_result(None)
        await frozen(handler)
        story.told_html = kept
        handler.result()
        """
    )
    assert cell.value == "'ready'"
    assert cell.printed.count("could not be painted") == 1
    (panel,) = [d for d in closed.displays.values() if "Wait" in d["text/plain"]]
    assert panel["text/plain"].startswith("Wait: done · 1/1 steps · 1 call")


def test_events_with_fields_named_as_methods_are_shown(closed):
    cell = closed.run(
        """
        class Order(Event):
            items: list[str]
            get: str

        class Ordering(Workflow):
            @step
            async def order(self, ctx: Context, ev: StartEvent) -> StopEvent:
                ctx.write_event_to_stream(Order(items=["tea"], get="it"))
                return StopEvent(result="ordered")

        await Ordering().run()
        """
    )
    assert cell.value == "'ordered'"
    assert cell.printed == ""
    assert "Order(items=[&#x27;tea&#x27;]" in shown(closed)["text/html"]


def test_a_reader_left_behind_by_a_flood_still_counts_right(closed):
    closed.run(
        """
        class Flood(Workflow):
            @step
            async def pour(self, ctx: Context, ev: StartEvent) -> StopEvent:
                for n in range(150_000): ctx.write_event_to_stream(drop)
                return StopEvent(result="poured")

        drop = Event(n=1)
        handler = Flood().run()
        display(handler)
        _ = await handler
        """
    )
    assert shown(closed)["text/plain"].startswith("Flood: done · 1/1 steps · 1 call ·")


def test_300_steps_are_painted_as_seldom_as_the_server_bears(closed):
    closed.run(
        """
        lines = ["class Long(Workflow):"]
        for n in range(300):
            globals()[f"E{n}"] = type(f"E{n}", (Event,), {"__module__": "__main__"})
        for n in range(300):
            takes = f"E{n}" if n else "StartEvent"
            gives = f"E{n + 1}" if n < 299 else "StopEvent"
            lines += ["    @step",
                      f"    async def s{n}(self, ev: {takes}) -> {gives}:",
                      "        await asyncio.sleep(0.01)",
                      f"        return {gives}()"]
        exec("\\n".join(lines))
        """
    )
    cell = closed.run(
        "begun = time.monotonic()\n_ = await Long(timeout=None).run()\n"
        "time.monotonic() - begun"
    )
    (panel,) = [d for d in closed.displays.values() if "Long" in d["text/plain"]]
    assert "300/300 steps" in panel["text/plain"]
    # The first picture, and the last one, come at once.
    assert closed.letters < 1_500_000 + 700_000 * float(cell.value)


@pytest.mark.parametrize("panel", ["final", "off"])
def test_without_a_form_the_input_box_asks(closed, panel):
    closed.run(f"configure(panel={panel!r})")
    assert closed.run("await Ask().run()", answer="Ada").value == "'Ada'"
    assert closed.asked == ["Who? "]


def test_runs_in_a_table_ask_one_after_the_other(closed):
    cell = closed.run(
        "await asyncio.gather(*[Ask().run() for _ in range(7)])", answer="Ada"
    )
    assert cell.value == str(["Ada"] * 7)
    assert closed.asked == ["Who? "] * 7
    assert cell.printed == ""


def test_a_handler_shown_by_its_end_alone_gets_it(closed):
    closed.run("configure(panel='final')")
    closed.run("handler = Wait().run()\nhandler")
    assert shown(closed)["text/plain"].startswith("Wait: running")
    closed.run(OPEN_UP)
    assert shown(closed)["text/plain"].startswith("Wait: done")


def test_a_run_on_another_loop_is_shown_and_awaited(closed):
    cell = closed.run(
        """
        import threading
        other = asyncio.new_event_loop()
        thread = threading.Thread(target=other.run_forever, daemon=True)
        thread.start()

        class Nap(Workflow):
            @step
            async def nap(self, ev: StartEvent) -> StopEvent:
                await asyncio.sleep(0.4)
                return StopEvent(result="awake")

        async def begin(): return Nap().run()
        async def end(): return await handler

        handler = asyncio.run_coroutine_threadsafe(begin(), other).result()
        display(handler)
        there = asyncio.run_coroutine_threadsafe(end(), other)
        [await handler, await asyncio.wrap_future(there)]
        """
    )
    assert cell.value == "['awake', 'awake']"
    assert all(
        d["text/plain"].startswith("Nap: done") for d in closed.displays.values()
    )


def test_the_record_of_a_run_in_a_table_knows_what_became_of_it(closed):
    closed.run("gate.set_result(None)\nruns = [Wait().run() for _ in range(9)]")
    closed.run("_ = await asyncio.gather(*runs)")
    (bundle,) = closed.run("runs[-1].record").bundles
    assert ">done</span>" in bundle["text/html"]
    assert ">running</span>" not in bundle["text/html"]


def test_runs_that_were_shown_are_not_kept_for_that(closed):
    closed.run("gate.set_result(None)\n_ = await Wait().run()")
    closed.run(COUNT)
    before = eval(closed.run("count()").value)
    closed.run("for _ in range(3): await Wait().run()")
    closed.run(
        "runs = [Wait().run() for _ in range(20)]\n_ = await asyncio.gather(*runs)"
    )
    closed.run("for run in runs: await frozen(run)\nruns = run = None")
    closed.run("_ = await Wait().run()")
    # `_handler` names the last one, as it did before.
    after = eval(closed.run("count()").value)
    assert all(now <= then for now, then in zip(after, before, strict=True))
