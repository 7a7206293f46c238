"""PDF files, by PDFium through pypdfium2. Nothing else imports it."""

from __future__ import annotations

import threading

import pypdfium2

from .formats import Unreadable

_lock = threading.Lock()
# PDFium keeps global state and is not safe to call from two threads.


def page_texts(data: bytes) -> list[str]:
    """Return the text of each page, in order.

    Raises:
        Unreadable: The PDF is broken or locked.
    """
    with _lock:
        try:
            with pypdfium2.PdfDocument(data) as document:
                return _texts(document)
        except pypdfium2.PdfiumError as error:
            locked = "password" in str(error).lower()
            raise Unreadable(
                "a PDF that needs a password" if locked else "a broken PDF"
            ) from error


def _texts(document: pypdfium2.PdfDocument) -> list[str]:
    """Return the texts of all pages; a page that is broken has none."""
    texts: list[str] = []
    trouble = None
    for index in range(len(document)):
        try:
            texts.append(_text(document[index]))
        except pypdfium2.PdfiumError as error:
            trouble = error
            texts.append("")
    if trouble is not None and not any(texts):
        raise trouble
    return texts


def _text(page: pypdfium2.PdfPage) -> str:
    text_page = page.get_textpage()
    try:
        found: str = text_page.get_text_bounded()
    finally:
        text_page.close()
        page.close()
    return found.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
