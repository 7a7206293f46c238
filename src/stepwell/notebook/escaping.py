"""Text of anybody, made safe for a page: documents in events are not to be trusted."""

from __future__ import annotations

import re
from html import escape

# What XML cannot hold: controls, lone surrogates, and the two non-characters.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"
)


def escaped(text: str) -> str:
    """Text that stands for itself in HTML, in SVG, and in their attributes."""
    return escape(storable(text))


def storable(text: str) -> str:
    """Text without what no XML and no file in UTF-8 can hold."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
