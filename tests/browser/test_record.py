"""A run's record as a person meets it: stepped through, filtered, not trusted."""

import nbformat
import pytest
from nbconvert import HTMLExporter

pytestmark = pytest.mark.browser

RUN = """
from stepwell import *

class Part(Event):
    number: int

class Cut(Event):
    pass

class Parts(Workflow):
    @step
    async def split(self, ev: StartEvent, ctx: Context) -> list[Part]:
        await ctx.store.set("wanted", 3)
        return [Part(number=i) for i in range(3)]

    @step(retry_policy=retry_policy(wait=wait_none(), stop=stop_after_attempt(2)))
    async def cut(self, ev: Part, ctx: Context) -> Cut:
        ctx.count(prompt_tokens=10, cost=0.5)
        if ev.number == 1 and not await ctx.store.get("tried", default=False):
            await ctx.store.set("tried", "<img src=x onerror='window.hacked=1'>")
            raise ValueError(
                "</script><script>window.hacked=1</script>"
                "<img src=x onerror='window.hacked=1'>"
            )
        return Cut()

    @step
    async def sew(self, parts: list[Cut], ctx: Context) -> StopEvent:
        await ctx.store.set("pieces", len(parts))
        return StopEvent(result="whole")

handler = Parts().run()
await handler
"""


@pytest.fixture(scope="module")
def notebook(lab):
    opened = lab.notebook("record", [RUN, "handler.record"])
    opened.run_all()
    opened.wait_for(".sw-live")
    opened.wait_for_idle()
    yield opened
    opened.close()


@pytest.fixture
def record(notebook):
    """The record, at its last moment, with nothing chosen or filtered."""
    notebook.page.evaluate("() => document.querySelector('.sw-live').remove()")
    notebook.command("notebook:run-cell")
    notebook.wait_for(".sw-live")
    return notebook.page.locator(".sw-live")


def moment(record):
    return record.locator(".sw-said").text_content()


def status(record, step):
    """The class by which a step's box is coloured."""
    name = record.locator(f'.sw-graph .step:has(text:text-is("{step}"))')
    return name.get_attribute("class").split("is-")[1].split()[0]


def state(record):
    lines = record.locator(".sw-state tbody tr").all()
    return dict(line.locator("td").all_text_contents() for line in lines)


def shown(record):
    rows = record.locator(".sw-calls tbody:visible tr:first-child td:first-child")
    return [int(number) for number in rows.all_text_contents()]


def test_the_keys_step_through_the_run_with_graph_and_state_as_they_were(record):
    slider = record.locator("input[type=range]")
    slider.focus()
    slider.press("Home")
    assert "#1 split begins · 1 of 12" in moment(record)
    assert [status(record, s) for s in ("split", "cut", "sew")] == [
        *("running", "idle", "idle"),
    ]
    assert set(state(record).values()) == {"not set"}
    slider.press("ArrowRight")
    assert "#1 split done" in moment(record)
    assert state(record)["wanted"] == "3"
    assert record.locator(".sw-state .sw-new").all_text_contents() == ["wanted3"]
    slider.press("End")
    assert [status(record, s) for s in ("split", "cut", "sew")] == ["done"] * 3
    assert state(record)["pieces"] == "3"


def test_a_run_can_be_played(record):
    record.get_by_title("Play").click()
    record.locator('.sw-said:has-text("1 of 12")').wait_for()
    record.get_by_title("Pause").click()
    assert record.get_by_title("Play").count() == 1


def test_a_call_that_is_chosen_shows_what_caused_it_and_what_it_caused(record):
    record.locator(".sw-calls tbody").first.click()
    chain = record.locator(".sw-chain")
    assert "#1 split began with an event from outside" in chain.text_content()
    assert "#2 cut, #3 cut, #4 cut" in chain.text_content()
    record.locator(".sw-calls tbody").nth(1).click()
    assert "#2 cut was caused by #1 split" in chain.text_content()
    assert record.locator(".sw-causes td:first-child").all_text_contents() == ["1"]


def test_calls_are_filtered_by_step_and_by_text_and_sorted_by_any_column(record):
    assert shown(record) == [1, 2, 3, 3, 4, 5]
    record.get_by_role("button", name="cut 4").click()
    assert shown(record) == [2, 3, 3, 4]
    record.locator("input[type=search]").fill("retrying")
    assert shown(record) == [3]
    record.locator("input[type=search]").fill("")
    record.get_by_role("columnheader", name="#").click()
    record.get_by_role("columnheader", name="#").click()
    assert shown(record) == [4, 3, 3, 2]


def test_texts_of_a_run_stay_texts(record, notebook):
    error = record.locator(".sw-error").text_content()
    assert "<script>window.hacked=1</script>" in error
    assert "onerror" in state(record)["tried"]
    assert notebook.page.evaluate("() => window.hacked") is None


def written(notebook, path):
    """A notebook of what the page holds, in a file that nobody has signed."""
    cell = nbformat.v4.new_code_cell("# a stranger's")
    cell.outputs = [nbformat.from_dict(each) for each in notebook.outputs(1)]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return path


def test_a_notebook_that_is_not_trusted_keeps_pictures_and_table(notebook, lab):
    path = written(notebook, notebook.path.with_name("stranger.ipynb"))
    page = lab.browser.new_page()
    page.goto(lab.address(path))
    page.wait_for_selector(".sw-calls")
    assert page.locator(".sw-live, .sw-h script").count() == 0
    assert page.locator(".sw-h img").count() == 2
    text = page.locator(".sw-h").inner_text()
    assert "Part ← #1 split" in text
    assert "inline scripts" not in page.locator(".jp-Notebook").inner_text()
    assert page.evaluate("() => window.hacked") is None
    page.close()


def test_exported_html_is_stepped_through_without_kernel_and_network(
    notebook, lab, tmp_path
):
    path = written(notebook, tmp_path / "exported.ipynb")
    body, _ = HTMLExporter().from_filename(str(path))
    page = lab.browser.new_page()
    page.route("http*://**", lambda route: route.abort())
    page.set_content(body)
    record = page.locator(".sw-live")
    record.locator("input[type=range]").focus()
    page.keyboard.press("ArrowLeft")
    assert "11 of 12" in moment(record)
    assert page.evaluate("() => window.hacked") is None
    page.close()
