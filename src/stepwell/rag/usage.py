"""What calls of models cost: `track_usage`, and the tokens of a step.

Models report each answered call here, once. It goes to every `track_usage` block
around the call, and to the record of the stepwell run whose step made it. Nothing
is estimated: tokens are those the server counted, prices those the user gives.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from .base import Usage
from .errors import InvalidOptionError
from .steps import step_here

_MILLION = 1_000_000


@dataclass
class ModelUsage:
    """What one model was used for."""

    calls: int = 0
    """Calls that were answered."""
    uncounted_calls: int = 0
    """Those of them whose server did not say how many tokens they cost."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    embedding_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """All tokens together."""
        return self.prompt_tokens + self.completion_tokens + self.embedding_tokens


class UsageTotals:
    """What all calls in a `track_usage` block have cost so far.

    Attributes:
        by_model: The same for each model, by its name.
    """

    def __init__(self, prices: Mapping[str, tuple[float, float]] | None = None) -> None:
        self._prices = dict(prices or {})
        self._lock = threading.Lock()
        self.by_model: dict[str, ModelUsage] = {}

    @property
    def calls(self) -> int:
        """Calls that were answered."""
        return self._sum("calls")

    @property
    def uncounted_calls(self) -> int:
        """Calls whose server did not say how many tokens they cost."""
        return self._sum("uncounted_calls")

    @property
    def prompt_tokens(self) -> int:
        """Tokens sent to language models."""
        return self._sum("prompt_tokens")

    @property
    def completion_tokens(self) -> int:
        """Tokens that language models wrote."""
        return self._sum("completion_tokens")

    @property
    def embedding_tokens(self) -> int:
        """Tokens sent to embedding models."""
        return self._sum("embedding_tokens")

    @property
    def total_tokens(self) -> int:
        """All tokens together."""
        return self._sum("total_tokens")

    @property
    def cost(self) -> float | None:
        """In the currency of the prices; None where a model used has no price."""
        if not self._prices or any(name not in self._prices for name in self.by_model):
            return None
        return sum(self._cost(name, used) for name, used in self.by_model.items())

    def add(self, model: str, usage: Usage | None, *, embedding: bool = False) -> float:
        """Add one call; from any thread.

        Returns:
            What it cost by the prices given; 0 without a price.
        """
        one = ModelUsage(calls=1, uncounted_calls=int(usage is None))
        if usage is not None and embedding:
            one.embedding_tokens = usage.total_tokens or usage.prompt_tokens
        elif usage is not None:
            one.prompt_tokens = usage.prompt_tokens
            one.completion_tokens = usage.completion_tokens
        with self._lock:
            kept = self.by_model.setdefault(model, ModelUsage())
            for name, amount in vars(one).items():
                setattr(kept, name, getattr(kept, name) + amount)
        return self._cost(model, one)

    def _cost(self, model: str, used: ModelUsage) -> float:
        sent, written = self._prices.get(model, (0.0, 0.0))
        read = used.prompt_tokens + used.embedding_tokens
        return (read * sent + used.completion_tokens * written) / _MILLION

    def _sum(self, name: str) -> int:
        with self._lock:
            return sum(getattr(used, name) for used in self.by_model.values())

    def __repr__(self) -> str:
        calls = self.calls
        said = [f"{calls} call{'' if calls == 1 else 's'}"]
        for amount, unit in (
            (self.prompt_tokens, "tokens in"),
            (self.completion_tokens, "tokens out"),
            (self.embedding_tokens, "tokens embedded"),
        ):
            if amount:
                said.append(f"{amount:,} {unit}")
        if uncounted := self.uncounted_calls:
            said.append(f"{uncounted} not counted by the server")
        if (cost := self.cost) is not None:
            said.append(f"cost {cost:.4f}")
        return ", ".join(said)


_around: ContextVar[tuple[UsageTotals, ...]] = ContextVar(
    "stepwell_rag_usage", default=()
)


@contextmanager
def track_usage(
    prices: Mapping[str, tuple[float, float]] | None = None,
) -> Iterator[UsageTotals]:
    """Count what models cost in a ``with`` block, and in tasks started in it.

    Blocks may stand in each other; a call counts in each. Calls are counted when
    they are answered, streams when they end.

    Args:
        prices: Price of a million tokens by model, ``(read, written)``, for
            instance ``{"gpt-4o-mini": (0.15, 0.60)}``. None are built in: they
            change too often.

    Raises:
        InvalidOptionError: A price that is not two numbers.

    Example:
        >>> from stepwell.rag import track_usage
        >>> with track_usage() as used:
        ...     pass
        >>> used
        0 calls
    """
    for model, price in (prices or {}).items():
        if not (isinstance(price, tuple | list) and len(price) == 2):
            raise InvalidOptionError(
                f"prices[{model!r}] must be (read, written), the price of a million "
                f"tokens each, not {price!r}."
            )
    totals = UsageTotals(prices)
    token = _around.set((*_around.get(), totals))
    try:
        yield totals
    finally:
        _around.reset(token)


def count_usage(model: str, usage: Usage | None, *, embedding: bool = False) -> None:
    """Count one answered call, for the blocks around it and the step that made it.

    For models of one's own: call it once for each answer.

    Args:
        model: The model's name.
        usage: What the server counted; None where it did not.
        embedding: Whether it is an embedding model.
    """
    cost = 0.0
    for totals in _around.get():
        cost = max(cost, totals.add(model, usage, embedding=embedding))
    if usage is None or (step := step_here()) is None:
        return
    if embedding:
        amounts: dict[str, float] = {
            "embedding_tokens": usage.total_tokens or usage.prompt_tokens
        }
    else:
        amounts = {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
        }
    step.count(**amounts, **({"cost": cost} if cost else {}))
