"""Loading and running local models, by sentence-transformers. Nothing else imports it.

Models are kept for the whole process: a step that makes its reranker anew each
time must not load it anew. The classes people use are in `local.py`.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers.utils import logging as transformers_logging

from .huggingface_hub import locate, unusable

_MOST_KEPT = 4
Key = tuple[str, str, str | None, int | None]
_kept: OrderedDict[Key, Any] = OrderedDict()
_loading: dict[Key, threading.Lock] = {}
_lock = threading.Lock()
# Guards the two above, and is never held while a model loads. Two threads do not
# load the same model; running a model from several threads needs no lock.

T = TypeVar("T")


def cross_encoder(
    model: str, device: str | None, offline: bool, max_length: int | None = None
) -> CrossEncoder:
    """Return the cross-encoder, loaded at most once per process."""
    found: CrossEncoder = _loaded(CrossEncoder, model, device, offline, max_length)
    return found


def embedder(
    model: str, device: str | None, offline: bool, max_length: int | None = None
) -> SentenceTransformer:
    """Return the embedding model, loaded at most once per process."""
    found: SentenceTransformer = _loaded(
        SentenceTransformer, model, device, offline, max_length
    )
    return found


def _loaded(
    kind: type[T], model: str, device: str | None, offline: bool, length: int | None
) -> T:
    key = (kind.__name__, model, device, length)
    found: T | None
    with _lock:
        found = _found(key)
        loading = _loading.setdefault(key, threading.Lock())
    if found is not None:
        return found
    with loading:
        with _lock:
            found = _found(key)
        if found is None:
            found = _load(kind, model, device, offline, length)
            with _lock:
                _kept[key] = found
                if len(_kept) > _MOST_KEPT:
                    _kept.popitem(last=False)
        return found


def _found(key: Key) -> Any:
    if key in _kept:
        _kept.move_to_end(key)
    return _kept.get(key)


def _load(
    kind: type[T], model: str, device: str | None, offline: bool, length: int | None
) -> T:
    name, local = locate(model, offline)
    try:
        with _in_silence():
            make: Any = kind
            found: Any = make(name, device=device, local_files_only=local)
    except Exception as error:
        # For missing and broken files and for devices that are not there, each of
        # the libraries below has errors of its own.
        raise unusable(model, error) from error
    if length is not None:
        # Cross-encoders of version 5 have the older name.
        name = "max_seq_length" if hasattr(found, "max_seq_length") else "max_length"
        setattr(found, name, length)
    loaded: T = found
    return loaded


@contextmanager
def _in_silence() -> Iterator[None]:
    """Keep bars and remarks about weights off the notebook; errors come through."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs
    loggers = [logging.getLogger(n) for n in ("sentence_transformers", "transformers")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def pair_scores(
    model: CrossEncoder,
    pairs: Sequence[tuple[str, str]],
    batch_size: int,
    advance: Callable[[int], None],
) -> list[float]:
    """Return the raw score of each ``(question, passage)``: ``(n_pairs,)``.

    Args:
        model: What scores.
        pairs: What to score.
        batch_size: How many at once.
        advance: Called after each batch with its size.
    """
    scores = [0.0] * len(pairs)
    for batch in _batches([passage for _, passage in pairs], batch_size):
        found = model.predict(
            [pairs[i] for i in batch], batch_size=batch_size, show_progress_bar=False
        )
        for i, score in zip(batch, found, strict=True):
            scores[i] = float(score)
        advance(len(batch))
    return scores


def embed_passages(
    model: SentenceTransformer,
    texts: Sequence[str],
    batch_size: int,
    advance: Callable[[int], None],
) -> list[list[float]]:
    """Return unit vectors ``(n_texts, dim)``; `advance` is called after each batch."""
    vectors: list[list[float]] = [[] for _ in texts]
    for batch in _batches(texts, batch_size):
        found = model.encode_document(
            [texts[i] for i in batch],
            batch_size=batch_size,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        for i, vector in zip(batch, found.tolist(), strict=True):
            vectors[i] = vector
        advance(len(batch))
    return vectors


def _batches(texts: Sequence[str], size: int) -> Iterator[list[int]]:
    """Yield places of texts that are about as long: short ones need no filling up."""
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def embed_question(
    model: SentenceTransformer, text: str, prompt: str | None = None
) -> list[float]:
    """Return a unit vector ``(dim,)``, made with a prompt or the model's own one."""
    vector: list[float] = model.encode_query(
        text, prompt=prompt, normalize_embeddings=True, show_progress_bar=False
    ).tolist()
    return vector
