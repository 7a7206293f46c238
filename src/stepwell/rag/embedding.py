"""Passages into vectors, by whichever embedding model, with progress.

The models are in files of their own; what is kept of their work is in
`embedding_cache.py`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .progress import Progress


def embed_texts(
    model: Any, texts: list[str], show_progress: bool = False
) -> Sequence[Sequence[float]]:
    """Embed passages, showing progress by the model's own means or by counting.

    Returns:
        Vectors ``(n_texts, dim)``, in order.
    """
    embed = model.get_text_embedding_batch
    vectors: Sequence[Sequence[float]]
    if not show_progress:
        vectors = embed(texts)
        return vectors
    if _shows_progress(embed):
        vectors = embed(texts, show_progress=True)
        return vectors
    counted: list[Sequence[float]] = []
    with Progress("chunks embedded", len(texts)) as progress:
        for batch in _batches(model, texts):
            counted.extend(embed(batch))
            progress.advance(len(batch))
    return counted


async def aembed_texts(
    model: Any, texts: list[str], show_progress: bool = False
) -> Sequence[Sequence[float]]:
    """Do as `embed_texts` without blocking the loop, whichever way `model` offers."""
    embed = getattr(model, "aget_text_embedding_batch", None)
    vectors: Sequence[Sequence[float]]
    if embed is None:
        return await asyncio.to_thread(embed_texts, model, texts, show_progress)
    if not show_progress:
        vectors = await embed(texts)
        return vectors
    if _shows_progress(embed):
        vectors = await embed(texts, show_progress=True)
        return vectors
    counted: list[Sequence[float]] = []
    with Progress("chunks embedded", len(texts)) as progress:
        for batch in _batches(model, texts):
            counted.extend(await embed(batch))
            progress.advance(len(batch))
    return counted


def _shows_progress(embed: Callable[..., Any]) -> bool:
    # Asked only of a model that is to show progress: any other object with the
    # methods of `Embedding` goes on working without the argument.
    return "show_progress" in inspect.signature(embed).parameters


def _batches(model: Any, texts: list[str]) -> Iterator[list[str]]:
    # Only a model knows how many texts it takes well; one that does not say gets all.
    size = getattr(model, "embed_batch_size", None) or len(texts)
    for start in range(0, len(texts), size):
        yield texts[start : start + size]
