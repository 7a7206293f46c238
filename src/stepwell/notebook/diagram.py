"""A workflow's graph for eyes: SVG, PNG, DOT, mermaid, and what a notebook shows.

Chooses who places the boxes: the `dot` program, else a pygraphviz wheel, else our
own layout, so that a graph always appears and never needs a network. What is drawn
is in `picture`, ink in `svg`, DOT in `dot`.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import stepwell
from stepwell import Workflow

from . import layout as own_layout
from .dot import dot_text
from .errors import DrawingError
from .escaping import escaped
from .layout import Layout
from .picture import Picture, picture_of
from .svg import Mark, as_image, draw_svg

FORMATS = ("svg", "png", "dot", "mermaid", "html")


class Diagram:
    """One workflow's picture with its places worked out, ready to be drawn many times.

    Args:
        picture: What to draw.
        layout: Where it goes; worked out when not given.
    """

    def __init__(self, picture: Picture, layout: Layout | None = None) -> None:
        self.picture = picture
        self.layout = _placed(picture) if layout is None else layout

    @staticmethod
    def picture_of(workflow: Workflow | type[Workflow]) -> Picture:
        """Read what there is to draw, without placing it."""
        return picture_of(stepwell.get_workflow_representation(workflow))

    @classmethod
    def of(cls, workflow: Workflow | type[Workflow]) -> Diagram:
        """Read the graph of a workflow class or instance."""
        return cls(picture_of(stepwell.get_workflow_representation(workflow)))

    def steps_in_order(self) -> list[str]:
        """Names of the steps in the order in which a reader meets them."""
        places = self.layout.centres
        main, cross = (0, 1) if self.layout.across else (1, 0)
        steps = sorted(
            self.picture.steps,
            key=lambda n: (round(places[n.id][main]), places[n.id][cross]),
        )
        return [node.name for node in steps]

    def svg(
        self,
        *,
        inline: bool = False,
        marks: Mapping[str, Mark] | None = None,
        prefix: str | None = None,
        live: bool = False,
    ) -> str:
        """Draw it; see `svg.draw_svg`. Without a prefix, the content makes one."""
        name = prefix or f"sw-{_digest(self.picture)}"
        return draw_svg(
            self.picture,
            self.layout,
            prefix=name,
            inline=inline,
            marks=marks,
            live=live,
        )

    def image(self, *, marks: Mapping[str, Mark] | None = None) -> str:
        """Draw it as an `<img>` with the SVG inside."""
        alt = f"Graph of the workflow {self.picture.name}: {self.picture.facts()}"
        return as_image(self.svg(marks=marks), alt=alt, width=self.layout.width)

    def html(self) -> str:
        """The image, one line of facts, and the warnings if there are any."""
        picture = self.picture
        facts = (
            '<div style="font:12px var(--jp-ui-font-family,system-ui,sans-serif);'
            'color:var(--jp-ui-font-color2,#7b8794);padding:2px 14px 6px">'
            "<b "
            f'style="color:var(--jp-ui-font-color1,inherit)">{escaped(picture.name)}</b>'
            f" · {escaped(picture.facts())}"
        )
        for warning in picture.warnings:
            facts += (
                '<span style="color:#b45309;white-space:nowrap">'
                f" · ⚠ {escaped(warning)}</span>"
            )
        return f"<div>{self.image()}{facts}</div></div>"

    def bundle(self) -> dict[str, str]:
        """What a notebook stores: SVG, HTML safe in untrusted views, plain text."""
        return {
            "image/svg+xml": self.svg(),
            "text/html": self.html(),
            "text/plain": self.line(),
        }

    def line(self) -> str:
        """The graph in one line of plain text."""
        warned = "".join(f" · warning: {w}" for w in self.picture.warnings)
        return f"<Workflow {self.picture.name}: {self.picture.facts()}{warned}>"


def to_dot(workflow: Workflow | type[Workflow]) -> str:
    """Give the graph of a workflow as DOT text, for Graphviz."""
    return dot_text(picture_of(stepwell.get_workflow_representation(workflow)))


def to_mermaid(workflow: Workflow | type[Workflow]) -> str:
    """Give the graph of a workflow as mermaid text, for documents that render it."""
    return mermaid_text(picture_of(stepwell.get_workflow_representation(workflow)))


def draw(
    workflow: Workflow | type[Workflow],
    format: str = "svg",
    *,
    path: str | Path | None = None,
) -> str | bytes:
    """Draw the graph of a workflow.

    Args:
        workflow: A workflow class or instance.
        format: One of "svg", "png", "dot", "mermaid", "html".
        path: Where to write it as well, if anywhere.

    Returns:
        The drawing: bytes for "png", else text.

    Raises:
        DrawingError: The format is unknown, or a PNG is wanted and Graphviz is missing.
    """
    picture = picture_of(stepwell.get_workflow_representation(workflow))
    made: str | bytes
    if format == "svg":
        made = Diagram(picture).svg()
    elif format == "html":
        made = Diagram(picture).html()
    elif format == "dot":
        made = dot_text(picture)
    elif format == "mermaid":
        made = mermaid_text(picture)
    elif format == "png":
        made = _png(picture)
    else:
        raise DrawingError(
            f"no drawing format {format!r}; choose one of: {', '.join(FORMATS)}"
        )
    if path is not None:
        Path(path).write_bytes(
            made if isinstance(made, bytes) else made.encode("utf-8")
        )
    return made


def mermaid_text(picture: Picture) -> str:
    """Write a picture as a mermaid flowchart; labels are quoted and entity-escaped."""
    shapes = {"step": ('["', '"]'), "person": ('[/"', '"/]')}
    lines = [f"flowchart {'LR' if own_layout.lies_across(picture) else 'TB'}"]
    for node in picture.nodes:
        left, right = shapes.get(node.kind, ('(["', '"])'))
        label = f"{node.name} {node.badge}" if node.badge else node.name
        lines.append(f"  {node.id}{left}{_entities(label)}{right}:::{node.kind}")
    for link in picture.links:
        label = f'|"{_entities(link.label)}"|' if link.label else ""
        lines.append(
            f"  {link.source} {'-.->' if link.back else '-->'}{label} {link.target}"
        )
    return "\n".join(lines) + "\n"


def _entities(text: str) -> str:
    """Mermaid's own escape: `#` and a code, for all but letters, digits, spaces."""
    return "".join(c if c.isalnum() or c in " _-.,×" else f"#{ord(c)};" for c in text)


def _png(picture: Picture) -> bytes:
    for vendor in _graphviz_vendors():
        try:
            return bytes(vendor.render(dot_text(picture), "png"))
        except (OSError, RuntimeError):
            continue
    raise DrawingError(
        "a PNG needs Graphviz: install the `dot` program, or `pip install pygraphviz`; "
        'format "svg" needs neither'
    )


def _placed(picture: Picture) -> Layout:
    for vendor in _graphviz_vendors():
        try:
            found = vendor.place(picture)
        except Exception:
            # Whatever ails Graphviz here (missing, broken, an old version), the
            # graph must appear: our own layout comes next.
            continue
        if isinstance(found, Layout):
            return found
    return own_layout.place(picture)


def _graphviz_vendors() -> list[ModuleType]:
    names = ["graphviz"] if shutil.which("dot") else []
    found = (_vendor(name) for name in [*names, "pygraphviz"])
    return [module for module in found if module is not None]


@functools.cache
def _vendor(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(f".{name}", __package__)
    except ImportError:
        return None


def _digest(picture: Picture) -> str:
    return hashlib.blake2s(repr(picture).encode("utf-8"), digest_size=4).hexdigest()
