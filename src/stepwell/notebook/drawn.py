"""What `draw` gives back: text or bytes like any other, and a picture in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class DrawnText(str):
    """A drawing as text: SVG, HTML, DOT, mermaid.

    Args:
        text: The drawing.
        bundle: What a notebook shows of it, by media type.
    """

    def __new__(cls, text: str, bundle: Mapping[str, str] | None = None) -> DrawnText:
        """Make one; strings are made before they could be initialised."""
        made = super().__new__(cls, text)
        made._bundle = dict(bundle or {"text/plain": text})
        return made

    _bundle: dict[str, str]

    def __repr__(self) -> str:
        """What stands for it in a line; the whole where it is text for people."""
        return self._bundle["text/plain"]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return dict(self._bundle)


class DrawnBytes(bytes):
    """A drawing as bytes: PNG. Its arguments are those of `DrawnText`."""

    def __new__(
        cls, data: bytes, bundle: Mapping[str, str] | None = None
    ) -> DrawnBytes:
        """Make one; bytes are made before they could be initialised."""
        made = super().__new__(cls, data)
        made._bundle = dict(bundle or {"text/plain": f"<{len(data)} bytes>"})
        return made

    _bundle: dict[str, str]

    def __repr__(self) -> str:
        """What stands for it in a line."""
        return self._bundle["text/plain"]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return dict(self._bundle)
