"""What a workflow's drawing contains, before anybody decides where things go.

A `Picture` holds sized nodes and links, made from a `WorkflowGraph`, and the
sentences about it that a reader wants (how many steps, what is never used). What is
said of a box when pointed at is in `tips`; how large workflows stay readable, in
`copies`. Positions are in `layout` (ours) and `graphviz` / `pygraphviz` (theirs); ink
is in `svg`; the choice between them is in `diagram`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from .tips import tip_of

Kind = Literal["step", "event", "start", "stop", "human", "person", "resource"]

DEFAULT_WORKERS = 4
LONGEST_LABEL = 36
RESOURCES = ("resource", "resource_config")

_NARROW = frozenset("ijltfrI.,:;'|!()[]{}`\" -")
_WIDE = frozenset("mwMW@%&QOGDNHU_—")


class Graph(Protocol):
    """What a drawing needs of a `stepwell.WorkflowGraph`."""

    @property
    def name(self) -> str:
        """The workflow's name."""
        ...

    @property
    def nodes(self) -> Sequence[Any]:
        """Steps, events and people, with `id`, `label` and `node_type`."""
        ...

    @property
    def edges(self) -> Sequence[Any]:
        """Arrows, with `source` and `target` ids and a `label`."""
        ...


@dataclass(frozen=True, slots=True)
class Node:
    """One box of the drawing. Sizes are in SVG user units (pixels at full size).

    Of a `bare` one only the name is drawn, on its arrow; a `copy` stands for a box
    that is drawn elsewhere too.
    """

    id: str
    name: str
    kind: Kind
    label: str
    tip: str
    badge: str
    width: float
    height: float
    bare: bool = False
    copy: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """One arrow.

    `back` marks the arrow that closes a loop, `given` one that leads from a resource
    to whoever is given it, as the parameter named by `label`.
    """

    source: str
    target: str
    label: str
    back: bool
    given: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything to draw of one workflow, in a stable order.

    `loops_cut` counts the loops whose last arrow ends in a copy.
    """

    name: str
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    warnings: tuple[str, ...]
    loops_cut: int = 0

    @property
    def steps(self) -> tuple[Node, ...]:
        """The step boxes only, in the order of the graph."""
        return tuple(node for node in self.nodes if node.kind == "step")

    def facts(self) -> str:
        """One line a person can read: what there is, and what looks wrong."""
        counted = [node.kind for node in self.nodes if not node.copy]
        resources = counted.count("resource")
        events = len(counted) - resources - counted.count("person") - len(self.steps)
        parts = [_count(len(self.steps), "step"), _count(events, "event")]
        if resources:
            parts.append(_count(resources, "resource"))
        loops = sum(link.back for link in self.links) + self.loops_cut
        if loops:
            parts.append(_count(loops, "loop"))
        return " · ".join(parts)


def picture_of(graph: Graph, *, resources: bool = False) -> Picture:
    """Turn a workflow's graph into sized nodes and links.

    Args:
        graph: What `stepwell.get_workflow_representation` returns.
        resources: Also what is injected into steps.

    Returns:
        The picture. Its node ids are short and safe (`n0`, `n1`, …), whatever the
        names in the graph; names and labels are plain text, not yet escaped.
    """
    ids: dict[str, str] = {}
    nodes: list[Node] = []
    asked: dict[str, list[str]] = {}
    labels = {item.id: item.label for item in graph.nodes}
    for edge in graph.edges:
        asker = labels.get(edge.source, edge.source)
        asked.setdefault(edge.target, []).append(f"{asker} as {edge.label}")
    for item in graph.nodes:
        injected = item.node_type in RESOURCES
        if item.id in ids or (injected and not resources):
            continue
        ids[item.id] = f"n{len(ids)}"
        kind = _kind(item.node_type, getattr(item, "event_types", ()))
        workers = getattr(item, "num_workers", None)
        nodes.append(
            sized_node(
                ids[item.id],
                str(item.label or item.id),
                kind,
                tip=tip_of(item, asked.get(item.id, ())),
                badge=f"×{workers}" if workers and workers != DEFAULT_WORKERS else "",
            )
        )
    pairs: dict[tuple[str, str], str] = {}
    given: dict[tuple[str, str], str] = {}
    kinds = {item.id: item.node_type for item in graph.nodes}
    for edge in graph.edges:
        if edge.source not in ids or edge.target not in ids:
            continue
        label = str(edge.label or "")
        source, target = ids[edge.source], ids[edge.target]
        if kinds[edge.target] in RESOURCES:
            # Drawn the way that the thing goes: to the step, before it begins.
            given.setdefault((target, source), label)
        else:
            pairs.setdefault((source, target), label)
    back = loop_links([node.id for node in nodes], list(pairs))
    links = [Link(*pair, label, pair in back) for pair, label in pairs.items()]
    warnings = _warnings(nodes, links)
    links += [Link(*pair, label, False, True) for pair, label in given.items()]
    return Picture(str(graph.name), tuple(nodes), tuple(links), tuple(warnings))


def sized_node(
    id: str,
    name: str,
    kind: Kind,
    *,
    tip: str = "",
    badge: str = "",
    bare: bool = False,
    copy: bool = False,
) -> Node:
    """Make a node and give it the room that its label needs."""
    label = name if len(name) <= LONGEST_LABEL else name[: LONGEST_LABEL - 1] + "…"
    if kind == "step":
        width = text_width(label, 13.0) + 32
        if badge:
            width += text_width(badge, 10.5) + 16
        return Node(id, name, kind, label, tip, badge, max(round(width), 76), 40.0)
    if bare:
        width, height = text_width(label, 10.5) + 8, 16.0
    else:
        icon = 0 if kind == "event" else 15
        width, height = max(text_width(label, 11.5) + 24 + icon, 48), 26.0
    return Node(id, name, kind, label, tip, "", round(width), height, bare, copy)


def text_width(text: str, size: float) -> float:
    """Estimate how wide `text` is at `size` pixels in the usual sans-serif fonts.

    Leans to the wide side (DejaVu Sans, Verdana), so that nothing is clipped where
    the page's own font is not known.
    """
    total = 0.0
    for char in text:
        if unicodedata.combining(char):
            continue
        if unicodedata.east_asian_width(char) in "WF":
            total += 1.1
        elif char in _NARROW:
            total += 0.36
        elif char in _WIDE:
            total += 0.86
        elif char.isupper():
            total += 0.7
        else:
            total += 0.585
    return total * size


def loop_links(nodes: list[str], pairs: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """Choose the links to turn round so that the rest has no cycle.

    A depth-first walk in the given order; a link to a node still being walked is a
    loop's last arrow. Iterative, so that long chains do not meet the stack limit.
    """
    outgoing: dict[str, list[str]] = {node: [] for node in nodes}
    entered = set()
    for source, target in pairs:
        outgoing[source].append(target)
        entered.add(target)
    back: set[tuple[str, str]] = set()
    state: dict[str, int] = {}
    for root in [*(n for n in nodes if n not in entered), *nodes]:
        if root in state:
            continue
        state[root] = 1
        stack = [(root, iter(outgoing[root]))]
        while stack:
            here, rest = stack[-1]
            for target in rest:
                if state.get(target) == 1:
                    back.add((here, target))
                elif target not in state:
                    state[target] = 1
                    stack.append((target, iter(outgoing[target])))
                    break
            else:
                state[here] = 2
                stack.pop()
    return back


def _kind(node_type: str, event_types: object) -> Kind:
    names = (
        event_types if isinstance(event_types, (list, tuple, set, frozenset)) else ()
    )
    if node_type == "step":
        return "step"
    if node_type in RESOURCES:
        return "resource"
    if node_type != "event":
        return "person"
    if "StartEvent" in names:
        return "start"
    if "StopEvent" in names:
        return "stop"
    if "InputRequiredEvent" in names or "HumanResponseEvent" in names:
        return "human"
    return "event"


def _warnings(nodes: list[Node], links: list[Link]) -> list[str]:
    sources = {link.source for link in links}
    targets = {link.target for link in links}
    found = []
    for node in nodes:
        if node.kind == "event" and node.id not in sources:
            found.append(f"{node.name} is never consumed")
        if node.kind == "event" and node.id not in targets:
            found.append(f"{node.name} is never produced")
        if node.kind == "step" and node.id not in targets:
            found.append(f"step {node.name} takes no event")
    if not any(node.kind == "stop" for node in nodes):
        found.append("no step returns a StopEvent")
    return found


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
