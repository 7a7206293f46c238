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

from .colours import (
    BADGES,
    DARK_PAGES,
    MARKS,
    NAME_DARK,
    NAME_LIGHT,
    NOTE_DARK,
    NOTE_LIGHT,
    STATUS_DARK,
    STATUS_LIGHT,
    badge_of,
)

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
            f"{here} .count{{background:{badge_of(status)}}}"
        )
        for page in DARK_PAGES:
            rules.append(
                f"{page} {here} .box,{page} {here} .sheet{{fill:{dark.fill};"
                f"stroke:{dark.line}}}{page} {here} .label{{fill:{dark.text}}}"
            )
    rules += _words_rules()
    here = ".sw-h .sw-timeline"
    rules.append(f"{here} .t1{{fill:{NAME_LIGHT}}}{here} .t2{{fill:{NOTE_LIGHT}}}")
    for page in DARK_PAGES:
        rules.append(f"{page} {here} .t1{{fill:{NAME_DARK}}}")
        rules.append(f"{page} {here} .t2{{fill:{NOTE_DARK}}}")
    return f"<style>{''.join(rules)}</style>"


def _words_rules() -> list[str]:
    """Colours of statuses as words, and of the bars of their calls."""
    rules = [f".sw-h td i{{background:{MARKS['done']}}}"]
    for status in ("queued", "running", "done", "failed", "retrying", "cancelled"):
        dark = STATUS_DARK["waiting" if status == "retrying" else status].line
        words = [f".sw-h .sw-{status}"]
        if status == "failed":
            words.append(".sw-h .sw-error td+td")
        rules.append(f"{','.join(words)}{{color:{BADGES[status]}}}")
        for page in DARK_PAGES:
            there = ",".join(f"{page} {word}" for word in words)
            rules.append(f"{there}{{color:{dark}!important}}")
        rules.append(f".sw-h .sw-of-{status} i{{background:{MARKS[status]}}}")
    return rules


@functools.cache
def _script() -> str:
    """The script without its comments and indentation."""
    lines = [line.strip() for line in _text("replay.js").splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
