"""What a notebook shows, executed by a real kernel with nobody watching."""

import pytest

DEFINE = """
import asyncio
from stepwell import *

class Word(Event):
    text: str

class Shout(Workflow):
    @step
    async def take(self, ev: StartEvent) -> Word:
        return Word(text=ev.text)

    @step
    async def shout(self, ev: Word) -> StopEvent:
        return StopEvent(result=ev.text.upper())
"""

TROUBLE = """
class Broken(Workflow):
    @step
    async def first(self, ev: StartEvent) -> Word:
        return Word(text="x")

    @step
    async def second(self, ev: Word) -> StopEvent:
        return self.look_up({})

    def look_up(self, table):
        return table["missing"]

class Stalled(Workflow):
    @step
    async def first(self, ev: StartEvent) -> Word:
        return Word(text="x")

    @step
    async def join(self, ctx: Context, ev: Word) -> StopEvent | None:
        return ctx.collect_events(ev, [Word] * 3)
"""


@pytest.fixture(scope="module")
def shown(execute):
    """One notebook for all that only has to be looked at."""
    cells = {
        "define": DEFINE,
        "class": "Shout",
        "instance": "workflow = Shout()\nworkflow",
        "awaited": 'await workflow.run(text="hello")',
        "handler": 'handler = workflow.run(text="later")\nhandler',
        "again": "await handler",
        "unfinished": "class Half(Workflow): ...\nHalf",
        "many": """
            runs = [workflow.run(text=str(n)) for n in range(20)]
            (await asyncio.gather(*runs))[-1]
        """,
        "in a loop": """
            for n in range(9):
                await workflow.run(text=str(n))
        """,
    }
    return dict(zip(cells, execute(*cells.values()), strict=True))


@pytest.mark.parametrize("cell", ["class", "instance"])
def test_a_workflow_shows_its_graph(shown, cell):
    (bundle,) = shown[cell].bundles
    assert set(bundle) == {"image/svg+xml", "text/html", "text/plain"}
    assert bundle["text/plain"] == "<Workflow Shout: 2 steps · 3 events>"


def test_an_unfinished_workflow_shows_what_it_lacks(shown):
    (bundle,) = shown["unfinished"].bundles
    assert bundle["text/plain"].startswith("<Workflow Half: ")
    assert "StartEvent" in bundle["text/html"]


def test_an_awaited_run_leaves_one_static_panel_and_its_value(shown):
    panel, value = shown["awaited"].bundles
    assert set(panel) == {"text/html", "text/plain"}
    assert panel["text/plain"].startswith("Shout: done · 2/2 steps · 2 calls")
    assert "<script" not in panel["text/html"]
    assert value["text/plain"] == "'HELLO'"


def test_a_handler_shows_the_run_as_it_stands(shown):
    (bundle,) = shown["handler"].bundles
    assert bundle["text/plain"].startswith("Shout: ")
    assert shown["again"].value == "'LATER'"


def test_many_runs_of_one_cell_show_few_panels_and_one_line(shown):
    *panels, line, value = shown["many"].bundles
    assert len(panels) == 4
    assert line["text/plain"] == "and 16 more runs: 16 done"
    assert value["text/plain"] == "'19'"


def test_runs_one_after_the_other_are_counted_to_the_last(shown):
    *panels, line = shown["in a loop"].bundles
    assert len(panels) == 4
    assert line["text/plain"] == "and 5 more runs: 5 done"


@pytest.fixture(scope="module")
def failed(execute):
    """One notebook of errors."""
    cells = {
        "define": DEFINE,
        "trouble": TROUBLE,
        "step": "await Broken().run()",
        "stall": "await Stalled().run()",
        "signature": "@step\nasync def lost(x): ...",
        "positional": "Shout().run(1, 2)",
        "caught": """
            try:
                await Broken().run()
            except KeyError as caught:
                error, names = caught, []
                trace = error.__traceback__
                while trace:
                    names.append(trace.tb_frame.f_code.co_name)
                    trace = trace.tb_next
            names[-2:], error.__notes__
        """,
        "rag": "import stepwell.rag.errors as e",
        "rag error": 'raise e.RagError("no documents\\nput some there")',
    }
    return dict(zip(cells, execute(*cells.values()), strict=True))


def test_a_failing_step_shows_the_users_frames_and_where(failed):
    lines = failed["step"].error_lines
    text = "\n".join(lines)
    assert failed["step"].error.ename == "KeyError"
    assert "site-packages" not in text
    assert "stepwell/" not in text
    assert "asyncio" not in text
    assert 'table["missing"]' in strip_colours(text)
    assert "in step `second` of Broken, on Word, attempt 1" in text
    assert len(lines) <= 24
    (panel,) = failed["step"].bundles
    assert "failed" in panel["text/plain"]


def test_a_stall_shows_its_diagnosis_and_no_frames(failed):
    assert failed["stall"].error.ename == "WorkflowStalledError"
    text = "\n".join(failed["stall"].error_lines)
    assert "has 1 of 3 Word" in text
    assert "Traceback" not in text
    assert len(failed["stall"].error_lines) <= 12


@pytest.mark.parametrize("cell", ["signature", "positional"])
def test_an_error_of_the_engine_is_its_message_and_the_line(failed, cell):
    lines = failed[cell].error_lines
    assert len(lines) <= 4
    assert "Cell In[" in strip_colours(lines[-1])


def test_a_caught_exception_keeps_its_whole_traceback(failed):
    assert "['second', 'look_up']" in failed["caught"].value
    assert "in step `second` of Broken" in failed["caught"].value


def test_an_error_of_the_rag_parts_is_its_message(failed):
    lines = failed["rag error"].error_lines
    assert strip_colours(lines[0]) == "RagError: no documents"
    assert len(lines) == 3


def strip_colours(text):
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_running_the_definitions_again_keeps_everything_working(execute):
    _, _, event_again, first, _, second, old = execute(
        DEFINE,
        "old = Shout()\nawait old.run(text='a')",
        "class Word(Event):\n    text: str\n    more: int = 0",
        "await old.run(text='b')",
        DEFINE,
        "await Shout().run(text='c')",
        "await old.run(text='d')",
    )
    assert "Word" in event_again.printed
    assert len(event_again.printed.splitlines()) == 1
    assert first.value == "'B'"
    assert second.value == "'C'"
    assert old.value == "'D'"


def test_without_ipywidgets_and_graphviz_everything_still_shows(execute):
    *_, drawn, run = execute(
        "import sys\nsys.modules['ipywidgets'] = sys.modules['graphviz'] = None",
        DEFINE,
        "Shout",
        "await Shout().run(text='a')",
    )
    assert set(drawn.bundles[0]) == {"image/svg+xml", "text/html", "text/plain"}
    assert run.bundles[0]["text/plain"].startswith("Shout: done")


def test_an_asyncio_timeout_around_a_run_stays_a_timeout(execute):
    *_, caught, status = execute(
        DEFINE,
        """
        class Slow(Workflow):
            @step
            async def wait(self, ev: StartEvent) -> StopEvent:
                await asyncio.sleep(60)
                return StopEvent()
        """,
        """
        handler = Slow().run()
        try:
            async with asyncio.timeout(0.4):
                await handler
        except TimeoutError:
            print("in time")
        """,
        "handler.status",
    )
    assert caught.printed == "in time\n"
    assert status.value == "'cancelled'"


def test_a_pasted_asyncio_run_is_told_what_to_do_and_then_works(execute):
    paste = """
        async def main():
            return await Shout().run(text="a")
        asyncio.run(main())
    """
    *_, told, _, works, after = execute(
        "import stepwell",
        DEFINE,
        paste,
        "stepwell.notebook.allow_nested()",
        paste,
        "1 + 1",
    )
    assert "write `await main()`, or call stepwell.notebook.allow_nested()" in (
        told.printed
    )
    assert works.value == "'A'"
    assert after.value == "2"
