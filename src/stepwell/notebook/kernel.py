"""Every private corner of Jupyter that stepwell leans on, in one room.

Each question is answered by whatever this kernel version offers, and by a careful
default where it offers nothing: an answer never raises. Nothing here knows of
workflows.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import display

Bundle = Mapping[str, Any]
# IPython's own function, which brings no types.
_send: Callable[..., object] = display


def current_shell() -> Any | None:
    """The running IPython shell, if there is one."""
    return get_ipython()


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this code: something can show rich output."""
    return getattr(get_ipython(), "kernel", None) is not None


def is_headless() -> bool:
    """Whether nobody can click or type: nbclient, nbconvert, papermill, no kernel.

    Such runners send their requests with `allow_stdin` off, and drop whatever a
    background task shows after its cell ended.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    return not bool(getattr(kernel, "_allow_stdin", False))


def current_cell() -> str:
    """A name for the cell whose code runs now; equal within one cell's execution."""
    shell = get_ipython()
    kernel = getattr(shell, "kernel", None)
    with contextlib.suppress(Exception):
        return str(kernel.get_parent("shell")["header"]["msg_id"])  # type: ignore[union-attr]
    return f"cell {getattr(shell, 'execution_count', 0)}"


def show_once(bundle: Bundle) -> None:
    """Send a display to the current cell."""
    _send(dict(bundle), raw=True)


def show(bundle: Bundle, display_id: str) -> None:
    """Send a display to the current cell, to be replaced later."""
    _send(dict(bundle), raw=True, display_id=display_id)


def show_again(bundle: Bundle, display_id: str) -> None:
    """Replace a display wherever it stands."""
    _send(dict(bundle), raw=True, display_id=display_id, update=True)


@contextlib.contextmanager
def noticing_interrupt() -> Iterator[Callable[[], bool]]:
    """Tell a person's interrupt from every other cancellation.

    ipykernel turns the stop button into a cancellation of the cell's task, which
    looks like the one that `asyncio.timeout` makes. For as long as the context is
    open, the signal is noted on its way to the kernel's own handler.

    Yields:
        A function that says whether an interrupt came.
    """
    came = False
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: came
    finally:
        # Awaits overlap and end in any order: only take back what is still ours.
        if signal.getsignal(signal.SIGINT) is note and before is not None:
            signal.signal(signal.SIGINT, before)


def cell_name(file: str) -> str:
    """A file name as people say it: a cell's number, or the file's last part."""
    compiler = getattr(get_ipython(), "compile", None)
    with contextlib.suppress(Exception):
        said = compiler.format_code_name(file)  # type: ignore[union-attr]
        if said:
            return " ".join(str(part) for part in said)
    return file.replace("\\", "/").rsplit("/", 1)[-1]


def complete_after(
    shell: Any, prefix: str, complete: Callable[..., list[str]] | None
) -> None:
    """Offer completions on lines that begin with `prefix`; None stops it."""
    with contextlib.suppress(Exception):
        offers = shell.strdispatchers.get("complete_command")
        if offers is not None:
            offers.strs.pop(prefix, None)
        if complete is not None:
            shell.set_hook("complete_command", complete, str_key=prefix)
