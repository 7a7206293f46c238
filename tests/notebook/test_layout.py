"""Our own layout, on random graphs: any names, any arrows, loops and islands."""

import itertools
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.notebook.diagram import Diagram
from stepwell.notebook.layout import place
from stepwell.notebook.picture import Link, Picture, loop_links, sized_node

NAMES = st.text(min_size=1, max_size=40)
KINDS = st.sampled_from(["step", "event", "start", "stop", "human", "person"])


@st.composite
def pictures(draw, most=60):
    """Between 1 and `most` nodes with any names, any arrows, loops and islands."""
    count = draw(st.integers(1, most))
    nodes = tuple(
        sized_node(
            f"n{i}",
            draw(NAMES),
            draw(KINDS),
            badge=draw(st.sampled_from(["", "×8", "×128"])),
        )
        for i in range(count)
    )
    spot = st.integers(0, count - 1)
    some = draw(st.lists(st.tuples(spot, spot), max_size=2 * count))
    pairs = list(dict.fromkeys((f"n{a}", f"n{b}") for a, b in some))
    back = loop_links([node.id for node in nodes], pairs)
    links = tuple(Link(a, b, "", (a, b) in back) for a, b in pairs)
    return Picture(draw(NAMES), nodes, links, ())


SVG = "{http://www.w3.org/2000/svg}"
slowly = settings(deadline=None, max_examples=60)


def boxes_of(picture, layout):
    for node in picture.nodes:
        x, y = layout.centres[node.id]
        half, high = node.width / 2, node.height / 2
        yield node.id, (x - half, y - high, x + half, y + high)


@slowly
@given(pictures())
def test_no_two_boxes_overlap_and_all_lie_in_the_frame(picture):
    for across in (True, False):
        layout = place(picture, across=across)
        boxes = [box for _, box in boxes_of(picture, layout)]
        for i, (left, top, right, bottom) in enumerate(boxes):
            assert left >= 0 and top >= 0
            assert right <= layout.width and bottom <= layout.height
            for other in boxes[i + 1 :]:
                apart = (
                    right <= other[0]
                    or other[2] <= left
                    or bottom <= other[1]
                    or other[3] <= top
                )
                assert apart


@slowly
@given(pictures())
def test_every_arrow_is_routed_inside_the_frame(picture):
    layout = place(picture)
    routed = [(route.source, route.target) for route in layout.routes]
    assert sorted(routed) == sorted((k.source, k.target) for k in picture.links)
    for route in layout.routes:
        assert len(route.points) % 3 == 1
        for x, y in route.points:
            assert 0 <= x <= layout.width
            assert 0 <= y <= layout.height


@slowly
@given(pictures(most=25))
def test_no_arrow_runs_through_a_box_that_is_not_its_own(picture):
    layout = place(picture)
    boxes = dict(boxes_of(picture, layout))
    for route in layout.routes:
        for x, y in along(route.points):
            for name, (left, top, right, bottom) in boxes.items():
                if name in (route.source, route.target):
                    continue
                inside = left + 1 < x < right - 1 and top + 1 < y < bottom - 1
                assert not inside, f"{route.source}->{route.target} through {name}"


def along(points, parts=12):
    for i in range(0, len(points) - 1, 3):
        a, b, c, d = points[i : i + 4]
        for part in range(parts + 1):
            t = part / parts
            s = 1 - t
            yield tuple(
                s**3 * a[k] + 3 * s * s * t * b[k] + 3 * s * t * t * c[k] + t**3 * d[k]
                for k in (0, 1)
            )


@slowly
@given(pictures(most=20))
def test_any_names_give_well_formed_svg_with_every_box_and_arrow(picture):
    svg = Diagram(picture, place(picture)).svg(inline=True, live=True)
    root = ElementTree.fromstring(svg)
    links = [p for p in root.iter(f"{SVG}path") if p.get("class") == "link"]
    boxes = [r for r in root.iter(f"{SVG}rect") if r.get("class") == "box"]
    assert len(links) == len(picture.links)
    assert len(boxes) == len(picture.nodes)
    assert not list(root.iter(f"{SVG}script"))


def test_the_same_picture_gives_the_same_layout():
    nodes = tuple(sized_node(f"n{i}", f"node {i}", "step") for i in range(5))
    picture = Picture("p", nodes, (Link("n0", "n4", "", False),), ())
    assert place(picture) == place(picture)


def test_a_short_chain_runs_from_left_to_right_in_one_line():
    nodes = tuple(sized_node(f"n{i}", f"n{i}", "step") for i in range(3))
    links = (Link("n0", "n1", "", False), Link("n1", "n2", "", False))
    layout = place(Picture("p", nodes, links, ()))
    assert layout.across
    xs, ys = zip(*(layout.centres[n.id] for n in nodes), strict=True)
    assert list(xs) == sorted(xs)
    assert len(set(ys)) == 1


@pytest.mark.parametrize("length", [1, 2, 7])
def test_a_loop_is_closed_by_one_arrow(length):
    names = [f"n{i}" for i in range(length)]
    ring = [(a, names[(i + 1) % length]) for i, a in enumerate(names)]
    assert loop_links(names, ring) == {(names[-1], names[0])}


def test_a_long_chain_does_not_meet_the_recursion_limit():
    names = [f"n{i}" for i in range(3000)]
    chain = list(itertools.pairwise(names))
    assert loop_links(names, chain) == set()
