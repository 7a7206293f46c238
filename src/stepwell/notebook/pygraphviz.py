"""Graphviz inside the `pygraphviz` wheel; the only file that imports it.

For machines without the `dot` program. What is written for dot and how its answer is
read is in `dot`.
"""

from __future__ import annotations

import pygraphviz  # type: ignore[import-not-found, import-untyped, unused-ignore]

from .dot import read_plain, skeleton
from .layout import Layout, lies_across
from .picture import Picture


def place(picture: Picture) -> Layout:
    """Place a picture by the Graphviz that came with the wheel."""
    across = lies_across(picture)
    return read_plain(
        render(skeleton(picture, across), "plain").decode("utf-8"), picture, across
    )


def render(source: str, format: str, *, placed: bool = False) -> bytes:
    """Let the wheel's Graphviz turn DOT text; see `graphviz.render`."""
    graph = pygraphviz.AGraph(string=source)
    graph.has_layout = placed
    return bytes(graph.draw(format=format, prog=None if placed else "dot"))
