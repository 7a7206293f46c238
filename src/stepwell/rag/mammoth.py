"""Word files (.docx), by mammoth. Nothing else imports it."""

from __future__ import annotations

from io import BytesIO

import mammoth  # type: ignore[import-untyped]  # ships no types

from .formats import Unreadable


def docx_to_html(data: bytes) -> str:
    """Return the document as HTML: headings, paragraphs, lists, tables.

    Raises:
        Unreadable: The file is broken.
    """
    try:
        html: str = mammoth.convert_to_html(BytesIO(data)).value
    except Exception as error:
        # zipfile, ElementTree and mammoth itself all raise their own here.
        raise Unreadable("a broken Word file") from error
    return html
