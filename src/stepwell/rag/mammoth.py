"""Word files (.docx), by mammoth. Nothing else imports it."""

from __future__ import annotations

from io import BytesIO
from zipfile import ZipFile

import mammoth  # type: ignore[import-untyped]  # ships no types

from .formats import Unreadable

_LARGEST = 200 * 1024 * 1024


def docx_to_html(data: bytes) -> str:
    """Return the document as HTML: headings, paragraphs, lists, tables.

    Raises:
        Unreadable: The file is broken.
    """
    try:
        with ZipFile(BytesIO(data)) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
        if unpacked > _LARGEST:
            # A few kilobytes can be told to unpack to gigabytes.
            raise Unreadable(f"unpacks to more than {_LARGEST // 2**20} MB")
        html: str = mammoth.convert_to_html(BytesIO(data)).value
    except Unreadable:
        raise
    except Exception as error:
        # zipfile, ElementTree and mammoth itself all raise their own here.
        raise Unreadable("a broken Word file") from error
    return html
