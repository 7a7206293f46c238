"""How far a loop inside a step has come: `tqdm`, shown where the run is shown.

Takes what the bars of the tqdm library take, so that `from stepwell import tqdm`
is all that changes. What a step may say about itself is in `context`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Generic, TypeVar

from stepwell.context import Context, current_call

__all__ = ["tqdm"]

T = TypeVar("T")
# Seconds between two reports of a loop, unless it is told otherwise.
_INTERVAL = 0.1


def _context() -> Context[Any] | None:
    """That of the step which runs here, if one does."""
    found = current_call.get()
    return found[0].for_call(found[1]) if found is not None else None


class tqdm(Generic[T]):  # the name that people write
    """Iterate and tell the step's viewer how far it is: `for doc in tqdm(docs): …`.

    Works in a step and in whatever it calls, in threads too; `async for` works as
    well. Outside of steps it iterates and shows nothing.

    Args:
        iterable: What to iterate; without it, call `update` yourself.
        desc: What is being done, in a few words.
        total: How many items there are; by default the length, if there is one.
        mininterval: Seconds between two reports.
        initial: How many are done already.
        disable: Whether to tell nothing.
        **options: Options of other bars, such as `unit` or `leave`; not needed here.
    """

    def __init__(
        self,
        iterable: Iterable[T] | AsyncIterable[T] | None = None,
        desc: str | None = None,
        total: float | None = None,
        *,
        mininterval: float = _INTERVAL,
        initial: float = 0,
        disable: bool | None = False,
        **options: Any,
    ) -> None:
        if total is None and iterable is not None:
            try:
                total = len(iterable)  # type: ignore[arg-type]  # if it has one
            except (TypeError, AttributeError):
                total = None
        self.iterable = iterable
        self.total = None if total == float("inf") else total
        self.n = initial
        self.desc = desc or ""
        self._postfix = ""
        self._interval = mininterval
        self._told_at = float("-inf")
        self._told: tuple[Any, ...] | None = None
        self.disable = bool(disable)
        self._ctx = None if self.disable else _context()
        self.refresh()

    def update(self, n: float = 1) -> None:
        """Note that `n` more units are done."""
        self.n += n
        whole = self.total is not None and self.n >= self.total
        if whole or time.monotonic() - self._told_at >= self._interval:
            self.refresh()

    def set_description(self, desc: str | None = None, refresh: bool = True) -> None:
        """Change what is said to be done."""
        self.desc = desc or ""
        if refresh:
            self.refresh()

    set_description_str = set_description

    def set_postfix(
        self,
        ordered_dict: Mapping[str, Any] | None = None,
        refresh: bool = True,
        **values: Any,
    ) -> None:
        """Show some values after the description."""
        shown = (
            f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in {**(ordered_dict or {}), **values}.items()
        )
        self.set_postfix_str(", ".join(shown), refresh)

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """Show some text after the description."""
        self._postfix = s
        if refresh:
            self.refresh()

    def refresh(self) -> None:
        """Tell where it stands, now."""
        text = " ".join(part for part in (self.desc, self._postfix) if part)
        told = (self.n, self.total, text)
        if self._ctx is not None and told != self._told:
            self._told, self._told_at = told, time.monotonic()
            self._ctx.progress(*told)

    def reset(self, total: float | None = None) -> None:
        """Begin anew, perhaps with another total."""
        self.n, self.total = 0, self.total if total is None else total
        self.refresh()

    def close(self) -> None:
        """Tell where it stands, for the last time."""
        self.refresh()

    @classmethod
    def write(cls, s: object, file: Any = None, end: str = "\n") -> None:
        """Say something without disturbing the bars: in the step's log, or by print."""
        ctx = _context()
        if ctx is None or file is not None:
            print(s, end=end, file=file)
        else:
            ctx.log(f"{s}{end}".removesuffix("\n"), source="stdout")

    def __len__(self) -> int:
        """How many items there are, if that is known."""
        if self.total is None:
            raise TypeError("nobody knows how many items there are")
        return int(self.total)

    def __bool__(self) -> bool:
        """True, however many there are."""
        return True

    def __iter__(self) -> Iterator[T]:
        """The items, one after the other."""
        if self.iterable is None:
            raise TypeError("this tqdm has nothing to iterate: call update() yourself")
        items: Any = self.iterable  # whatever `for` takes
        try:
            for item in items:
                yield item
                self.update()
        finally:
            self.close()

    async def __aiter__(self) -> AsyncIterator[T]:
        """The items of an asynchronous iterable, or of any other."""
        items: Any = self.iterable
        if not hasattr(items, "__aiter__"):
            for item in self:
                yield item
            return
        try:
            async for item in items:
                yield item
                self.update()
        finally:
            self.close()

    def __enter__(self) -> tqdm[T]:
        """The bar itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tell where it stands, for the last time."""
        self.close()
