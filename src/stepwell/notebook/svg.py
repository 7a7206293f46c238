"""A placed picture as SVG text.

Light colours are plain attributes, so that every viewer and converter shows them;
dark ones are style rules that only win where the page is dark. Everything from the
user is escaped. Status colours of a run are painted in on request. The colours are in
`colours`; where things go is decided in `layout` and `graphviz`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from .colours import (
    DARK,
    DARK_PAGES,
    EDGE,
    GIVEN,
    LIGHT,
    LOOP,
    STATUS_DARK,
    STATUS_LIGHT,
    Ink,
    badge_of,
)
from .escaping import escaped
from .layout import Layout
from .picture import Kind, Node, Picture, text_width

FONT = (
    "var(--jp-ui-font-family, system-ui), -apple-system, 'Segoe UI', Roboto, sans-serif"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """What a run did with one step: a status of `STATUS_LIGHT`, and a short count."""

    status: str
    count: str = ""


def draw_svg(
    picture: Picture,
    layout: Layout,
    *,
    prefix: str,
    inline: bool = False,
    marks: Mapping[str, Mark] | None = None,
    live: bool = False,
) -> str:
    """Draw a placed picture.

    Args:
        picture: What to draw.
        layout: Where it goes.
        prefix: Makes ids and classes unique in a page; letters, digits and `-`.
        inline: True for an SVG that becomes part of a page (dark follows the page's
            theme), False for an image of its own (dark follows the reader's system).
        marks: Run status by step name, painted in.
        live: Leave an empty count badge on each step, for style rules to fill.

    Returns:
        One `<svg>` element, with a view box and no fixed size beyond a maximum width.
    """
    width, height = _number(layout.width), _number(layout.height)
    described = escaped(f"Workflow {picture.name}: {picture.facts()}")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{prefix}" role="img" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'style="max-width:100%;height:auto;font-family:{FONT}">',
        f"<title>{described}</title>",
        f"<style>{_dark_rules(picture, marks or {}, prefix, inline)}</style>",
        *_arrows(picture, layout, prefix),
    ]
    for node in picture.nodes:
        mark = (marks or {}).get(node.name) if node.kind == "step" else None
        parts.append(_node(node, layout.centres[node.id], mark, live))
    parts.append("</svg>")
    return "".join(parts)


def _arrows(picture: Picture, layout: Layout, prefix: str) -> list[str]:
    """The arrows in groups of one look, so that it is written once."""
    links = {(link.source, link.target): link for link in picture.links}
    bare = {node.id for node in picture.nodes if node.bare}
    paths: dict[str, list[str]] = {"flow": [], "open": [], "back": [], "given": []}
    for route in layout.routes:
        link = links[route.source, route.target]
        look = "back" if link.back else "given" if link.given else "flow"
        if look == "flow" and link.target in bare:
            look = "open"  # the arrow goes on behind the name
        paths[look].append(f'<path class="link" d="{_path(route.points)}"/>')
    looks = {
        "flow": (EDGE, ""),
        "open": (EDGE, ""),
        "back": (LOOP, ' stroke-dasharray="5 3"'),
        "given": (GIVEN, ' stroke-dasharray="1.5 3" stroke-linecap="round"'),
    }
    there = [look for look in paths if paths[look]]
    parts = ["<defs>"]
    parts += [
        _arrowhead(f"{prefix}-{look}", looks[look][0])
        for look in there
        if look != "open"
    ]
    parts.append("</defs>")
    for look in there:
        ink, dash = looks[look]
        tip = "" if look == "open" else f' marker-end="url(#{prefix}-{look})"'
        parts.append(f'<g fill="none" stroke="{ink}" stroke-width="1.5"{dash}{tip}>')
        parts += [*paths[look], "</g>"]
    return parts


def as_data_uri(svg: str) -> str:
    """Wrap an SVG so that it can stand in an `<img src>`, which no sanitizer strips."""
    coded = base64.b64encode(svg.encode("utf-8")).decode("ascii")
    return f"data:image/svg+xml;base64,{coded}"


def as_image(svg: str, *, alt: str, width: float) -> str:
    """Give an `<img>` of an SVG; it shrinks with its cell and is never enlarged."""
    return (
        f'<img src="{as_data_uri(svg)}" alt="{escaped(alt)}" '
        f'style="max-width:100%;width:{_number(width)}px;height:auto;display:block"/>'
    )


def _node(
    node: Node, centre: tuple[float, float], mark: Mark | None, live: bool
) -> str:
    ink = STATUS_LIGHT[mark.status] if mark else LIGHT[node.kind]
    x, y = centre[0] - node.width / 2, centre[1] - node.height / 2
    status = f" is-{mark.status}" if mark else ""
    parts = [
        f'<g class="node {node.kind} {node.id}{status}">'
        f"<title>{escaped(node.tip or node.name)}</title>"
    ]
    if not node.bare:
        if node.badge and node.badge != "×1":
            # A second sheet behind the first: several workers.
            parts.append(_box(node, "sheet", (x + 3.5, y - 3.5), ink))
        parts.append(_box(node, "box", (x, y), ink))
    size = 13.0 if node.kind == "step" else 11.5
    weight = ' font-weight="600"' if node.kind == "step" else ""
    middle = centre[0]
    if node.bare:
        size = 10.5
    if node.kind not in ("step", "event"):
        parts.append(_icon(node.kind, x + 11, centre[1], ink))
        middle += 7.5
    if node.badge:
        wide = text_width(node.badge, 10.5) + 9
        left = x + node.width - wide - 9
        middle -= (wide + 7) / 2
        parts.append(
            f'<rect class="chip" x="{_number(left)}" y="{_number(centre[1] - 8)}" '
            f'width="{_number(wide)}" height="16" rx="8" fill="{ink.line}" '
            'fill-opacity=".18"/>'
            f'<text class="label" x="{_number(left + wide / 2)}" '
            f'y="{_number(centre[1] + 3.7)}" '
            f'font-size="10.5" font-weight="600" fill="{ink.text}" '
            f'text-anchor="middle">{escaped(node.badge)}</text>'
        )
    parts.append(
        f'<text class="label" x="{_number(middle)}" '
        f'y="{_number(centre[1] + size * 0.35)}" '
        f'font-size="{_number(size)}"{weight} fill="{ink.text}" text-anchor="middle">'
        f"{escaped(node.label)}</text>"
    )
    right = x + node.width
    if live and node.kind == "step":
        parts.append(
            f'<foreignObject x="{_number(right - 56)}" y="{_number(y - 9)}" width="64" '
            'height="20"><div xmlns="http://www.w3.org/1999/xhtml" class="count">'
            "</div>"
            f"</foreignObject>"
        )
    if mark and mark.count:
        wide = text_width(mark.count, 11.0) + 12
        left = right + 7 - wide
        parts.append(
            f'<rect class="pip" x="{_number(left)}" y="{_number(y - 8)}" rx="8" '
            'height="16" '
            f'width="{_number(wide)}" fill="{badge_of(mark.status)}"/>'
            f'<text x="{_number(left + wide / 2)}" y="{_number(y + 3.6)}" '
            'font-size="10" '
            'font-weight="700" fill="#fff" '
            f'text-anchor="middle">{escaped(mark.count)}</text>'
        )
    parts.append("</g>")
    return "".join(parts)


def _box(node: Node, name: str, corner: tuple[float, float], ink: Ink) -> str:
    radius = {"step": 9.0, "resource": 4.0}.get(node.kind, node.height / 2)
    stroke = 1.6 if node.kind in ("step", "stop", "person") else 1.2
    dash = ' stroke-dasharray="3 2"' if node.copy else ""
    pale = ' stroke-opacity=".55"' if name == "sheet" else ""
    return (
        f'<rect class="{name}" x="{_number(corner[0])}" y="{_number(corner[1])}" '
        f'width="{_number(node.width)}" height="{_number(node.height)}" '
        f'rx="{_number(radius)}" fill="{ink.fill}" stroke="{ink.line}" '
        f'stroke-width="{stroke}"{dash}{pale}/>'
    )


def _icon(kind: Kind, x: float, y: float, ink: Ink) -> str:
    fill = f'class="icon" fill="{ink.text}" fill-opacity=".75"'
    if kind == "start":
        return f'<path {fill} d="M{_number(x)} {_number(y - 4.5)}l8 4.5l-8 4.5z"/>'
    if kind == "stop":
        return (
            f'<rect {fill} x="{_number(x)}" y="{_number(y - 3.5)}" '
            'width="7" height="7" rx="1.5"/>'
        )
    if kind == "resource":
        return (  # a drum
            f'<path {fill} d="M{_number(x)} {_number(y - 3)}a4 1.8 0 0 1 8 0v6a4 1.8 '
            '0 0 1-8 0z"/>'
            f'<path d="M{_number(x)} {_number(y - 3)}a4 1.8 0 0 0 8 0" fill="none" '
            f'stroke="{ink.fill}" stroke-width=".8"/>'
        )
    return (
        f'<circle {fill} cx="{_number(x + 4)}" cy="{_number(y - 2.6)}" r="2.6"/>'
        f'<path {fill} d="M{_number(x - 0.6)} {_number(y + 5)}a4.6 4.6 0 0 1 9.2 0z"/>'
    )


def _dark_rules(
    picture: Picture, marks: Mapping[str, Mark], prefix: str, inline: bool
) -> str:
    """Style rules for dark pages, all of them scoped to this drawing's class."""
    scopes = [f"{page} .{prefix}" for page in DARK_PAGES] if inline else [f".{prefix}"]
    rules: list[str] = []
    there = {node.kind for node in picture.nodes}
    used = {mark.status for mark in marks.values()}
    kinds = [(f".{kind}", ink) for kind, ink in DARK.items() if kind in there]
    kinds += [(f".step.is-{s}", ink) for s, ink in STATUS_DARK.items() if s in used]
    for name, ink in kinds:
        box = ",".join(
            f"{scope} {name} .{part}" for scope in scopes for part in ("box", "sheet")
        )
        text = ",".join(
            f"{scope} {name} .{part}" for scope in scopes for part in ("label", "icon")
        )
        rules.append(
            f"{box}{{fill:{ink.fill};stroke:{ink.line}}}{text}{{fill:{ink.text}}}"
        )
    body = "".join(rules)
    return body if inline else f"@media (prefers-color-scheme:dark){{{body}}}"


def _arrowhead(id: str, ink: str) -> str:
    return (
        f'<marker id="{id}" viewBox="0 0 9 8" refX="8" refY="4" markerWidth="9" '
        f'markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path d="M0 0.4L8.6 4L0 7.6L2 4z" fill="{ink}"/></marker>'
    )


def _path(points: tuple[tuple[float, float], ...]) -> str:
    first, rest = points[0], points[1:]
    parts = [f"M{_number(first[0])} {_number(first[1])}"]
    for i in range(0, len(rest) - 2, 3):
        curve = " ".join(f"{_number(x)} {_number(y)}" for x, y in rest[i : i + 3])
        parts.append(f"C{curve}")
    return "".join(parts)


def _number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))
