"""Answers and what they rest on: Response, and the streamed ones.

Who makes them is in `answer.py`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from types import TracebackType
from typing import Any

from pydantic import BaseModel, Field

from .base import Usage
from .display import render_response
from .documents import NodeWithScore

_CITATION = re.compile(r"\[(\d+(?:\s*[,;–-]\s*\d+)*)\]")


class Response(BaseModel):
    """An answer and what it rests on. ``str()`` of it is the answer.

    In a notebook it shows the answer with its sources; cited ones are marked.
    """

    response: str = ""
    query: str = ""
    source_nodes: list[NodeWithScore] = Field(default_factory=list)
    """The passages the answer was made from, best first; passage 1 is ``[0]``."""
    citations: list[int] = Field(default_factory=list)
    """Numbers of the passages the answer cites, from 1, ascending."""
    is_extractive: bool = False
    """True when the answer quotes the documents and no model wrote it."""
    usage: Usage | None = None
    """Tokens, where the model's server counted them."""
    prompt: str = Field(default="", repr=False)
    """What was sent to the model; empty when nothing was."""

    def __str__(self) -> str:
        return self.response

    @property
    def cited_nodes(self) -> list[NodeWithScore]:
        """The source nodes that the answer cites by number."""
        return [self.source_nodes[number - 1] for number in self.citations]

    def _repr_html_(self) -> str:
        note = ""
        if self.usage is not None:
            note = (
                f"{self.usage.prompt_tokens:,} tokens in, "
                f"{self.usage.completion_tokens:,} out"
            )
        text = self.response
        if self.is_extractive and self.citations:
            # Its last paragraph lists the sources, which are shown below anyway.
            text = text.rpartition("\n\n")[0]
        return render_response(
            text,
            self.source_nodes,
            cited=frozenset(self.citations),
            note=note,
            query=self.query,
        )


class _Streamed:
    """An answer that is still being written, folded from its pieces."""

    def __init__(self, begun: Response) -> None:
        self._answer = begun
        self.is_whole = False
        """True once everything has come."""

    def _take(self, piece: Any) -> str:
        """Add a piece of any model; returns the new text."""
        before = self._answer.response
        delta = piece if isinstance(piece, str) else getattr(piece, "delta", None)
        # A whole answer is a stream of one piece.
        delta = str(piece) if delta is None else str(delta)
        usage = getattr(piece, "usage", None)
        text = before + delta
        changes: dict[str, Any] = {
            "response": text,
            "citations": cited_numbers(text, len(self._answer.source_nodes)),
        }
        if usage is not None:
            changes["usage"] = Usage.model_validate(usage, from_attributes=True)
        self._answer = self._answer.model_copy(update=changes)
        return delta

    @property
    def response(self) -> str:
        """What has come so far."""
        return self._answer.response

    @property
    def query(self) -> str:
        """The question."""
        return self._answer.query

    @property
    def source_nodes(self) -> list[NodeWithScore]:
        """The passages the answer is made from; there from the beginning."""
        return self._answer.source_nodes

    @property
    def citations(self) -> list[int]:
        """Numbers of the passages that are cited so far."""
        return self._answer.citations

    @property
    def cited_nodes(self) -> list[NodeWithScore]:
        """The passages that are cited so far."""
        return self._answer.cited_nodes

    @property
    def is_extractive(self) -> bool:
        """True when the answer quotes the documents and no model writes it."""
        return self._answer.is_extractive

    @property
    def usage(self) -> Usage | None:
        """Tokens; known at the end, where the model's server counts them."""
        return self._answer.usage

    @property
    def prompt(self) -> str:
        """What was sent to the model; empty when nothing was."""
        return self._answer.prompt

    def _repr_html_(self) -> str:
        return self._answer._repr_html_()


class StreamingResponse(_Streamed):
    """An answer to iterate as it is written: ``for text in answer``.

    ``str()`` of it, and showing it in a notebook, read the rest. Once read, it is
    kept, and iterating gives the rest, which is nothing.
    """

    def __init__(self, begun: Response, pieces: Iterator[Any]) -> None:
        super().__init__(begun)
        self._pieces = pieces

    def __iter__(self) -> Iterator[str]:
        for piece in self._pieces:
            if delta := self._take(piece):
                yield delta
        self.is_whole = True

    @property
    def response_gen(self) -> Iterator[str]:
        """The same as iterating."""
        return iter(self)

    def get_response(self) -> Response:
        """Read to the end and return the whole answer; blocks the caller."""
        for _ in self:
            pass
        return self._answer

    def print_response_stream(self) -> None:
        """Print the answer as it is written."""
        for delta in self:
            print(delta, end="", flush=True)
        print()

    def __str__(self) -> str:
        return self.get_response().response

    def __repr__(self) -> str:
        return f"<StreamingResponse {_state(self)}>"

    def _repr_html_(self) -> str:
        return self.get_response()._repr_html_()


class AsyncStreamingResponse(_Streamed):
    """An answer to iterate as it is written: ``async for text in answer``.

    ``str()`` of it is what has come so far; ``await answer.get_response()`` reads
    the rest. One reader. Leaving the loop early keeps the connection until the
    answer is closed: use ``async with answer:``, or `aclose`.
    """

    def __init__(self, begun: Response, pieces: AsyncGenerator[Any, None]) -> None:
        super().__init__(begun)
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[str]:
        async for piece in self._pieces:
            if delta := self._take(piece):
                yield delta
        self.is_whole = True

    def async_response_gen(self) -> AsyncIterator[str]:
        """The same as iterating."""
        return self.__aiter__()

    async def get_response(self) -> Response:
        """Read to the end and return the whole answer."""
        async for _ in self:
            pass
        return self._answer

    async def print_response_stream(self) -> None:
        """Print the answer as it is written."""
        async for delta in self:
            print(delta, end="", flush=True)
        print()

    def __await__(self) -> Generator[Any, None, Response]:
        return self.get_response().__await__()

    async def __aenter__(self) -> AsyncStreamingResponse:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the answer and free its connection."""
        await self._pieces.aclose()

    def __str__(self) -> str:
        return self.response

    def __repr__(self) -> str:
        return f"<AsyncStreamingResponse {_state(self)}>"


def _state(answer: _Streamed) -> str:
    state = "whole" if answer.is_whole else "so far"
    return f"{len(answer.response)} characters {state}"


def cited_numbers(text: str, most: int) -> list[int]:
    """Return the numbers 1 to `most` that `text` cites, as [1], [2, 3] or [1-3]."""
    found: set[int] = set()
    for match in _CITATION.finditer(text):
        for part in re.split(r"[,;]", match[1]):
            ends = [int(number) for number in re.split(r"[–-]", part)]
            found.update(range(ends[0], min(ends[-1], most) + 1))
    return sorted(number for number in found if 1 <= number <= most)


def numbered(nodes: Sequence[NodeWithScore]) -> str:
    """Return passages as a prompt has them: each with its number and its source."""
    return "\n\n".join(
        f"[{number}] ({node.source})\n{node.text}"
        for number, node in enumerate(nodes, start=1)
    )
