"""How many events of a list a step waits for: `Collect`, with `All` or `Take`.

Written into the signature of a step that takes a list of events. Which events
belong together is decided in `routing`; how they are kept, in `calls`.
"""

from __future__ import annotations

from stepwell.errors import WorkflowValidationError

__all__ = ["All", "Cardinality", "Collect", "Take"]


class Cardinality:
    """How many events make a list whole: `All()` of them, or `Take(n)`."""

    def __eq__(self, other: object) -> bool:
        """Whether the other says the same."""
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        """Equal ones hash alike."""
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        """As it is written."""
        return f"{type(self).__name__}({', '.join(map(repr, vars(self).values()))})"


class All(Cardinality):
    """Every event of the list, when all work on its items is done."""


class Take(Cardinality):
    """The first `n` events, in the order in which they came.

    With fewer, those there are, when all work on the list is done.
    """

    def __init__(self, n: int) -> None:
        if type(n) is not int or n < 1:
            raise WorkflowValidationError(
                f"Take(n) takes a whole number above 0, not {n!r}.",
                hint="Write Collect(All()) for every event.",
            )
        self.n = n


class Collect:
    """Marks a list parameter: `events: Annotated[list[E], Collect(Take(2))]`.

    A bare `list[E]` parameter means `Collect(All())`. A list is what one call of a
    step returned, and belongs together with all that becomes of its items. Events
    that stand in no list are handed over when nothing else is going on, each few of
    them at once with `Take(n)`.

    Args:
        cardinality: `All()` or `Take(n)`; `All()` where it is left out.
        cancel_rest: With `Take(n)`: stop the work on the list that is still going on
            once the first `n` have come.
    """

    def __init__(
        self, cardinality: Cardinality | None = None, *, cancel_rest: bool = False
    ) -> None:
        chosen = All() if cardinality is None else cardinality
        if not isinstance(chosen, All | Take):
            raise WorkflowValidationError(
                f"Collect takes All() or Take(n), not {cardinality!r}."
            )
        if cancel_rest and isinstance(chosen, All):
            raise WorkflowValidationError(
                "All() leaves no rest to cancel.",
                hint="Write Collect(Take(n), cancel_rest=True), or leave it out.",
            )
        self.cardinality = chosen
        self.take = chosen.n if isinstance(chosen, Take) else None
        self.cancel_rest = cancel_rest

    def __repr__(self) -> str:
        """As it is written."""
        rest = ", cancel_rest=True" if self.cancel_rest else ""
        return f"Collect({self.cardinality!r}{rest})"
