"""How large workflows stay readable: bare names on arrows, and copies of far events.

Above `LARGE` steps events are names on their arrows instead of boxes, and an arrow that
would pass more than `LONGEST` ranks ends beside its step in a copy of the event. So
no arrow is too long to follow, and the work of placing grows with the number of steps
only. Text for other programs (DOT, mermaid) is not made this way.
"""

from __future__ import annotations

from dataclasses import replace

from .picture import Link, Node, Picture, sized_node
from .ranking import rank_numbers

LARGE = 40
LONGEST = 8


def readable(picture: Picture) -> Picture:
    """The picture itself, or of a large workflow one that can be followed."""
    if len(picture.steps) <= LARGE:
        return picture
    ranks = rank_numbers(picture)
    by_id = {node.id: node for node in picture.nodes}
    nodes = {node.id: _bare(node) for node in picture.nodes}
    links: list[Link] = []
    cut = 0
    for link in picture.links:
        if abs(ranks[link.target] - ranks[link.source]) <= LONGEST:
            links.append(link)
            continue
        cut += link.back
        far = link.source
        if by_id[far].kind in ("step", "person"):
            far = link.target
        there = by_id[far]
        copy = sized_node(
            f"c{len(nodes)}",
            there.name,
            there.kind,
            tip=f"{there.tip or there.name}\n\n(drawn in several places)",
            copy=True,
        )
        nodes[copy.id] = copy
        ends = (copy.id, link.target) if far == link.source else (link.source, copy.id)
        links.append(Link(*ends, link.label, False, link.given))
    used = {end for link in links for end in (link.source, link.target)}
    lost = {end for link in picture.links for end in (link.source, link.target)} - used
    # Where every arrow ends in a copy, one of the copies is the original.
    kept: list[Node] = []
    for node in nodes.values():
        twin = next(
            (by_id[id] for id in lost if node.copy and by_id[id].name == node.name),
            None,
        )
        if twin is not None:
            lost.discard(twin.id)
            node = replace(node, copy=False, tip=twin.tip)
        if node.id not in lost:
            kept.append(node)
    kept = [node for node in kept if node.id not in lost]
    return replace(picture, nodes=tuple(kept), links=tuple(links), loops_cut=cut)


def _bare(node: Node) -> Node:
    if node.kind != "event":
        return node
    return sized_node(node.id, node.name, node.kind, tip=node.tip, bare=True)
