"""Chunks of a number of tokens, by semantic-text-splitter. Nothing else imports it.

The library bundles the vocabularies it counts with, so it works offline.
"""

from __future__ import annotations

from collections.abc import Callable

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from .errors import InvalidOptionError

_WINDOW = 100_000
# Its cost grows with the square of a long paragraph: 3 MB took 24 s whole, 1.1 s
# in windows of this many characters.


def chunker(
    size: int, overlap: int, model: str, markdown: bool
) -> Callable[[str], list[tuple[int, str]]]:
    """Return a function from a text to its ``(offset, chunk)`` pairs.

    Args:
        size: Most tokens in a chunk.
        overlap: Tokens repeated from the chunk before.
        model: Whose tokens to count, for instance ``"gpt-4o"``.
        markdown: Respect the structure of Markdown.

    Raises:
        InvalidOptionError: There is no vocabulary for that model.
    """
    kind = MarkdownSplitter if markdown else TextSplitter
    try:
        splitter = kind.from_tiktoken_model(model, size, overlap)
    except Exception as error:
        # The library raises a bare Exception for a name it does not know.
        raise InvalidOptionError(
            f"tokenizer={model!r}: {error}. It takes the name of an OpenAI model, "
            "for instance 'gpt-4o' or 'text-embedding-3-small'; its tokens are a fair "
            "measure for other models too."
        ) from error

    def chunks(text: str) -> list[tuple[int, str]]:
        return [
            (start + offset, chunk)
            for start, window in _windows(text)
            for offset, chunk in splitter.chunk_indices(window)
            if chunk.strip()
        ]

    return chunks


def _windows(text: str) -> list[tuple[int, str]]:
    """Cut a very long text at blank lines, newlines or spaces, where there are any."""
    windows = []
    start = 0
    while len(text) - start > _WINDOW:
        end = start + _WINDOW
        for mark in ("\n\n", "\n", " "):
            cut = text.rfind(mark, start + _WINDOW // 2, end)
            if cut != -1:
                end = cut + len(mark)
                break
        windows.append((start, text[start:end]))
        start = end
    windows.append((start, text[start:]))
    return windows
