"""Vectors kept on disk, so that embedding a text again costs nothing.

`EmbeddingCache` is the file, `CachedEmbedding` an embedding model that looks there
first. Which models an index caches unasked is decided at the end of this file;
where, by `Settings.cache_dir`. Texts are not kept, only hashes of them.
"""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import sys
import threading
import warnings
from array import array
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Any

from .base import Embedding
from .errors import IndexMismatchError, InvalidOptionError, RagWarning
from .progress import Progress
from .settings import Settings

FILE_NAME = "embeddings.sqlite"

_BATCH = 256
# Texts at a time for a model that does not say how many it takes well.
_ASKED = 500
# Keys in one question to SQLite, which allows 999 in its oldest versions.
_PATIENCE = 30.0
# Seconds to wait for another process that writes.


class EmbeddingCache:
    """Vectors by hash, in one SQLite file.

    Any number of threads and processes may use the file at once. A file that
    cannot be used is told of once, by a `RagWarning`, and then done without.

    Args:
        path: The file; made, with its folder, when first written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser()
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._process = 0
        self._broken = False

    def __repr__(self) -> str:
        return f"EmbeddingCache({str(self.path)!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._start()

    def __del__(self) -> None:
        self.close()

    def __len__(self) -> int:
        """How many vectors there are."""
        found = self._ask("select count(*) from vector")
        return int(found[0][0]) if found else 0

    def get(self, keys: Sequence[bytes]) -> dict[bytes, array[float]]:
        """Return the vectors that are there, by key."""
        found: dict[bytes, array[float]] = {}
        for start in range(0, len(keys), _ASKED):
            some = keys[start : start + _ASKED]
            places = ",".join("?" * len(some))
            query = f"select key, numbers from vector where key in ({places})"
            for key, numbers in self._ask(query, some):
                if len(numbers) and len(numbers) % 4 == 0:
                    found[key] = _unpacked(numbers)
        return found

    def put(self, vectors: Mapping[bytes, array[float]]) -> None:
        """Keep vectors; a key that is there is replaced."""
        rows = [(key, _packed(vector)) for key, vector in vectors.items()]
        with self._lock:
            try:
                if (db := self._opened()) is not None:
                    with db:
                        db.executemany("replace into vector values (?, ?)", rows)
            except sqlite3.Error as error:
                self._give_up(error)

    def clear(self) -> None:
        """Forget all vectors, and give their room on disk back."""
        with self._lock:
            try:
                if (db := self._opened()) is not None:
                    with db:
                        db.execute("delete from vector")
                    db.execute("vacuum")
            except sqlite3.Error as error:
                self._give_up(error)

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        db, self._db = getattr(self, "_db", None), None
        if db is not None and self._process == os.getpid():
            db.close()

    def _ask(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            try:
                if (db := self._opened()) is not None:
                    return db.execute(query, values).fetchall()
            except sqlite3.Error as error:
                self._give_up(error)
        return []

    def _opened(self) -> sqlite3.Connection | None:
        if self._broken:
            return None
        # A connection must not be carried into a forked process.
        if self._db is None or self._process != os.getpid():
            try:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise sqlite3.OperationalError(str(error)) from error
            # A connection is bound to its thread by default; the lock replaces that.
            db = sqlite3.connect(self.path, _PATIENCE, check_same_thread=False)
            try:
                db.execute("pragma journal_mode = wal")
                db.execute("pragma synchronous = normal")
                db.execute(
                    "create table if not exists vector"
                    " (key blob primary key, numbers blob not null)"
                )
            except sqlite3.Error:
                db.close()
                raise
            self._db, self._process = db, os.getpid()
        return self._db

    def _give_up(self, error: sqlite3.Error) -> None:
        self._broken = True
        self.close()
        warnings.warn(
            f"The embedding cache {self.path} cannot be used ({error}), so texts are "
            "embedded without it. Delete the file, or set Settings.cache_dir to a "
            "folder that can be written, or to None.",
            RagWarning,
            stacklevel=4,
        )


class CachedEmbedding:
    """An embedding model that looks up what it has embedded before.

    Each batch is kept as soon as it is there: after an error, the next try goes on
    with the texts that are left. Questions are kept too.

    Args:
        embed_model: The model. Where it has an attribute ``cache_key``, a text that
            changes whenever its vectors would, that is what is told apart by; else
            its class, ``model_name`` and ``dimensions``.
        cache: A file or an `EmbeddingCache`; one in `Settings.cache_dir` if not
            given.

    Raises:
        InvalidOptionError: The model has neither name nor key, or there is no
            `Settings.cache_dir`.

    Attributes:
        hits: Texts that were found in the cache.
        misses: Texts that had to be embedded.
    """

    def __init__(
        self,
        embed_model: Embedding,
        cache: str | os.PathLike[str] | EmbeddingCache | None = None,
    ) -> None:
        self.embed_model = embed_model
        self.cache = _opened(cache)
        self.hits = 0
        self.misses = 0
        _identity(embed_model)

    def __repr__(self) -> str:
        return f"CachedEmbedding({self.embed_model!r}, {str(self.cache.path)!r})"

    @property
    def model_name(self) -> str:
        """The model's name."""
        model = self.embed_model
        return str(getattr(model, "model_name", None) or type(model).__qualname__)

    @property
    def dimensions(self) -> int | None:
        """Dimensions of the vectors, where the model says so."""
        dimensions: int | None = getattr(self.embed_model, "dimensions", None)
        return dimensions

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False
    ) -> Sequence[Sequence[float]]:
        """Embed passages: ``(n_texts, dim)``, in the order given. Blocks.

        Args:
            texts: The passages.
            show_progress: Tell how many are embedded, or were already.
        """
        work = _Work(self, texts)
        with Progress(work.what, len(texts), shown=show_progress) as progress:
            if known := work.look_up():
                progress.advance(known)
            batches = work.batches()

            def embed(batch: list[bytes]) -> None:
                vectors = self.embed_model.get_text_embedding_batch(work.of(batch))
                progress.advance(work.keep(batch, vectors))

            if len(batches) <= 1 or work.workers == 1:
                for batch in batches:
                    embed(batch)
            else:
                with ThreadPoolExecutor(min(work.workers, len(batches))) as pool:
                    futures = [pool.submit(embed, batch) for batch in batches]
                    try:
                        for future in futures:
                            future.result()
                    finally:
                        # Those on their way end and are kept; no other begins.
                        pool.shutdown(wait=True, cancel_futures=True)
        return work.vectors()

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False
    ) -> Sequence[Sequence[float]]:
        """Do as `get_text_embedding_batch`, leaving the event loop free."""
        get = getattr(self.embed_model, "aget_text_embedding_batch", None)
        if get is None:
            return await asyncio.to_thread(
                self.get_text_embedding_batch, texts, show_progress
            )
        work = _Work(self, texts)
        with Progress(work.what, len(texts), shown=show_progress) as progress:
            if known := await asyncio.to_thread(work.look_up):
                progress.advance(known)
            waiting = list(reversed(work.batches()))

            async def embed() -> None:
                while waiting:
                    batch = waiting.pop()
                    try:
                        vectors = await get(work.of(batch))
                    except BaseException:
                        waiting.clear()
                        raise
                    done = await asyncio.to_thread(work.keep, batch, vectors)
                    progress.advance(done)

            workers = range(min(work.workers, len(waiting)))
            # Those on their way when one fails end and are kept; no other begins.
            ended = await asyncio.gather(
                *(embed() for _ in workers), return_exceptions=True
            )
            for one in ended:
                if isinstance(one, BaseException):
                    raise one
        return work.vectors()

    def get_text_embedding(self, text: str) -> Sequence[float]:
        """Embed one passage: ``(dim,)``. Blocks."""
        return self.get_text_embedding_batch([text])[0]

    async def aget_text_embedding(self, text: str) -> Sequence[float]:
        """Do as `get_text_embedding`, leaving the event loop free."""
        return (await self.aget_text_embedding_batch([text]))[0]

    def get_query_embedding(self, query: str) -> Sequence[float]:
        """Embed one question: ``(dim,)``. Blocks."""
        [key] = _keys("question", self.embed_model, [query])
        if (vector := self._known(key)) is None:
            found = self.embed_model.get_query_embedding(query)
            vector = self._new(key, found)
        return vector

    async def aget_query_embedding(self, query: str) -> Sequence[float]:
        """Do as `get_query_embedding`, leaving the event loop free."""
        get = getattr(self.embed_model, "aget_query_embedding", None)
        if get is None:
            return await asyncio.to_thread(self.get_query_embedding, query)
        [key] = _keys("question", self.embed_model, [query])
        vector = await asyncio.to_thread(self._known, key)
        if vector is None:
            found = await get(query)
            vector = await asyncio.to_thread(self._new, key, found)
        return vector

    def _known(self, key: bytes) -> array[float] | None:
        vector = self.cache.get([key]).get(key)
        self.hits += vector is not None
        return vector

    def _new(self, key: bytes, found: Sequence[float]) -> array[float]:
        self.misses += 1
        vector = array("f", found)
        if _is_sound([vector]):
            self.cache.put({key: vector})
        return vector


class _Work:
    """The texts of one call: which are known, and which remain, in what batches."""

    what = "chunks embedded"

    def __init__(self, cached: CachedEmbedding, texts: Sequence[str]) -> None:
        self._cached = cached
        self._keys = _keys("passage", cached.embed_model, texts)
        self._texts = dict(zip(self._keys, texts, strict=True))
        self._found: dict[bytes, array[float]] = {}
        # How often each text came, so that progress counts texts.
        self._times: dict[bytes, int] = {}
        for key in self._keys:
            self._times[key] = self._times.get(key, 0) + 1
        self.workers = max(1, int(getattr(cached.embed_model, "num_workers", 1)))

    def look_up(self) -> int:
        """Find what is known, and return for how many texts that is."""
        found = self._cached.cache.get(list(self._texts))
        # Vectors of several lengths: the model changed under its name. Begin anew.
        if len({len(vector) for vector in found.values()}) <= 1:
            self._found = found
        hits = sum(self._times[key] for key in self._found)
        self._cached.hits += hits
        self._cached.misses += len(self._keys) - hits
        return hits

    def batches(self) -> list[list[bytes]]:
        """Return what remains, texts of like length together: less is padded so."""
        model = self._cached.embed_model
        size = int(getattr(model, "embed_batch_size", None) or _BATCH)
        left = [key for key in self._texts if key not in self._found]
        left.sort(key=lambda key: len(self._texts[key]), reverse=True)
        return [left[start : start + size] for start in range(0, len(left), size)]

    def of(self, batch: Iterable[bytes]) -> list[str]:
        """Return the texts of a batch."""
        return [self._texts[key] for key in batch]

    def keep(self, batch: Sequence[bytes], vectors: Sequence[Sequence[float]]) -> int:
        """Take the vectors of a batch, and return for how many texts they are."""
        if len(vectors) != len(batch):
            raise IndexMismatchError(
                f"The embedding model returned {len(vectors)} vectors for "
                f"{len(batch)} texts.",
                expected=len(batch),
                got=len(vectors),
            )
        # Numbers of four bytes, not objects of twenty-four: there may be many.
        new = {
            key: array("f", vector) for key, vector in zip(batch, vectors, strict=True)
        }
        self._found.update(new)
        if _is_sound(list(new.values())):
            self._cached.cache.put(new)
        return sum(self._times[key] for key in batch)

    def vectors(self) -> list[array[float]]:
        """Return all vectors, in the order of the texts."""
        return [self._found[key] for key in self._keys]


Cache = bool | str | os.PathLike[str] | EmbeddingCache | None
"""What may be passed as ``cache=``."""


def cached(model: Embedding | None, cache: Cache) -> Embedding | None:
    """Return `model`, or one that looks into a cache first.

    Args:
        model: An embedding model, or None.
        cache: A file or an `EmbeddingCache`; True for that of
            `Settings.cache_dir`, and False for none. None leaves it to the model:
            one that says by ``cache_key`` what its vectors depend on is cached,
            where `Settings.cache_dir` is set. A class that people are still
            writing has no such attribute, and its vectors would go stale.
    """
    if model is None or cache is False or isinstance(model, CachedEmbedding):
        return model
    if cache is None:
        if Settings.cache_dir is None or not getattr(model, "cache_key", None):
            return model
        return CachedEmbedding(model)
    return CachedEmbedding(model, None if cache is True else cache)


def _opened(cache: str | os.PathLike[str] | EmbeddingCache | None) -> EmbeddingCache:
    if isinstance(cache, EmbeddingCache):
        return cache
    if cache is None:
        if (folder := Settings.cache_dir) is None:
            raise InvalidOptionError(
                "There is no place for a cache: Settings.cache_dir is None. Set it to "
                "a folder, or pass cache=, a file."
            )
        return EmbeddingCache(folder / FILE_NAME)
    path = Path(cache).expanduser()
    return EmbeddingCache(path / FILE_NAME if path.is_dir() else path)


def _identity(model: Any) -> str:
    if key := getattr(model, "cache_key", None):
        return str(key)
    name = getattr(model, "model_name", None)
    if not name:
        raise InvalidOptionError(
            f"{type(model).__qualname__} cannot be cached, since nothing tells its "
            "vectors from those of another model. Give it an attribute cache_key: a "
            "text that changes whenever its vectors would."
        )
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    return f"{kind} {name} {getattr(model, 'dimensions', None)}"


def _keys(kind: str, model: Any, texts: Sequence[str]) -> list[bytes]:
    start = blake2b(f"{kind}\0{_identity(model)}\0".encode(), digest_size=16)
    keys = []
    for text in texts:
        one = start.copy()
        # Halves of surrogate pairs, as broken files have them, must not matter.
        one.update(text.encode("utf-8", "surrogatepass"))
        keys.append(one.digest())
    return keys


def _is_sound(vectors: Sequence[array[float]]) -> bool:
    """Tell whether vectors may be kept: numbers all, and as many in each."""
    lengths = {len(vector) for vector in vectors}
    return (
        len(lengths) == 1
        and lengths != {0}
        and all(math.isfinite(sum(vector)) for vector in vectors)
    )


def _packed(vector: array[float]) -> bytes:
    if sys.byteorder == "big":
        vector = vector[:]
        vector.byteswap()
    return vector.tobytes()


def _unpacked(numbers: bytes) -> array[float]:
    vector = array("f", numbers)
    if sys.byteorder == "big":
        vector.byteswap()
    return vector
