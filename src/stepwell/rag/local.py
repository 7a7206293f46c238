"""Models that run on this machine: SentenceTransformerRerank, HuggingFaceEmbedding.

Making one costs nothing: torch takes seconds to import, so the libraries, met in
`sentence_transformers.py` and `huggingface_hub.py`, wait for the first use.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .documents import NodeList, NodeWithScore
from .errors import InvalidOptionError, MissingExtraError
from .progress import Progress
from .rerank import question_of, reordered
from .settings import Settings


def _library(wanted_by: str, model: str, offline: bool) -> Any:
    """Import what runs the models, once it is sure that there is one to run.

    Asking for the model first makes a missing one show at once, before torch has
    been imported.
    """
    try:
        # Not imported yet: a missing library is said before a missing model.
        if find_spec("sentence_transformers") is None:
            raise ModuleNotFoundError(name="sentence_transformers")
        if "sentence_transformers" not in sys.modules:
            import_module(".huggingface_hub", __package__).locate(model, offline)
        return import_module(".sentence_transformers", __package__)
    except ModuleNotFoundError as error:
        if error.name not in {"sentence_transformers", "huggingface_hub"}:
            raise
        raise MissingExtraError.for_package(
            "sentence-transformers", "local", wanted_by
        ) from error


class SentenceTransformerRerank:
    """Reorder nodes with a cross-encoder, which reads question and passage together.

    The model is loaded at the first use, once per process, from a folder or the
    Hugging Face cache, else downloaded. Making the object costs nothing, so it
    may stand inside a step.

    Args:
        model: Name on the Hugging Face hub, or a folder.
        top_n: Nodes to keep.
        device: ``"cpu"``, ``"cuda"`` …; chosen by torch if not given.
        batch_size: Pairs scored at once.
        max_length: Tokens of question and passage that are read; the model's own
            most if not given.
        local_files_only: Never download; `Settings.offline` if not given.
        show_progress: Tell how many passages are reranked. A step of a run tells it
            without being asked, where it takes a while.
    """

    def __init__(
        self,
        model: str = "cross-encoder/ms-marco-MiniLM-L-2-v2",
        top_n: int = 2,
        *,
        device: str | None = None,
        batch_size: int = 16,
        max_length: int | None = None,
        local_files_only: bool | None = None,
        show_progress: bool = False,
    ) -> None:
        _check_at_least_one(top_n=top_n, batch_size=batch_size, max_length=max_length)
        self.model = str(model)
        self.top_n = top_n
        self.device = device
        self.batch_size = batch_size
        self.max_length = max_length
        self.local_files_only = local_files_only
        self.show_progress = show_progress

    def __repr__(self) -> str:
        return f"SentenceTransformerRerank(model={self.model!r}, top_n={self.top_n})"

    def load(self) -> None:
        """Load the model now. Blocks: seconds at first, nothing afterwards.

        Raises:
            ModelUnavailableError: It is neither here nor to be had.
            MissingExtraError: sentence-transformers is not installed.
        """
        self._loaded()

    async def aload(self) -> None:
        """Do as `load`, in a thread."""
        await asyncio.to_thread(self.load)

    def postprocess_nodes(
        self,
        nodes: Sequence[NodeWithScore],
        query_bundle: str | None = None,
        query_str: str | None = None,
    ) -> NodeList:
        """Return the `top_n` best nodes, best first; the input is not changed.

        Blocks the caller, about 0.2 s for 15 passages on two cores; within a
        running event loop `apostprocess_nodes` is kinder.

        Args:
            nodes: What a retriever found.
            query_bundle: The question; an object with ``query_str`` will do.
            query_str: The question.

        Returns:
            Nodes whose `score` is what the model gives: a logit for the ms-marco
            models, 0..1 for those that end in a sigmoid.

        Raises:
            InvalidOptionError: No question was passed.
            ModelUnavailableError: The model is neither here nor to be had.
            MissingExtraError: sentence-transformers is not installed.
        """
        query = question_of(query_bundle, query_str)
        library, model = self._loaded()
        if not nodes:
            return NodeList(query=query)
        pairs = [(query, node.text) for node in nodes]
        shown = self.show_progress
        with Progress("passages reranked", len(pairs), shown=shown) as progress:
            scores = library.pair_scores(
                model, pairs, self.batch_size, progress.advance
            )
        return reordered(nodes, scores, self.top_n, query)

    async def apostprocess_nodes(
        self,
        nodes: Sequence[NodeWithScore],
        query_bundle: str | None = None,
        query_str: str | None = None,
    ) -> NodeList:
        """Do as `postprocess_nodes`, in a thread, so that the event loop stays free."""
        return await asyncio.to_thread(
            self.postprocess_nodes, nodes, query_bundle, query_str
        )

    def _loaded(self) -> tuple[Any, Any]:
        offline = _stay_offline(self.local_files_only)
        library = _library("SentenceTransformerRerank", self.model, offline)
        return library, library.cross_encoder(
            self.model, self.device, offline, self.max_length
        )


class HuggingFaceEmbedding:
    """Embed texts with a sentence-transformers model on this machine.

    Loaded as `SentenceTransformerRerank` is: at the first use, once per process.

    Args:
        model_name: Name on the Hugging Face hub, or a folder.
        device: ``"cpu"``, ``"cuda"`` …; chosen by torch if not given.
        embed_batch_size: Texts embedded at once.
        max_length: Tokens of a text that are read, the rest counts for nothing; the
            model's own most if not given.
        query_prompt: What is put before questions; the model's own if not given.
        local_files_only: Never download; `Settings.offline` if not given.
    """

    def __init__(
        self,
        model_name: str = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        device: str | None = None,
        embed_batch_size: int = 32,
        max_length: int | None = None,
        query_prompt: str | None = None,
        local_files_only: bool | None = None,
    ) -> None:
        _check_at_least_one(embed_batch_size=embed_batch_size, max_length=max_length)
        self.model_name = str(model_name)
        self.device = device
        self.embed_batch_size = embed_batch_size
        self.max_length = max_length
        self.query_prompt = query_prompt
        self.local_files_only = local_files_only

    def __repr__(self) -> str:
        return f"HuggingFaceEmbedding(model_name={self.model_name!r})"

    @property
    def cache_key(self) -> str:
        """What the vectors depend on; see `CachedEmbedding`.

        Of a model in a folder its files count too: it may be trained further.
        """
        facts: list[Any] = [self.model_name, self.max_length, self.query_prompt]
        if (folder := Path(self.model_name)).is_dir():
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                found = file.stat()
                facts += [file.name, found.st_size, found.st_mtime_ns]
        return f"sentence-transformers {facts}"

    def load(self) -> None:
        """Load the model now. Blocks: seconds at first, nothing afterwards.

        Raises:
            ModelUnavailableError: It is neither here nor to be had.
            MissingExtraError: sentence-transformers is not installed.
        """
        self._loaded()

    async def aload(self) -> None:
        """Do as `load`, in a thread."""
        await asyncio.to_thread(self.load)

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False
    ) -> list[list[float]]:
        """Embed passages: unit vectors ``(n_texts, dim)``, in order. Blocks.

        Args:
            texts: What to embed.
            show_progress: Tell how many are embedded. A step of a run tells it
                without being asked, where it takes a while.

        Raises:
            ModelUnavailableError: The model is neither here nor to be had.
            MissingExtraError: sentence-transformers is not installed.
        """
        if not texts:
            return []
        library, model = self._loaded()
        shown = show_progress
        with Progress("chunks embedded", len(texts), shown=shown) as progress:
            vectors: list[list[float]] = library.embed_passages(
                model, texts, self.embed_batch_size, progress.advance
            )
        return vectors

    def get_text_embedding(self, text: str) -> list[float]:
        """Embed one passage: ``(dim,)``. Blocks."""
        return self.get_text_embedding_batch([text])[0]

    def get_query_embedding(self, query: str) -> list[float]:
        """Embed a question, with the model's own prompt for questions: ``(dim,)``."""
        library, model = self._loaded()
        vector: list[float] = library.embed_question(model, query, self.query_prompt)
        return vector

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False
    ) -> list[list[float]]:
        """Do as `get_text_embedding_batch`, in a thread."""
        return await asyncio.to_thread(
            self.get_text_embedding_batch, texts, show_progress
        )

    async def aget_text_embedding(self, text: str) -> list[float]:
        """Do as `get_text_embedding`, in a thread."""
        return await asyncio.to_thread(self.get_text_embedding, text)

    async def aget_query_embedding(self, query: str) -> list[float]:
        """Do as `get_query_embedding`, in a thread."""
        return await asyncio.to_thread(self.get_query_embedding, query)

    def _loaded(self) -> tuple[Any, Any]:
        offline = _stay_offline(self.local_files_only)
        library = _library("HuggingFaceEmbedding", self.model_name, offline)
        return library, library.embedder(
            self.model_name, self.device, offline, self.max_length
        )


def _check_at_least_one(**options: int | None) -> None:
    for name, value in options.items():
        if value is not None and value < 1:
            raise InvalidOptionError(f"{name}={value} must be 1 or more.")


def _stay_offline(local_files_only: bool | None) -> bool:
    return Settings.offline if local_files_only is None else local_files_only
