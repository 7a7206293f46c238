"""A drawn workflow as a figure of a page: the image, what boxes say, a line of facts.

The SVG stands in an `<img>`, which survives untrusted notebooks and every converter;
over it lie empty boxes whose titles a trusted page shows when pointed at. There are no
scripts. What is said is in `tips`, ink in `svg`.
"""

from __future__ import annotations

from .colours import BADGES, DARK_PAGES, STATUS_DARK
from .escaping import escaped
from .layout import Layout
from .picture import Picture
from .svg import as_data_uri
from .tips import shortened

# A picture taller than this is shown in a window of that height, which scrolls.
TALLEST = 1500
WINDOW = 860
# None is drawn smaller than this part of its size; it scrolls instead.
SMALLEST = 0.6
# How many letters the titles may have, all in all; beyond, each is its first line.
MOST_TITLES = 100_000
_LINE = "\n"


def figure_html(picture: Picture, layout: Layout, svg: str, *, prefix: str) -> str:
    """Put a drawing on a page, and a line of facts below it; see `image_html`."""
    image = image_html(picture, layout, svg, prefix=prefix)
    name = f"{prefix}-said"
    rules = "".join(
        f"{page} .{name} .warning{{color:{STATUS_DARK['waiting'].line}!important}}"
        for page in DARK_PAGES
    )
    style = f"<style>{rules}</style>" if picture.warnings else ""
    return f'<div class="{name}">{style}{image}{_facts(picture)}</div>'


def image_html(picture: Picture, layout: Layout, svg: str, *, prefix: str) -> str:
    """Put a drawing on a page.

    Args:
        picture: What is drawn.
        layout: Where it is.
        svg: The drawing itself, made to be an image of its own.
        prefix: Makes the class of the figure unique in a page.
    """
    name = f"{prefix}-figure"
    least = round(layout.width * SMALLEST)
    alt = escaped(f"Graph of the workflow {picture.name}: {picture.facts()}")
    return (
        f'<div class="{name}">{_style(name, tall=layout.height > TALLEST)}'
        f'<div class="{name}-window" style="overflow:auto">'
        f'<div style="position:relative;width:{layout.width:.0f}px;max-width:100%;'
        f'min-width:{least}px">'
        f'<img src="{as_data_uri(svg)}" alt="{alt}" '
        f'style="width:100%;max-width:{layout.width:.0f}px;height:auto;display:block"/>'
        f"{_titles(picture, layout)}</div></div></div>"
    )


def window_html(layout: Layout, drawing: str) -> str:
    """A drawing that is part of the page; where it is large, in a scrolling window."""
    least = round(layout.width * SMALLEST)
    height = f"max-height:{WINDOW}px;" if layout.height > TALLEST else ""
    return (
        f'<div style="overflow:auto;{height}"><div style="min-width:{least}px">'
        f"{drawing}</div></div>"
    )


def _style(name: str, *, tall: bool) -> str:
    """Rules that improve the figure where a page lets them through."""
    rules = [f".{name} span[title]{{cursor:help}}", theme_rules(name)]
    if tall:
        rules.append(f"@media screen{{.{name}-window{{max-height:{WINDOW}px}}}}")
    return f"<style>{''.join(rules)}</style>"


def theme_rules(name: str) -> str:
    """Rules by which the images below elements of a class follow the page's theme.

    An SVG in an `<img>` does not see the theme, only the colour scheme of its element.
    """
    rules = [
        f'[data-jp-theme-light="true"] .{name} img{{color-scheme:light}}',
        f".vscode-light .{name} img{{color-scheme:light}}",
    ]
    rules += [f"{page} .{name} img{{color-scheme:dark}}" for page in DARK_PAGES]
    return "".join(rules)


def _titles(picture: Picture, layout: Layout) -> str:
    """An empty box over each drawn one, placed in parts of the picture's size."""
    tips = [node.tip or node.name for node in picture.nodes]
    if sum(map(len, tips)) > MOST_TITLES:
        tips = [shortened(tip.partition("\n")[0], 120) for tip in tips]
    parts = []
    for node, tip in zip(picture.nodes, tips, strict=True):
        x, y = layout.centres[node.id]
        left = (x - node.width / 2) / layout.width
        top = (y - node.height / 2) / layout.height
        parts.append(
            f'<span title="{escaped(tip).replace(_LINE, "&#10;")}" '
            'style="position:absolute;'
            f"left:{left:.2%};top:{top:.2%};"
            f"width:{node.width / layout.width:.2%};"
            f'height:{node.height / layout.height:.2%}"></span>'
        )
    return "".join(parts)


def _facts(picture: Picture) -> str:
    facts = (
        '<div style="font:12px var(--jp-ui-font-family,system-ui,sans-serif);'
        'color:var(--jp-ui-font-color2,#6b7280);padding:2px 14px 6px">'
        "<b "
        f'style="color:var(--jp-ui-font-color1,inherit)">{escaped(picture.name)}</b>'
        f" · {escaped(picture.facts())}"
    )
    if any(node.copy for node in picture.nodes):
        facts += " · dashed: an event whose other steps are far away"
    for warning in picture.warnings:
        facts += (
            f'<span class="warning" style="color:{BADGES["warning"]};'
            'white-space:nowrap">'
            f" · ⚠ {escaped(warning)}</span>"
        )
    return f"{facts}</div>"
