"""A run folded into plain data, without a kernel."""

import xml.etree.ElementTree as ElementTree
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell import (
    Context,
    Event,
    StartEvent,
    StepState,
    StepStateChanged,
    StopEvent,
    Workflow,
    WorkflowFailedEvent,
    WorkflowStalledError,
    step,
)
from stepwell.notebook import parts
from stepwell.notebook.parts import (
    LONGEST_TEXT,
    Bar,
    StepView,
    event_words,
    short_repr,
    thinned,
)
from stepwell.notebook.story import told_html
from stepwell.notebook.timeline import seconds, step_words, ticks, timeline_svg
from stepwell.notebook.view import LONGEST_LOG, MOST_BARS, MOST_TEXTS, RunView

STATES = {"queued": StepState.PREPARING, "running": StepState.RUNNING}


class Part(Event):
    number: int


class Split(Workflow):
    @step
    async def split(self, ctx: Context, ev: StartEvent) -> list[Part]:
        ctx.write_event_to_stream(Event(note="<b>hello</b>"))
        return [Part(number=n) for n in range(ev.parts)]

    @step(num_workers=2)
    async def work(self, ev: Part) -> Event:
        return Event(number=ev.number)

    @step
    async def join(self, ctx: Context, ev: Event) -> StopEvent | None:
        got = ctx.collect_events(ev, [Event] * 5)
        return StopEvent(result=len(got)) if got else None


def changed(name, call_id, status, at, **more):
    return StepStateChanged(
        name=name,
        step_state=STATES.get(status, StepState.NOT_RUNNING),
        worker_id="0",
        input_event_name="StartEvent",
        call_id=call_id,
        at=at,
        status=status,
        **more,
    )


async def view_of(handler):
    view = RunView.of_steps("Split", ["split", "work", "join"])
    async for event in handler.stream_events(expose_internal=True):
        view.apply(event)
    view.observe(handler.status, handler.elapsed, error=handler.error)
    return view


async def test_a_run_is_counted_by_step():
    handler = Split().run(parts=5)
    await handler
    view = await view_of(handler)
    counts = {name: (s.done, s.running, s.queued) for name, s in view.steps.items()}
    assert counts == {"split": (1, 0, 0), "work": (5, 0, 0), "join": (5, 0, 0)}
    assert (view.state, view.steps_done, view.calls) == ("done", 3, 11)
    assert any("<b>hello</b>" in entry.text for entry in view.log)


async def test_the_record_alone_gives_the_same_counts():
    handler = Split().run(parts=5)
    await handler
    live, late = await view_of(handler), RunView.of_steps("Split", [])
    late.take_calls(handler.record)
    assert {n: s.done for n, s in late.steps.items()} == {
        n: s.done for n, s in live.steps.items()
    }


async def test_a_stalled_run_marks_the_join_that_waits():
    handler = Split().run(parts=3)
    with pytest.raises(WorkflowStalledError):
        await handler
    view = await view_of(handler)
    assert (view.state, view.steps["join"].status) == ("stalled", "waiting")
    assert view.steps["join"].lacks == "3 of 5"


def test_calls_left_open_at_the_end_count_as_cancelled():
    view = RunView.of_steps("W", ["a"])
    view.apply(changed("a", 1, "running", 0.1))
    view.apply(changed("a", 2, "queued", 0.1))
    view.observe("done", 0.5)
    assert (view.steps["a"].running, view.steps["a"].queued) == (0, 0)
    assert view.steps["a"].cancelled == 1
    assert [(bar.end, bar.status) for bar in view.bars] == [(0.5, "cancelled")]


def test_a_retried_call_has_one_bar_for_each_attempt():
    view = RunView.of_steps("W", ["a"])
    view.apply(changed("a", 1, "running", 0.0))
    view.apply(changed("a", 1, "retrying", 0.1, error="ValueError: no"))
    assert view.steps["a"].queued == 1
    view.apply(changed("a", 1, "running", 0.2, attempt=2))
    view.apply(changed("a", 1, "done", 0.3, attempt=2))
    assert [bar.status for bar in view.bars] == ["retrying", "done"]
    assert (view.steps["a"].done, view.steps["a"].retries) == (1, 1)


statuses = st.sampled_from(["queued", "running", "done", "failed", "cancelled"])


@given(st.lists(st.tuples(st.integers(0, 4), statuses, st.floats(0, 9)), max_size=60))
def test_no_order_of_changes_makes_a_count_negative(changes):
    view = RunView.of_steps("W", ["a"])
    for call_id, status, at in changes:
        view.apply(changed("a", call_id, status, at))
        counts = view.steps["a"]
        assert min(counts.queued, counts.running, counts.done, counts.failed) >= 0
    view.observe("done", 9.0)
    assert (view.steps["a"].queued, view.steps["a"].running) == (0, 0)
    ElementTree.fromstring(timeline_svg(view, prefix="t"))


def flooded(length, number=3 * MOST_BARS):
    """A run of many calls, one after the other, each so many milliseconds long."""
    view = RunView.of_steps("W", ["a"])
    for n in range(number):
        view.apply(changed("a", n, "running", n / 1000))
        view.apply(changed("a", n, "done", (n + length) / 1000))
    view.observe("done", number / 1000)
    return view


def test_a_flood_of_events_keeps_the_last_lines_and_few_bars():
    view = flooded(0.5)
    assert len(view.log) == LONGEST_LOG
    assert len(view.bars) <= MOST_BARS
    assert view.steps["a"].done == 3 * MOST_BARS
    assert len(timeline_svg(view, prefix="t")) < 60_000


@pytest.mark.parametrize("length", [0.5, 0.99])
def test_short_bars_of_a_long_run_become_one_and_none_is_lost(length):
    view = flooded(length)
    assert sum(bar.calls for bar in view.bars) == 3 * MOST_BARS
    assert view.bars[0].start == 0
    covered = sum(bar.end - bar.start for bar in view.bars)
    assert covered > 0.9 * 3 * MOST_BARS / 1000


def test_bars_that_overlap_stay_apart():
    bars = [Bar("a", n, 1, n / 1000, n / 1000 + 0.004, "done") for n in range(100)]
    kept = thinned(bars, 0.1)
    assert sum(bar.calls for bar in kept) == 100
    assert 4 <= len(kept) <= 6


def test_a_large_or_broken_field_gives_one_short_line():
    class Rude:
        def __repr__(self):
            raise RuntimeError("no repr")

    words = event_words(Event(text="x" * 10_000_000, rude=Rude(), lines="a\nb"))
    assert len(words) < 300
    assert "\n" not in words


def test_a_failed_run_says_what_its_last_event_says():
    view = RunView.of_steps("W", ["a"])
    view.apply(WorkflowFailedEvent(step_name="a", exception=ValueError("bad")))
    assert view.log[-1].text == "ValueError: bad"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.00001, "<1 ms"),
        (0.042, "42 ms"),
        (0.42, "0.42 s"),
        (12.34, "12.3 s"),
        (125, "2 min 05 s"),
        (3725, "1 h 02 min"),
    ],
)
def test_durations_are_written_for_people(value, words):
    assert seconds(value) == words


@given(st.floats(0.0005, 1e6), st.integers(1, 12))
def test_ticks_are_few_and_begin_at_zero(whole, most):
    found = ticks(whole, most)
    assert found[0] == (0, "0")
    assert len(found) <= most + 1
    assert found[-1][0] <= whole * 1.000001


class Delta(Event):
    delta: str


def test_eight_texts_at_once_are_each_put_together():
    view = RunView.of_steps("W", ["a"])
    for call_id in range(1, 9):
        view.apply(changed("a", call_id, "running", 0.0))
    for piece in "Hello":
        for call_id in range(1, 9):
            view.apply(Delta(delta=piece), call_id)
    assert [stream.text for stream in view.texts.values()] == ["Hello"] * 8


def test_texts_of_calls_that_go_on_are_kept_and_no_more_than_so_many():
    view = RunView.of_steps("W", ["a"])
    for call_id in range(1, 41):
        view.apply(changed("a", call_id, "running", 0.0))
        view.apply(Delta(delta="x"), call_id)
    assert (len(view.texts), view.pieces_lost) == (MOST_TEXTS, 40 - MOST_TEXTS)
    view.apply(changed("a", 1, "done", 0.1))
    view.apply(Delta(delta="y"), 40)
    assert "y" in [stream.text for stream in view.texts.values()]
    # The pieces that came too early, and the one of the text that made room.
    assert f"{41 - MOST_TEXTS} pieces of further texts" in told_html(view)


def test_another_attempt_begins_its_text_anew():
    view = RunView.of_steps("W", ["a"])
    view.apply(changed("a", 1, "running", 0.0))
    view.apply(Delta(delta="Hel"), 1)
    view.apply(changed("a", 1, "retrying", 0.1, error="ValueError: no"))
    view.apply(changed("a", 1, "running", 0.2, attempt=2))
    view.apply(Delta(delta="Hello"), 1)
    assert [stream.text for stream in view.texts.values()] == ["Hel", "Hello"]


def test_a_text_of_two_megabytes_keeps_its_end():
    view = RunView.of_steps("W", ["a"])
    view.apply(changed("a", 1, "running", 0.0))
    view.apply(Delta(delta="x" * 2_000_000 + "end"), 1)
    (stream,) = view.texts.values()
    assert stream.text.endswith("end")
    assert len(stream.text) <= LONGEST_TEXT


@pytest.mark.parametrize("pieces", [["10%\r", "20%\r"], ["\r10%", "\r20%"]])
def test_a_line_is_written_over_after_a_carriage_return(pieces):
    view = RunView.of_steps("W", ["a"])
    for piece in [*pieces, "\n"]:
        view.say("a", 1, "stdout", piece, 0.0)
    assert [line.text for line in view.output] == ["20%"]


def test_an_event_may_have_fields_by_the_names_of_its_methods():
    fields = {"items": list, "get": str}
    order = type("Order", (Event,), {"__annotations__": fields})
    view = RunView.of_steps("W", ["a"])
    view.apply(order(items=["tea"], get="it"))
    assert view.log[-1].text == "Order(items=['tea'], get='it')"


def test_a_set_of_a_million_is_shown_without_sorting_it():
    class Number(int):
        def __lt__(self, other):
            raise AssertionError("sorted")

    numbers = [Number(n) for n in range(1000)]
    assert short_repr(set(numbers)) == "{0, 1, 2, 3, ...}"
    assert short_repr(frozenset(numbers)) == "frozenset({0, 1, 2, 3, ...})"
    assert short_repr(dict.fromkeys(range(9), 0)) == "{0: 0, 1: 0, 2: 0, 3: 0, ...}"
    assert (short_repr(set()), short_repr([[{1}]])) == ("set()", "[[{1}]]")


def test_a_repr_that_takes_long_is_asked_for_once(monkeypatch):
    monkeypatch.setattr(parts, "SLOW_REPR", -1.0)

    class Slow:
        def __repr__(self):
            return "slow"

    assert [short_repr(Slow()), short_repr(Slow())] == ["slow", "<Slow>"]


def test_the_timeline_says_what_each_worker_has_done():
    view = RunView.of_steps("W", ["a"])
    for call_id, worker in enumerate([0, 1, 0], 1):
        for status in ("running", "done"):
            event = changed("a", call_id, status, 0.1)
            view.apply(event.model_copy(update={"worker_id": str(worker)}))
    svg = timeline_svg(view, prefix="t")
    assert "3 done (2 + 1)" in svg
    assert "worker 1: 2 done\nworker 2: 1 done</title>" in svg


def test_many_workers_are_counted_and_not_listed():
    step = StepView("a", done=9, workers=Counter(dict.fromkeys(range(9), 1)))
    assert step_words(step).startswith("9 done by 9 workers")


class Said(Event):
    msg: str


class Teller(Workflow):
    @step
    async def tell(self, ctx: Context, ev: StartEvent) -> StopEvent:
        for word in ev.words:
            ctx.write_event_to_stream(Said(msg=word))
        return StopEvent()


async def followed(handler):
    view = RunView.of_steps("Teller", ["tell"])
    async for event, call_id in handler.record.follow():
        view.apply(event, call_id)
    return view


async def test_a_text_that_is_streamed_in_a_field_of_any_name_is_put_together():
    words = ["the ", "quick ", "brown ", "fox ", "jumps ", "over ", "it", " all", "."]
    view = await followed(Teller().run(words=words))
    (stream,) = view.texts.values()
    assert (stream.text, stream.pieces) == ("".join(words), 9)
    assert not any("Said" in line.text for line in view.log)
    assert view.lines_made == len(view.log)


async def test_messages_stay_lines_of_the_log():
    words = [f"Document {n} has been read." for n in range(20)]
    view = await followed(Teller().run(words=words))
    assert view.texts == {}
    assert sum("Said" in line.text for line in view.log) == 20
