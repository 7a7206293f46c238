"""What is used where nothing is passed: Settings.

One process-wide object, plus overrides that hold for a `with` block and its
tasks. Nothing here reaches for a network because a key happens to be set: a
model is used only after somebody assigned or passed it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from pathlib import Path
from threading import Thread
from typing import Any

from .base import LLM, Embedding
from .errors import InvalidOptionError
from .extractive import ExtractiveLLM

_NAMES = ("llm", "embed_model", "chunk_size", "chunk_overlap", "offline", "cache_dir")
_UNSET = object()
_overrides: ContextVar[dict[str, Any] | None] = ContextVar(
    "stepwell_rag_settings", default=None
)


class RagSettings:
    """Defaults for indexes, retrievers and query engines.

    There is one, `Settings`. In a server, pass ``llm=`` and ``embed_model=``
    to what you build instead of changing it per request.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Go back to the state after import."""
        self._values: dict[str, Any] = {
            "llm": None,
            "embed_model": None,
            "chunk_size": 512,
            "chunk_overlap": 64,
            "offline": False,
            "cache_dir": _UNSET,
        }
        self._extractive = ExtractiveLLM()

    @contextmanager
    def use(self, **changes: Any) -> Iterator[RagSettings]:
        """Change settings for a ``with`` block, and tasks started in it, only.

        Args:
            **changes: Any of ``llm``, ``embed_model``, ``chunk_size``,
                ``chunk_overlap``, ``offline``, ``cache_dir``.

        Raises:
            InvalidOptionError: A name that is no setting, or a wrong value.
        """
        for name, value in changes.items():
            _check(name, value)
        token = _overrides.set({**(_overrides.get() or {}), **changes})
        try:
            yield self
        finally:
            _overrides.reset(token)

    def preload(self, *models: Any) -> Future[None]:
        """Load models in the background now, so that no question has to wait for it.

        Args:
            *models: What has a ``load()``, such as a `SentenceTransformerRerank`;
                the models that are set are loaded as well.

        Returns:
            ``preload().result()`` waits, and raises what went wrong. Else the first
            use of the model raises it.
        """
        wanted = [*models, self._get("llm"), self._get("embed_model")]
        loads = [found.load for found in wanted if callable(getattr(found, "load", 0))]
        done: Future[None] = Future()

        def work() -> None:
            try:
                for load in loads:
                    load()
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        # A copy of the context, for settings that hold for a block.
        run = copy_context().run
        Thread(target=run, args=(work,), name="stepwell-preload", daemon=True).start()
        return done

    def _get(self, name: str) -> Any:
        changed = _overrides.get() or {}
        return changed[name] if name in changed else self._values[name]

    def _set(self, name: str, value: Any) -> None:
        _check(name, value)
        self._values[name] = value

    @property
    def llm(self) -> Any:
        """The language model; `ExtractiveLLM`, which quotes, while unset.

        Assign any object with ``complete`` or ``acomplete``; None unsets it.
        """
        model = self._get("llm")
        return self._extractive if model is None else model

    @llm.setter
    def llm(self, value: LLM | None) -> None:
        self._set("llm", value)

    @property
    def embed_model(self) -> Embedding | None:
        """The embedding model; None, and so search by words, while unset."""
        model: Embedding | None = self._get("embed_model")
        return model

    @embed_model.setter
    def embed_model(self, value: Embedding | None) -> None:
        self._set("embed_model", value)

    @property
    def chunk_size(self) -> int:
        """Most tokens in a chunk."""
        return int(self._get("chunk_size"))

    @chunk_size.setter
    def chunk_size(self, value: int) -> None:
        self._set("chunk_size", value)

    @property
    def chunk_overlap(self) -> int:
        """Tokens a chunk repeats from the one before."""
        return int(self._get("chunk_overlap"))

    @chunk_overlap.setter
    def chunk_overlap(self, value: int) -> None:
        self._set("chunk_overlap", value)

    @property
    def offline(self) -> bool:
        """Never look for local models on the Hugging Face hub."""
        return bool(self._get("offline"))

    @offline.setter
    def offline(self, value: bool) -> None:
        self._set("offline", value)

    @property
    def cache_dir(self) -> Path | None:
        """Where vectors are kept, so that nothing is embedded twice; None: nowhere.

        Texts are not kept, but vectors tell something of them. While unset it is
        ``STEPWELL_CACHE_DIR``, or else the folder ``stepwell`` in that where this
        system keeps caches.
        """
        folder = self._get("cache_dir")
        if folder is _UNSET:
            return _default_cache_dir()
        return None if folder is None else Path(folder).expanduser()

    @cache_dir.setter
    def cache_dir(self, value: str | os.PathLike[str] | None) -> None:
        self._set("cache_dir", value)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in _NAMES)
        return f"Settings({shown})"


def _default_cache_dir() -> Path | None:
    if chosen := os.environ.get("STEPWELL_CACHE_DIR"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        caches = Path("~/Library/Caches")
    elif sys.platform == "win32":
        caches = Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local")
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        return (caches / "stepwell").expanduser()
    except RuntimeError:  # a process without a home
        return None


def _check(name: str, value: Any) -> None:
    if name not in _NAMES:
        raise InvalidOptionError(
            f"There is no setting {name!r}; there are {', '.join(_NAMES)}."
        )
    methods: tuple[str, ...] = ()
    if name == "llm":
        methods = ("complete", "acomplete")
    elif name == "embed_model":
        methods = ("get_text_embedding_batch",)
    if methods and value is not None and not any(hasattr(value, m) for m in methods):
        raise InvalidOptionError(
            f"Settings.{name} needs an object with a method "
            f"{' or '.join(methods)}; {value!r} has none."
        )


Settings = RagSettings()
"""The one settings object of this process."""
