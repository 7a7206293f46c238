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
from typing import Any

from .documents import NodeList, NodeWithScore
from .errors import InvalidOptionError, MissingExtraError
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
        local_files_only: Never download; `Settings.offline` if not given.
    """

    def __init__(
        self,
        model: str = "cross-encoder/ms-marco-MiniLM-L-2-v2",
        top_n: int = 2,
        *,
        device: str | None = None,
        batch_size: int = 16,
        local_files_only: bool | None = None,
    ) -> None:
        if top_n < 1:
            raise InvalidOptionError(f"top_n={top_n} must be 1 or more.")
        self.model = str(model)
        self.top_n = top_n
        self.device = device
        self.batch_size = batch_size
        self.local_files_only = local_files_only

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
        scores = library.pair_scores(model, pairs, self.batch_size)
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
        return library, library.cross_encoder(self.model, self.device, offline)


class HuggingFaceEmbedding:
    """Embed texts with a sentence-transformers model on this machine.

    Loaded as `SentenceTransformerRerank` is: at the first use, once per process.

    Args:
        model_name: Name on the Hugging Face hub, or a folder.
        device: ``"cpu"``, ``"cuda"`` …; chosen by torch if not given.
        embed_batch_size: Texts embedded at once.
        local_files_only: Never download; `Settings.offline` if not given.
    """

    def __init__(
        self,
        model_name: str = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        device: str | None = None,
        embed_batch_size: int = 32,
        local_files_only: bool | None = None,
    ) -> None:
        self.model_name = str(model_name)
        self.device = device
        self.embed_batch_size = embed_batch_size
        self.local_files_only = local_files_only

    def __repr__(self) -> str:
        return f"HuggingFaceEmbedding(model_name={self.model_name!r})"

    def get_text_embedding_batch(self, texts: list[str]) -> list[list[float]]:
        """Embed passages: unit vectors ``(n_texts, dim)``, in order. Blocks.

        Raises:
            ModelUnavailableError: The model is neither here nor to be had.
            MissingExtraError: sentence-transformers is not installed.
        """
        if not texts:
            return []
        library, model = self._loaded()
        vectors: list[list[float]] = library.embed_passages(
            model, texts, self.embed_batch_size
        )
        return vectors

    def get_text_embedding(self, text: str) -> list[float]:
        """Embed one passage: ``(dim,)``. Blocks."""
        return self.get_text_embedding_batch([text])[0]

    def get_query_embedding(self, query: str) -> list[float]:
        """Embed a question, with the model's own prompt for questions: ``(dim,)``."""
        library, model = self._loaded()
        vector: list[float] = library.embed_question(model, query)
        return vector

    async def aget_text_embedding_batch(self, texts: list[str]) -> list[list[float]]:
        """Do as `get_text_embedding_batch`, in a thread."""
        return await asyncio.to_thread(self.get_text_embedding_batch, texts)

    async def aget_text_embedding(self, text: str) -> list[float]:
        """Do as `get_text_embedding`, in a thread."""
        return await asyncio.to_thread(self.get_text_embedding, text)

    async def aget_query_embedding(self, query: str) -> list[float]:
        """Do as `get_query_embedding`, in a thread."""
        return await asyncio.to_thread(self.get_query_embedding, query)

    def _loaded(self) -> tuple[Any, Any]:
        offline = _stay_offline(self.local_files_only)
        library = _library("HuggingFaceEmbedding", self.model_name, offline)
        return library, library.embedder(self.model_name, self.device, offline)


def _stay_offline(local_files_only: bool | None) -> bool:
    return Settings.offline if local_files_only is None else local_files_only
