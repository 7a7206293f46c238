"""The script and the style sheet with which a record is stepped through in a page.

Both are files of their own beside this one, `replay.js` and `replay.css`. No network:
they travel inside the HTML, and so does the data, as JSON from which no text can
break out.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from .svg import DARK_PAGES, STATUS_DARK, STATUS_LIGHT

# Inside a script, what could end it, or begin a comment that hides its end.
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}


def script_html(prefix: str, data: Mapping[str, Any]) -> str:
    """The script for the element of this class, with the data it shows."""
    return (
        f"<script>(()=>{{const replay={_script()};const data={json_for_script(data)};"
        f'for(const root of document.querySelectorAll(".{prefix}"))replay(root,data)'
        "})()</script>"
    )


def json_for_script(data: Mapping[str, Any]) -> str:
    """Data as JSON that is safe inside a `<script>`, whatever text is in it."""
    # All but ASCII is escaped by `json`: line separators, and halves of pairs, which
    # no page can hold.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.translate(_ESCAPES)


@functools.cache
def style_html() -> str:
    """The style sheet; every rule in it is for records only."""
    rules = [_text("replay.css").replace("\n", "")]
    for status, ink in STATUS_LIGHT.items():
        here = f".sw-h svg .node.is-{status}"
        dark = STATUS_DARK[status]
        rules.append(
            f"{here} .box,{here} .sheet{{fill:{ink.fill};stroke:{ink.line}}}"
            f"{here} .label{{fill:{ink.text}}}{here} .chip{{fill:{ink.line}}}"
            f"{here} .count{{background:{ink.line}}}"
        )
        for page in DARK_PAGES:
            rules.append(
                f"{page} {here} .box,{page} {here} .sheet{{fill:{dark.fill};"
                f"stroke:{dark.line}}}{page} {here} .label{{fill:{dark.text}}}"
            )
    for page in DARK_PAGES:
        rules.append(f"{page} .sw-h .sw-timeline .t1{{fill:#d1d5db}}")
    return f"<style>{''.join(rules)}</style>"


@functools.cache
def _script() -> str:
    """The script without its comments and indentation."""
    lines = [line.strip() for line in _text("replay.js").splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
