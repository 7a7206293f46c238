"""Those who sleep until something is there, on whichever event loop each of them is."""

from __future__ import annotations

import asyncio

__all__ = ["Sleepers"]


class Sleepers:
    """Tasks that are woken together.

    They may be on several event loops, in several threads; `wake` may be called
    from any.

    Attributes:
        any: Whether there may be some.
    """

    __slots__ = ("_beds", "any")

    def __init__(self) -> None:
        self._beds: list[asyncio.Future[None]] | None = None
        self.any = False

    def bed(self) -> asyncio.Future[None]:
        """Something to await until the next `wake`.

        Look again, once you have it, whether what you wait for is there: whoever
        wakes may do so from another thread.
        """
        bed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        beds = self._beds
        if beds is None:
            self._beds = [bed]
        else:
            beds.append(bed)
        self.any = True
        return bed

    def wake(self) -> None:
        """Wake all who sleep now."""
        self.any = False
        beds, self._beds = self._beds, None
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        for bed in beds or ():
            loop = bed.get_loop()
            if loop is here:
                if not bed.done():
                    bed.set_result(None)
            elif not loop.is_closed():
                loop.call_soon_threadsafe(_release, bed)


def _release(bed: asyncio.Future[None]) -> None:
    if not bed.done():
        bed.set_result(None)
