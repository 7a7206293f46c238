"""The `dot` program, through the `graphviz` package; the only file that imports it.

What is written for dot and how its answer is read is in `dot`; the twin for machines
without the program is `pygraphviz`.
"""

from __future__ import annotations

import graphviz

from .dot import read_plain, skeleton
from .layout import Layout, lies_across
from .picture import Picture


def place(picture: Picture) -> Layout:
    """Place a picture by `dot`.

    Raises:
        graphviz.ExecutableNotFound: The `dot` program is not installed.
    """
    across = lies_across(picture)
    return read_plain(
        render(skeleton(picture, across), "plain").decode("utf-8"), picture, across
    )


def render(source: str, format: str, *, placed: bool = False) -> bytes:
    """Let Graphviz turn DOT text into any of its formats.

    Args:
        source: The DOT text.
        format: Graphviz's name of the format.
        placed: The text says where everything goes.
    """
    data = source.encode("utf-8")
    if placed:
        made = graphviz.pipe("neato", format, data, neato_no_op=2, quiet=True)
    else:
        made = graphviz.pipe("dot", format, data, quiet=True)
    return bytes(made)
