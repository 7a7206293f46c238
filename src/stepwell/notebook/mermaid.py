"""Mermaid text: a flowchart for documents whose viewers draw it themselves.

Never part of what a notebook shows by itself: some viewers load mermaid from the
network, others show the bare text. Asked for by `to_mermaid`.
"""

from __future__ import annotations

from .colours import GIVEN, LIGHT, LOOP
from .escaping import storable
from .layout import lies_across
from .picture import Picture

_SHAPES = {
    "step": ('["', '"]'),
    "person": ('[/"', '"/]'),
    "resource": ('[("', '")]'),
}


def mermaid_text(picture: Picture) -> str:
    """Write a picture as a mermaid flowchart; labels are quoted and entity-escaped."""
    lines = [f"flowchart {'LR' if lies_across(picture) else 'TB'}"]
    for node in picture.nodes:
        left, right = _SHAPES.get(node.kind, ('(["', '"])'))
        label = f"{node.name} {node.badge}" if node.badge else node.name
        lines.append(f"  {node.id}{left}{_entities(label)}{right}:::{node.kind}")
    styles = []
    for number, link in enumerate(picture.links):
        label = f'|"{_entities(link.label)}"|' if link.label else ""
        arrow = "-.->" if link.back or link.given else "-->"
        lines.append(f"  {link.source} {arrow}{label} {link.target}")
        if link.back or link.given:
            colour = LOOP if link.back else GIVEN
            styles.append(f"  linkStyle {number} stroke:{colour}")
    there = {node.kind for node in picture.nodes}
    for kind, ink in LIGHT.items():
        if kind in there:
            colours = f"fill:{ink.fill},stroke:{ink.line},color:{ink.text}"
            lines.append(f"  classDef {kind} {colours}")
    return "\n".join([*lines, *styles]) + "\n"


def _entities(text: str) -> str:
    """Mermaid's own escape, `#` and a code, for all that could mean something.

    Letters, digits and spaces stand for themselves, and underscores inside of a name:
    at its ends they would be markdown, as a dot behind a number would begin a list.
    """
    plain = storable(text)
    inner = plain.strip("_")
    start = plain.find(inner) if inner else 0
    return "".join(
        char
        if char.isalnum()
        or char in " ×"
        or (char == "_" and start <= i < start + len(inner))
        else f"#{ord(char)};"
        for i, char in enumerate(plain)
    )
