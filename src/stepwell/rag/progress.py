"""How far a piece of work has come, as one line of stderr: Progress.

It counts and writes, and knows nothing of files or models. Files are counted in
`readers.py`, chunks where batches are made: in `openai_embedding.py`, and in
`index.py` for every other model. A run's progress is the notebook's affair.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType


class Progress:
    """A line such as ``12 of 40 files read`` on stderr, while the block lasts.

    In a terminal the line is rewritten at each step. Elsewhere there is one
    line at the beginning and one at the end, so that logs stay short. After an
    error the last line tells how far the work had come.

    Args:
        what: What is counted and done with it, for instance ``"files read"``.
        total: How many there are; for none, nothing is written.
        shown: False writes nothing at all.
    """

    def __init__(self, what: str, total: int, *, shown: bool = True) -> None:
        self.what = what
        self.total = total
        self.done = 0
        # Looked up now: notebooks and tests replace it. A windowed program has none.
        self._stream = sys.stderr if shown and total else None
        self._rewrites = self._stream is not None and self._stream.isatty()
        self._lock = threading.Lock()

    def __enter__(self) -> Progress:
        self._write(self._line() if self._rewrites else f"{self._line()}\n")
        return self

    def advance(self, by: int = 1) -> None:
        """Count `by` more as done; from any thread."""
        with self._lock:
            self.done += by
            if self._rewrites:
                # The line only grows, so nothing of the last one is left over.
                self._write(f"\r{self._line()}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._write("\n" if self._rewrites else f"{self._line()}\n")
            # A request that was given up may still be answered: too late to tell.
            self._stream = None

    def _line(self) -> str:
        return f"{self.done} of {self.total} {self.what}"

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text)
            self._stream.flush()
