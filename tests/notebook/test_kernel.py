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


def test_many_runs_at_once_share_one_table(shown):
    table, value = shown["many"].bundles
    assert table["text/plain"] == "20 runs: 20 done"
    assert table["text/html"].count("</tr>") == 20
    assert value["text/plain"] == "'19'"


def test_runs_one_after_the_other_have_panels_and_then_a_table(shown):
    *panels, table = shown["in a loop"].bundles
    assert len(panels) == 4
    assert table["text/plain"] == "and 5 more runs: 5 done"


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
