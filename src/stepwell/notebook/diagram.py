"""A workflow's graph for eyes: SVG, PNG, DOT, mermaid, and what a notebook shows.

Chooses who places the boxes: rows of our own for what can be folded, else the `dot`
program, else a pygraphviz wheel, else our own layout, so that a graph always appears
and never needs a network. What is drawn is in `picture`, ink in `svg`, the page around
it in `figure`, text for other programs in `dot` and `mermaid`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import stepwell
from stepwell import Workflow

from . import layout as own_layout
from .copies import readable
from .dot import dot_text, placed_dot
from .drawn import DrawnBytes, DrawnText
from .errors import DrawingError
from .escaping import escaped
from .figure import figure_html, image_html, window_html
from .folding import folded
from .layout import Layout, lies_across
from .mermaid import mermaid_text
from .picture import Picture, picture_of
from .ranking import rank_numbers
from .svg import Mark, draw_svg

FORMATS = ("svg", "png", "dot", "mermaid", "html")
SUFFIXES = {
    ".svg": "svg",
    ".png": "png",
    ".dot": "dot",
    ".gv": "dot",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".html": "html",
    ".htm": "html",
}
# What text for other programs may also be called.
_PLAIN = {"dot": ("", ".txt"), "mermaid": ("", ".txt", ".md")}
# Ranks that arrows pass, and boxes, above which `dot` could take minutes.
MOST_FOR_DOT = 3000
# Letters of an SVG above which a bundle holds it once, inside of the HTML.
MOST_TWICE = 300_000


class Diagram:
    """One workflow's picture with its places worked out, ready to be drawn many times.

    Args:
        picture: What to draw.
        layout: Where it goes; worked out when not given.
    """

    def __init__(self, picture: Picture, layout: Layout | None = None) -> None:
        self.picture = picture
        if layout is not None:
            self.layout = layout

    @functools.cached_property
    def layout(self) -> Layout:
        """Where everything goes; worked out when first needed, if not given."""
        return _placed(self.picture)

    @staticmethod
    def picture_of(workflow: Workflow | type[Workflow]) -> Picture:
        """Read what there is to draw, without placing it."""
        return readable(_read(workflow))

    @classmethod
    def of(cls, workflow: Workflow | type[Workflow]) -> Diagram:
        """Read the graph of a workflow class or instance."""
        return cls(cls.picture_of(workflow))

    def steps_in_order(self) -> list[str]:
        """Names of the steps in the order in which a reader meets them."""
        places, ranks = self.layout.centres, rank_numbers(self.picture)
        cross = 1 if self.layout.across else 0
        steps = sorted(
            self.picture.steps, key=lambda n: (ranks[n.id], places[n.id][cross])
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
        return draw_svg(
            self.picture,
            self.layout,
            prefix=prefix or self._prefix,
            inline=inline,
            marks=marks,
            live=live,
        )

    def image(self, *, marks: Mapping[str, Mark] | None = None) -> str:
        """Draw it as an `<img>` with the SVG inside, and titles over its boxes."""
        svg = self.svg(marks=marks)
        return image_html(self.picture, self.layout, svg, prefix=self._prefix)

    def live(self, *, prefix: str) -> str:
        """Draw it as part of the page, to be coloured by rules for its class."""
        svg = self.svg(inline=True, prefix=prefix, live=True)
        return window_html(self.layout, svg)

    def html(self, *, marks: Mapping[str, Mark] | None = None) -> str:
        """The image, what its boxes say, one line of facts, and the warnings."""
        return self._figure(self.svg(marks=marks))

    def bundle(self, *, marks: Mapping[str, Mark] | None = None) -> dict[str, str]:
        """What a notebook stores: HTML safe in untrusted views, SVG, plain text.

        A very large SVG is stored once, in the HTML.
        """
        svg = self.svg(marks=marks)
        shown = {"text/html": self._figure(svg), "text/plain": self.line()}
        return shown if len(svg) > MOST_TWICE else {"image/svg+xml": svg, **shown}

    def line(self) -> str:
        """The graph in one line of plain text."""
        warned = "".join(f" · warning: {w}" for w in self.picture.warnings)
        return f"<Workflow {self.picture.name}: {self.picture.facts()}{warned}>"

    def _figure(self, svg: str) -> str:
        return figure_html(self.picture, self.layout, svg, prefix=self._prefix)

    @functools.cached_property
    def _prefix(self) -> str:
        return f"sw-{_digest(self.picture)}"


def to_dot(workflow: Workflow | type[Workflow], *, resources: bool = False) -> str:
    """Give the graph of a workflow as DOT text, for Graphviz."""
    return dot_text(_read(workflow, resources))


def to_mermaid(workflow: Workflow | type[Workflow], *, resources: bool = False) -> str:
    """Give the graph of a workflow as mermaid text, for documents that render it."""
    return mermaid_text(_read(workflow, resources))


def draw(
    workflow: Workflow | type[Workflow],
    format: str | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    resources: bool = False,
) -> str | bytes:
    """Draw the graph of a workflow.

    Args:
        workflow: A workflow class or instance.
        format: One of "svg", "png", "dot", "mermaid", "html". By default what the
            suffix of `path` says, and "svg" where there is no path.
        path: Where to write it as well, if anywhere. An HTML file is a whole page.
        resources: Also draw what is injected into steps.

    Returns:
        The drawing: bytes for "png", else text. As the last value of a cell, SVG, PNG
        and HTML show the picture, the others print their text.

    Raises:
        DrawingError: The format is unknown, or a PNG is wanted and Graphviz is missing,
            or the file cannot be written, or its suffix belongs to another format.
    """
    file = None if path is None else Path(path).expanduser()
    chosen = _format(format, file)
    whole = _read(workflow, resources)
    made: DrawnText | DrawnBytes
    if chosen == "dot":
        made = DrawnText(dot_text(whole))
    elif chosen == "mermaid":
        made = DrawnText(mermaid_text(whole))
    elif chosen == "png":
        picture = readable(whole)
        data = _png(Diagram(picture))
        coded = base64.b64encode(data).decode("ascii")
        line = f"<PNG of {picture.name}: {picture.facts()}>"
        made = DrawnBytes(data, {"image/png": coded, "text/plain": line})
    else:
        diagram = Diagram(readable(whole))
        bundle = diagram.bundle()
        bundle["text/plain"] = (
            f"<{chosen.upper()} of {whole.name}: {diagram.picture.facts()}>"
        )
        text = diagram.svg() if chosen == "svg" else bundle["text/html"]
        made = DrawnText(text, bundle)
    if file is not None:
        _write(file, made, title=whole.name if chosen == "html" else None)
    return made


def _read(workflow: Workflow | type[Workflow], resources: bool = False) -> Picture:
    graph = stepwell.get_workflow_representation(workflow)
    return picture_of(graph, resources=resources)


def _format(format: str | None, file: Path | None) -> str:
    """What is to be drawn, from what was asked for and where it is to be written."""
    if format is not None and format not in FORMATS:
        raise DrawingError(
            f"no drawing format {format!r}; choose one of: {', '.join(FORMATS)}"
        )
    if file is None:
        return format or "svg"
    suffix = file.suffix.lower()
    meant = SUFFIXES.get(suffix)
    if format is None:
        if meant is None:
            raise DrawingError(
                f"the suffix of {file.name!r} says no drawing format; use one of "
                f"{', '.join(SUFFIXES)}, or say format=…"
            )
        return meant
    if meant != format and suffix not in _PLAIN.get(format, ("",)):
        fitting = " or ".join(s for s, each in SUFFIXES.items() if each == format)
        raise DrawingError(
            f"a drawing in the format {format!r} was to be written to {file.name!r}; "
            f"name the file …{fitting}, or leave the format to its suffix"
        )
    return format


def _write(file: Path, made: str | bytes, *, title: str | None) -> None:
    if isinstance(made, str) and title is not None:
        made = (
            '<!doctype html><html><head><meta charset="utf-8">'
            f"<title>{escaped(title)}</title></head><body>{made}</body></html>"
        )
    try:
        file.write_bytes(made if isinstance(made, bytes) else made.encode("utf-8"))
    except OSError as error:
        there = "" if file.parent.is_dir() else "; make that folder first"
        raise DrawingError(
            f"the drawing cannot be written to {file}: {error.strerror or error}{there}"
        ) from error


def _png(diagram: Diagram) -> bytes:
    source = placed_dot(diagram.picture, diagram.layout)
    for vendor in _graphviz_vendors():
        try:
            return bytes(vendor.render(source, "png", placed=True))
        except (OSError, RuntimeError):
            continue
    raise DrawingError(
        "a PNG needs Graphviz: install the `dot` program, or `pip install pygraphviz`; "
        'format "svg" needs neither'
    )


def _placed(picture: Picture) -> Layout:
    rows = None if lies_across(picture) else folded(picture)
    if rows is not None:
        return rows
    ranks = rank_numbers(picture)
    passed = sum(abs(ranks[k.target] - ranks[k.source]) for k in picture.links)
    small = len(picture.nodes) + passed <= MOST_FOR_DOT
    for vendor in _graphviz_vendors() if small else ():
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
