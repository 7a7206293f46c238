"""The record of a run as a notebook shows it: table, pictures, a way through it."""

import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell import CallRecord, Event, StartEvent, StopEvent, Workflow, step
from stepwell.notebook.chronicle import chronicle_html, replay_data
from stepwell.notebook.history import MOST_MOMENTS, MOST_ROWS, History, amount_words
from stepwell.notebook.replay import json_for_script

HOSTILE = "</script><script>pwned()</script><img src=x onerror='pwned()'>\u2028&<!--"


@dataclass
class Change:
    at: float
    call_id: int
    key: str
    value: str


def call(
    number,
    step="work",
    *,
    start=0.0,
    end=1.0,
    status="done",
    attempt=1,
    cause=None,
    error=None,
    counts=(),
    input="Job",
):
    row = (number, step, 0, attempt, input, start, end, status, ("Done",), cause, error)
    return CallRecord(row, counts)


class Reader(HTMLParser):
    """What stands in a page, for a reader without scripts and style sheets."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.words: list[str] = []
        self._silent = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attributes]
        self._silent = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self._silent = ""

    def handle_data(self, data):
        if not self._silent:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def data_of(html: str) -> dict:
    found = re.search(r"const data=(\{.*?\});for\(const root", html, re.S)
    assert found
    return json.loads(found[1])


# -- through a real kernel ------------------------------------------------------------

WORKFLOW = """
from stepwell import *

class Part(Event):
    number: int

class Cut(Event):
    pass

class Parts(Workflow):
    @step
    async def split(self, ev: StartEvent) -> list[Part]:
        return [Part(number=i) for i in range(3)]

    @step(retry_policy=retry_policy(wait=wait_none(), stop=stop_after_attempt(2)))
    async def cut(self, ev: Part, ctx: Context) -> Cut:
        ctx.count(prompt_tokens=10, cost=0.5)
        if ev.number == 1 and not await ctx.store.get("tried", default=False):
            await ctx.store.set("tried", True)
            raise ValueError("<img src=x onerror=pwned()>")
        return Cut()

    @step
    async def sew(self, parts: list[Cut]) -> StopEvent:
        return StopEvent(result=len(parts))

handler = Parts().run()
await handler
"""


@pytest.fixture(scope="module")
def shown(execute):
    return execute(WORKFLOW, "handler.record")[1]


def test_a_record_is_shown_as_one_piece_of_html_and_one_line(shown):
    (bundle,) = shown.bundles
    assert set(bundle) == {"text/html", "text/plain"}
    assert bundle["text/plain"].startswith("<RunRecord: 1 split, 4 cut, 1 sew")


def test_without_scripts_the_table_tells_calls_causes_retries_and_totals(shown):
    text = Reader(shown.bundles[0]["text/html"]).text
    assert "Part ← #1 split" in text
    assert "↻ retrying" in text
    assert "ValueError: <img src=x onerror=pwned()>" in text
    assert "5 calls, 6 attempts" in text
    assert "prompt tokens" in text
    assert "$2.0000" in text


def test_a_record_needs_no_network(shown):
    html = shown.bundles[0]["text/html"]
    addresses = set(re.findall(r"\w+://[^\"'\\ <>]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"}


def test_a_record_of_a_known_run_has_its_graph_and_state(shown):
    data = data_of(shown.bundles[0]["text/html"])
    assert data["graph"].startswith("<svg")
    assert [name for name, node, _ in data["steps"] if node] == ["split", "cut", "sew"]
    assert data["keys"] == ["tried"]
    assert [value for _, _, value in data["changes"]] == ["True"]


# -- what a reader steps through ------------------------------------------------------


def test_moments_are_the_beginnings_and_ends_of_calls_in_time():
    calls = [call(1, start=0.0, end=3.0), call(2, start=1.0, end=2.0, cause=1)]
    moments = History("Run", calls).moments
    assert [(m.call.call_id, m.kind) for m in moments] == [
        (1, "begin"),
        (2, "begin"),
        (2, "done"),
        (1, "done"),
    ]


def test_a_clock_that_stands_still_keeps_the_order_of_causes():
    calls = [call(n, start=0.0, end=0.0, cause=n - 1 or None) for n in (1, 2, 3)]
    moments = History("Run", calls).moments
    assert [m.call.call_id for m in moments] == [1, 1, 2, 2, 3, 3]
    assert [m.kind for m in moments] == ["begin", "done"] * 3


def test_a_call_that_runs_has_a_beginning_only():
    history = History("Run", [call(1, start=0.5, end=None, status="running")])
    assert [m.kind for m in history.moments] == ["begin"]


def test_a_change_of_the_state_is_seen_from_the_next_moment_on():
    calls = [call(1, start=0.0, end=1.0), call(2, start=1.0, end=2.0, cause=1)]
    changes = [Change(0.5, 1, "x", "1"), Change(1.5, 2, "x", "2")]
    placed = History("Run", calls, changes=changes).placed_changes()
    assert [(moment, change.value) for moment, change in placed] == [(1, "1"), (3, "2")]


def test_a_change_is_never_seen_at_the_beginning_of_its_own_call():
    calls = [call(n, start=0.0, end=0.0, cause=n - 1 or None) for n in (1, 2)]
    changes = [Change(0.0, 2, "x", "1")]
    ((moment, _),) = History("Run", calls, changes=changes).placed_changes()
    assert moment == 3


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 3)), max_size=30))
def test_what_was_counted_and_the_moments_add_up_to_the_calls(times):
    calls = [call(n, start=a, end=a + d) for n, (a, d) in enumerate(times, 1)]
    history = History("Run", calls)
    assert sum(m.kind == "begin" for m in history.moments) == len(calls)
    assert sum(m.kind == "done" for m in history.moments) == len(calls)
    at = [m.at for m in history.moments]
    assert at == sorted(at)


def test_a_change_belongs_to_the_attempt_that_made_it():
    calls = [
        call(1, start=0.0, end=1.0, status="retrying"),
        call(1, start=2.0, end=3.0, attempt=2),
    ]
    changes = [Change(0.5, 1, "x", "1")]
    ((moment, _),) = History("Run", calls, changes=changes).placed_changes()
    assert moment == 1


def test_a_key_that_is_gone_is_not_set():
    changes = [Change(0.2, 1, "x", "1"), Change(0.6, 1, "x", "")]
    history = History("Run", [call(1)], changes=changes)
    assert "x not set" in Reader(chronicle_html(history, None)).text


# -- bounds ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_history():
    calls = [
        call(n, f"step{n % 4}", start=n / 100, end=n / 100 + 0.5, cause=n // 2 or None)
        for n in range(1, 3001)
    ]
    return History("Long", calls, dropped=70)


def test_a_long_run_is_cut_and_says_where_the_rest_is(long_history):
    html = chronicle_html(long_history, None)
    assert html.count("<tbody") == MOST_ROWS
    text = Reader(html).text
    assert "2,000 earlier calls" in text and "record.to_pandas()" in text
    assert "70 older still" in text
    assert len(data_of(html)["moments"]) == MOST_MOMENTS


def test_a_long_run_stays_well_below_a_megabyte(long_history):
    assert len(chronicle_html(long_history, None).encode()) < 850_000


def test_calls_before_the_first_moment_are_counted_all_the_same(long_history):
    base = long_history.counts_before()
    begun = sum(m.kind == "begin" for m in long_history.moments)
    ended = sum(m.kind == "done" for m in long_history.moments)
    assert sum(running for running, *_ in base) + begun - ended == 0
    assert sum(done for _, done, *_ in base) + ended == 3000


def test_long_texts_and_large_states_are_cut():
    changes = [Change(0.0, 1, f"key{n}", "v" * 9000) for n in range(5000)]
    history = History("Run", [call(1, error="e" * 9000)], changes=changes)
    assert len(chronicle_html(history, None)) < 150_000


# -- what is in a column --------------------------------------------------------------


def heads(history: History) -> list[str]:
    html = chronicle_html(history, None)
    found = re.search(r'<table class="sw-calls"><thead>(.*?)</thead>', html)
    return re.findall(r">([^<>]+)</th>", found[1])


def test_attempts_and_amounts_have_columns_only_where_there_are_any():
    assert heads(History("Run", [call(1)])) == [
        *("#", "step", "on", "gave", "began", "took", "status")
    ]
    tried = [
        call(1, status="retrying", counts={"pages": 3.0, "prompt_tokens": 5.0}),
        call(1, attempt=2),
    ]
    assert heads(History("Run", tried)) == [
        *("#", "step", "attempt", "on", "gave", "began", "took", "status"),
        *("prompt tokens", "pages"),
    ]


def test_amounts_that_are_no_numbers_are_left_out():
    history = History("Run", [call(1, counts={"x": float("nan"), "y": float("inf")})])
    assert history.amounts == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("cost", 0.0, "$0"),
        ("cost", 0.00213, "$0.0021"),
        ("cost", 1234.5, "$1,234.50"),
        ("prompt_tokens", 1830.0, "1,830"),
        ("score", 0.25, "0.25"),
    ],
)
def test_amounts_are_written_for_people(name, value, words):
    assert amount_words(name, value) == words


def test_a_record_without_calls_says_so():
    assert "no calls yet" in Reader(chronicle_html(History("Run", []), None)).text


# -- texts of strangers ---------------------------------------------------------------


def test_hostile_texts_stay_texts():
    calls = [call(1, step=HOSTILE, input=HOSTILE, status="failed", error=HOSTILE)]
    changes = [Change(0.5, 1, HOSTILE, HOSTILE)]
    history = History(HOSTILE, calls, changes=changes)
    html = chronicle_html(history, None, state=HOSTILE)
    page = Reader(html)
    assert page.tags.count("script") == 1
    assert page.tags.count("img") == 1  # the timeline
    assert not [name for name in page.attributes if name.startswith("on")]
    assert "<!--" not in html


@given(st.dictionaries(st.text(), st.text()))
def test_data_in_a_script_cannot_break_out_of_it(data):
    written = json_for_script(data)
    assert not set("<>&\u2028\u2029") & set(written)
    assert written.isascii()
    assert json.loads(written) == data


def test_every_row_of_the_data_is_a_row_of_the_table():
    calls = [call(n, start=5.0 - n, end=9.0) for n in (1, 2, 3)]
    history = History("Run", calls)
    data = replay_data(history, None)
    numbers = re.findall(
        r'<tbody[^>]*><tr><td class="sw-n">(\d+)', chronicle_html(history, None)
    )
    assert [str(row[0]) for row in data["rows"]] == numbers
    assert len(data["columns"]) == len(heads(history))


async def test_a_step_that_takes_a_list_was_caused_by_those_who_sent_its_items():
    class Part(Event):
        n: int

    class Found(Event):
        n: int

    class Flow(Workflow):
        @step
        async def split(self, ev: StartEvent) -> list[Part]:
            return [Part(n=n) for n in range(5)]

        @step
        async def search(self, ev: Part) -> Found | None:
            return Found(n=ev.n) if ev.n else None

        @step
        async def rank(self, ev: list[Found]) -> StopEvent:
            return StopEvent(result=len(ev))

    handler = Flow().run()
    assert await handler == 4
    history = History("Flow", handler.record)
    *_, rank = history.calls
    assert history.causes[rank.call_id] == (3, 4, 5, 6)
    assert history.cause(rank) == "#3, #4, #5 and 1 more search"
    assert history.cause(history.calls[1]) == "#1 split"
