"""Loading and running local models, by sentence-transformers. Nothing else imports it.

Models are kept for the whole process: a step that makes its reranker anew each
time must not load it anew. The classes people use are in `local.py`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, TypeVar

from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers.utils import logging as transformers_logging

from .huggingface_hub import locate, unusable

_MOST_KEPT = 4
_kept: OrderedDict[tuple[str, str, str | None], Any] = OrderedDict()
_lock = threading.Lock()
# Held while loading, so that two threads do not load the same model; running a
# model from several threads needs no lock.

T = TypeVar("T")


def cross_encoder(model: str, device: str | None, offline: bool) -> CrossEncoder:
    """Return the cross-encoder, loaded at most once per process."""
    found: CrossEncoder = _loaded(CrossEncoder, model, device, offline)
    return found


def embedder(model: str, device: str | None, offline: bool) -> SentenceTransformer:
    """Return the embedding model, loaded at most once per process."""
    found: SentenceTransformer = _loaded(SentenceTransformer, model, device, offline)
    return found


def _loaded(kind: type[T], model: str, device: str | None, offline: bool) -> T:
    key = (kind.__name__, model, device)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            found: T = _kept[key]
            return found
        name, local = locate(model, offline)
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs
        try:
            make: Any = kind
            found = make(name, device=device, local_files_only=local)
        except (OSError, ValueError) as error:
            # What the library raises for missing or broken files.
            raise unusable(model, error) from error
        _kept[key] = found
        if len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
        return found


def pair_scores(
    model: CrossEncoder, pairs: Sequence[tuple[str, str]], batch_size: int
) -> list[float]:
    """Return the raw score of each ``(question, passage)``: ``(n_pairs,)``."""
    scores = model.predict(list(pairs), batch_size=batch_size, show_progress_bar=False)
    return [float(score) for score in scores]


def embed_passages(
    model: SentenceTransformer, texts: Sequence[str], batch_size: int
) -> list[list[float]]:
    """Return unit vectors ``(n_texts, dim)``."""
    vectors: list[list[float]] = model.encode_document(
        list(texts),
        batch_size=batch_size,
        normalize_embeddings=True,
        show_progress_bar=False,
    ).tolist()
    return vectors


def embed_question(model: SentenceTransformer, text: str) -> list[float]:
    """Return a unit vector ``(dim,)``, made with the model's prompt for questions."""
    vector: list[float] = model.encode_query(
        text, normalize_embeddings=True, show_progress_bar=False
    ).tolist()
    return vector
