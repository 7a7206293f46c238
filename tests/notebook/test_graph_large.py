"""Graphs of 30, 100 and 300 steps: folded where they can be, readable in any case."""

import random
import time
import xml.etree.ElementTree as ElementTree

import pytest

from stepwell import Event, StartEvent, StopEvent, Workflow, step
from stepwell.notebook import diagram
from stepwell.notebook.diagram import Diagram

SVG = "{http://www.w3.org/2000/svg}"
# Seconds. All of them take less than one; a busy machine may take a while longer.
PATIENCE = 10.0


def workflow(name, arrows):
    """A workflow from, for each step, what it takes and what it returns."""
    kinds = {"start": StartEvent, "stop": StopEvent}
    body = {"__module__": __name__}
    for number, (takes, gives) in enumerate(arrows):
        for each in (*takes, *gives):
            if each not in kinds:
                kinds[each] = type(Event)(each, (Event,), {"__module__": __name__})

        async def work(self, ev):
            return None

        work.__name__ = f"step_{number}"
        work.__qualname__ = f"{name}.step_{number}"
        union = [kinds[takes[0]], kinds[gives[0]]]
        for each in takes[1:]:
            union[0] |= kinds[each]
        for each in gives[1:]:
            union[1] |= kinds[each]
        work.__annotations__ = {"ev": union[0], "return": union[1]}
        body[work.__name__] = step(work)
    return type(Workflow)(name, (Workflow,), body)


def chain(count, more=()):
    names = ["start", *(f"Event{i}" for i in range(count - 1)), "stop"]
    return workflow(
        "Chain", [((names[i],), (names[i + 1], *more)) for i in range(count)]
    )


def tangle(count, arrows, seed=1):
    chosen = random.Random(seed)
    names = ["start", *(f"Event{i}" for i in range(count - 1)), "stop"]
    return workflow(
        "Tangle",
        [
            ((names[i],), tuple({names[i + 1], *chosen.choices(names[1:], k=arrows)}))
            for i in range(count)
        ],
    )


def fan(count):
    parts = tuple(f"Part{i}" for i in range(count))
    ends = tuple(f"Done{i}" for i in range(count))
    middle = [((part,), (end,)) for part, end in zip(parts, ends, strict=True)]
    return workflow("Fan", [(("start",), parts), *middle, (ends, ("stop",))])


@pytest.fixture(params=["graphviz", "own"], autouse=True)
def engine(request, monkeypatch):
    if request.param == "own":
        monkeypatch.setattr(diagram, "_graphviz_vendors", list)
    return request.param


@pytest.mark.parametrize("count", [5, 9, 30, 300])
def test_a_chain_is_folded_into_rows_no_wider_than_a_cell(count):
    made = Diagram.of(chain(count))
    assert made.layout.width <= 1150
    assert made.layout.height <= 30 + 25 * count
    rows = {round(y) for _, y in made.layout.centres.values()}
    assert 1 < len(rows) < count / 2
    assert len(made.layout.routes) == len(made.picture.links)
    assert made.steps_in_order() == [f"step_{i}" for i in range(count)]


def test_rows_do_not_overlap_and_lie_in_the_frame():
    made = Diagram.of(chain(30))
    boxes = []
    for node in made.picture.nodes:
        x, y = made.layout.centres[node.id]
        boxes.append((x - node.width / 2, y - node.height / 2, node.width, node.height))
    for i, (x, y, wide, high) in enumerate(boxes):
        assert x >= 0 and y >= 0
        assert x + wide <= made.layout.width and y + high <= made.layout.height
        for left, top, width, height in boxes[i + 1 :]:
            apart = x + wide <= left or left + width <= x
            assert apart or y + high <= top or top + height <= y
    for route in made.layout.routes:
        for x, y in route.points:
            assert 0 <= x <= made.layout.width and 0 <= y <= made.layout.height


def test_a_loop_is_kept_in_one_row_or_the_graph_runs_downwards():
    short = [("start", "A0")] + [(f"A{i}", f"A{i + 1}") for i in range(12)]
    arrows = [((a,), (b,)) for a, b in short]
    arrows[2] = (("A1",), ("A2", "A0"))
    arrows.append((("A12",), ("stop",)))
    assert Diagram.of(workflow("Short", arrows)).layout.across
    arrows[-2] = (("A11",), ("A12", "A0"))
    assert not Diagram.of(workflow("Long", arrows)).layout.across


@pytest.mark.parametrize(
    "make",
    [
        lambda: chain(300),
        lambda: chain(300, more=("stop",)),
        lambda: chain(300, more=("Event0",)),
        lambda: tangle(300, 1),
        lambda: tangle(300, 4),
        lambda: tangle(40, 6),
        lambda: fan(298),
    ],
    ids=["chain", "stops", "loops", "tangle", "dense", "dense 40", "fan"],
)
def test_three_hundred_steps_appear_at_once_and_are_of_sane_size(make):
    flow = make()
    begun = time.perf_counter()
    made = Diagram.of(flow)
    bundle = made.bundle()
    assert time.perf_counter() - begun < PATIENCE
    assert sum(map(len, bundle.values())) < 1_500_000
    root = ElementTree.fromstring(made.svg())
    steps = [g for g in root if g.get("class", "").startswith("node step ")]
    assert len(steps) == len(flow._specs())
    ElementTree.fromstring(bundle["text/html"])


def test_above_forty_steps_events_are_names_on_their_arrows():
    few, many = (Diagram.picture_of(chain(count)) for count in (40, 41))
    assert not any(node.bare for node in few.nodes)
    assert {node.bare for node in many.nodes if node.kind == "event"} == {True}


def test_a_far_arrow_of_a_large_workflow_ends_in_a_copy_of_the_event():
    flow = chain(60, more=("stop",))
    picture = Diagram.picture_of(flow)
    stops = [node for node in picture.nodes if node.kind == "stop"]
    assert len(stops) > 40
    assert sum(not node.copy for node in stops) == 1
    assert picture.facts() == "60 steps · 61 events"
    assert "dashed: an event whose other steps are far away" in flow.draw("html")
    assert flow.to_dot().count('label="StopEvent"') == 1
    assert flow.to_mermaid().count('(["StopEvent"])') == 1


def test_a_loop_whose_arrow_is_cut_is_still_counted():
    facts = Diagram.picture_of(chain(60, more=("Event0",))).facts()
    assert facts.endswith(" loops") and int(facts.split(" · ")[-1].split()[0]) > 40


def test_no_event_is_lost_when_all_its_arrows_are_far():
    count = 60
    names = ["start", *(f"Event{i}" for i in range(count - 1)), "stop"]
    arrows = [((names[i],), (names[i + 1],)) for i in range(count)]
    arrows[0] = (("start",), ("Event0", "Far"))
    arrows[50] = ((names[50], "Far"), (names[51],))
    picture = Diagram.picture_of(workflow("Far", arrows))
    far = [node for node in picture.nodes if node.name == "Far"]
    assert len(far) == 2 and sum(not node.copy for node in far) == 1
    assert picture.facts() == f"{count} steps · {count + 2} events"


def test_a_wide_or_tall_graph_scrolls_instead_of_shrinking_to_nothing():
    html = Diagram.of(tangle(100, 1)).html()
    assert "max-height:860px" in html and "overflow:auto" in html
    assert "max-height:860px" not in Diagram.of(chain(3)).html()


def test_titles_are_shortened_where_they_would_be_too_much():
    flow = tangle(300, 1)
    for spec in flow._specs():
        spec.description = "word " * 80
    html = Diagram.of(flow).html()
    assert html.count("<span title=") == len(Diagram.picture_of(flow).nodes)
    assert sum(map(len, html.split('<span title="')[1:])) < 400_000
