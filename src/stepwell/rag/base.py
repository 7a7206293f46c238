"""Contracts: what a language model, an embedder, a reranker must offer.

They are protocols: any object with the methods will do, nothing is registered
or inherited. Messages and answers that cross those contracts live here too.
The parts that fulfil them live in files named after what they are
(`extractive.py`) or after the vendor (`openai.py`, `sentence_transformers.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, Field

from .documents import NodeWithScore, TextNode

Role = Literal["system", "developer", "user", "assistant", "tool"]


class Usage(BaseModel):
    """Tokens one call cost, as counted by the server."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class ToolSelection(BaseModel):
    """A tool that a model wants called, and with what."""

    tool_id: str = ""
    """Names the call; the answer to it bears the same."""
    tool_name: str = ""
    tool_kwargs: dict[str, Any] = Field(default_factory=dict)
    arguments: str = ""
    """The arguments as the model wrote them, which may be no valid JSON."""


class ChatMessage(BaseModel):
    """One message of a chat: who speaks, and what is said."""

    role: Role = "user"
    content: str = ""
    tool_calls: list[ToolSelection] = Field(default_factory=list)
    """Tools an assistant wants called."""
    tool_call_id: str | None = None
    """Which call this message, of a tool, answers."""

    def __str__(self) -> str:
        return f"{self.role}: {self.content}"


class CompletionResponse(BaseModel):
    """Answer to a prompt. ``str()`` of it is the text.

    While streaming, `text` is all that has come so far and `delta` the new part.
    """

    text: str = ""
    delta: str | None = None
    raw: Any = Field(default=None, repr=False, exclude=True)
    """What the vendor's client returned; it is not carried across processes."""
    usage: Usage | None = None
    additional_kwargs: dict[str, Any] = Field(default_factory=dict)
    is_extractive: bool = False
    """True when the text was quoted from documents, not written by a model."""

    def __str__(self) -> str:
        return self.text


class ChatResponse(BaseModel):
    """Answer to a list of messages. ``str()`` of it is the answer's text.

    While streaming, `message` is all that has come so far and `delta` the new part.
    """

    message: ChatMessage = Field(default_factory=lambda: ChatMessage(role="assistant"))
    delta: str | None = None
    raw: Any = Field(default=None, repr=False, exclude=True)
    usage: Usage | None = None
    is_extractive: bool = False

    def __str__(self) -> str:
        return self.message.content


@runtime_checkable
class LLM(Protocol):
    """What the query engine and the steps need of a language model.

    An object with only one of the two methods is accepted where that one
    suffices. The answer may be of any class: ``str()`` of it is what counts.
    """

    def complete(self, prompt: str, /) -> Any:
        """Answer `prompt`, blocking the caller."""
        ...

    async def acomplete(self, prompt: str, /) -> Any:
        """Answer `prompt` without blocking the event loop."""
        ...


@runtime_checkable
class Embedding(Protocol):
    """What an index needs of an embedding model.

    Where the object also has ``aget_text_embedding_batch`` or
    ``aget_query_embedding``, the asynchronous paths use those; else they call
    the blocking ones in a thread. A batch method that takes ``show_progress=``
    shows its own; for others an index that is to show progress counts, and
    calls them with ``embed_batch_size`` texts at a time, if there is such an
    attribute.
    """

    def get_text_embedding_batch(
        self, texts: list[str], /
    ) -> Sequence[Sequence[float]]:
        """Embed passages: ``(n_texts, dim)``, in the order given."""
        ...

    def get_query_embedding(self, query: str, /) -> Sequence[float]:
        """Embed one question: ``(dim,)``."""
        ...


@runtime_checkable
class NodePostprocessor(Protocol):
    """What stands between retrieval and answer: rerankers, filters."""

    def postprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: str | None = None,
        query_str: str | None = None,
    ) -> list[NodeWithScore]:
        """Return the nodes to keep, best first; the input is not changed."""
        ...


class VectorStore(Protocol):
    """Where an index keeps its vectors. Ids are those of the nodes.

    Methods may be called from any thread. A store in memory, such as the
    default, needs no more than this. What is compared is the direction of a
    vector: one of zeros is like nothing, with a cosine of 0.
    """

    @property
    def dim(self) -> int | None:
        """Dimensions, or None while the store is empty and does not know."""
        ...

    def __len__(self) -> int: ...

    def add(self, ids: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
        """Store ``(n, dim)`` vectors; an id that is there is replaced.

        Raises:
            IndexMismatchError: Not one vector an id, or of other dimensions than
                those that are there.
            InvalidVectorError: NaN or infinity among the numbers.
        """
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Forget the ids; unknown ones are ignored."""
        ...

    def query(
        self, vector: Sequence[float], k: int, *, allowed: set[str] | None = None
    ) -> list[tuple[str, float]]:
        """Return up to `k` ``(id, cosine)`` pairs, best first.

        Args:
            vector: What to compare with.
            k: How many at most.
            allowed: Ids to choose among; None allows all.
        """
        ...


@runtime_checkable
class NodeVectorStore(VectorStore, Protocol):
    """A vector store that outlives its process, and so keeps the nodes too.

    An index can be opened from it: `VectorStoreIndex.from_vector_store`. Texts
    are then read from it when they are found, and not held in memory.
    """

    def add_nodes(
        self,
        nodes: Sequence[TextNode],
        vectors: Sequence[Sequence[float]],
        *,
        model_name: str | None = None,
    ) -> None:
        """Store nodes with their vectors; one whose id is there is replaced.

        Args:
            nodes: What to keep.
            vectors: ``(n, dim)``.
            model_name: The model that made the vectors, to be told of later.
        """
        ...

    def get_nodes(self, node_ids: Sequence[str] | None = None) -> Iterator[TextNode]:
        """Return those of the nodes that are there, or all, in no order."""
        ...

    def get_model_name(self) -> str | None:
        """Return which model made the vectors, where that was told."""
        ...
