"""Every private corner of Jupyter that stepwell leans on, in one room.

Each question is answered by whatever this kernel version offers, and by a careful
default where it offers nothing: an answer never raises. Nothing here knows of
workflows.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import display

Bundle = Mapping[str, Any]
# IPython's own function, which brings no types.
_send: Callable[..., object] = display
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# Seconds between two looks at whether something was typed.
_INPUT_PERIOD = 0.05
# The numbers of cells, by their names.
_counts: dict[str, str] = {}


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


def count_cell() -> None:
    """Remember the number of the cell that is about to run."""
    count = getattr(get_ipython(), "execution_count", None)
    if count is not None:
        _counts[current_cell()] = str(count)
        while len(_counts) > 200:
            del _counts[next(iter(_counts))]


def cell_number() -> str:
    """The number of the cell that the code at work was started by; "" if unknown."""
    return _counts.get(current_cell(), "")


def hears_widgets_while_awaiting() -> bool:
    """Whether what people do to widgets reaches a cell that awaits something.

    ipykernel 6 hears of it when the cell has ended; 7.0 to 7.3, at once if the front
    end sends it over a subshell; later ones always.
    """
    with contextlib.suppress(Exception):
        module = importlib.import_module("ipykernel")
        version = tuple(int(part) for part in module.version_info[:2])
        if version < (7, 0):
            return False
        if version >= (7, 4):
            return True
        kernel: Any = getattr(get_ipython(), "kernel", None)
        return bool(kernel.shell_channel_thread.manager.list_subshell())
    return True


def may_yet_hear_widgets() -> bool:
    """Whether a page that was opened just now may still come to be heard.

    On ipykernel 7.0 to 7.3 it opens a subshell when it shows its first widget.
    """
    with contextlib.suppress(Exception):
        module = importlib.import_module("ipykernel")
        return (7, 0) <= tuple(int(n) for n in module.version_info[:2]) < (7, 4)
    return False


async def ask_line(prompt: str, *, secret: bool = False) -> str:
    """Have somebody type a line into the input box of the cell at work.

    Unlike `input()`, which has to wait in a thread that nothing can end, it may be
    cancelled; what is typed after that is nobody's.
    """
    try:
        receive = _ask(getattr(get_ipython(), "kernel", None), prompt, secret)
    except Exception:  # the kernel is not as the ones we know
        return await asyncio.to_thread(input, prompt)
    while (line := receive()) is None:
        await asyncio.sleep(_INPUT_PERIOD)
    return line


def _ask(kernel: Any, prompt: str, secret: bool) -> Callable[[], str | None]:
    """Open the input box; gives what tells whether something was typed."""
    socket, session = kernel.stdin_socket, kernel.session
    ident = kernel._parent_ident["shell"]
    parent = kernel.get_parent("shell")
    while socket.poll(0):
        socket.recv_multipart()  # an answer to somebody who waits no longer
    content = {"prompt": prompt, "password": secret}
    session.send(socket, "input_request", content, parent, ident=ident)

    def receive() -> str | None:
        while socket.poll(0):
            reply = session.recv(socket)[1]
            if reply is not None:
                return str(reply["content"]["value"])
        return None

    return receive


def show_once(bundle: Bundle) -> None:
    """Send a display to the current cell."""
    _send(dict(bundle), raw=True)


def show(bundle: Bundle, display_id: str) -> None:
    """Send a display to the current cell, to be replaced later."""
    _send(dict(bundle), raw=True, display_id=display_id)


def show_again(bundle: Bundle, display_id: str) -> None:
    """Replace a display wherever it stands."""
    _send(dict(bundle), raw=True, display_id=display_id, update=True)


def cell_name(file: str) -> str:
    """A file name as people say it: a cell's number, or the file's last part."""
    compiler = getattr(get_ipython(), "compile", None)
    with contextlib.suppress(Exception):
        said = compiler.format_code_name(file)  # type: ignore[union-attr]
        if said:
            return " ".join(str(part) for part in said)
    return file.replace("\\", "/").rsplit("/", 1)[-1]


def cells() -> list[tuple[int, str]]:
    """Number and file name of every cell whose source is kept, the newest first."""
    numbers = getattr(getattr(get_ipython(), "compile", None), "_filename_map", {})
    return sorted(((n, file) for file, n in dict(numbers).items()), reverse=True)


def compiler_flags() -> int:
    """What cells asked for with `from __future__ import …`, as flags of `compile`."""
    return int(getattr(getattr(get_ipython(), "compile", None), "flags", 0))


def complete_with(shell: Any, matcher: Callable[..., Any], *, wanted: bool) -> None:
    """Let a matcher answer when Tab is pressed, or no longer."""
    with contextlib.suppress(Exception):
        matchers = shell.Completer.custom_matchers
        matchers[:] = [each for each in matchers if each is not matcher]
        if wanted:
            matchers.append(matcher)


def awaits_cell() -> bool:
    """Whether the task at work is that of a cell, and no other one of the user's."""
    with contextlib.suppress(Exception):
        task: Any = asyncio.current_task()
        return str(task.get_coro().__name__).startswith("run_cell")
    return False


def name_handler(handler: Any) -> None:
    """Let `_handler` name this run in the user's cells, as `_` names the last value."""
    names = getattr(get_ipython(), "user_ns", None)
    if names is not None:
        names["_handler"] = handler


def is_named(handler: Any) -> bool:
    """Whether `_handler` names this run in the user's cells."""
    return getattr(get_ipython(), "user_ns", {}).get("_handler") is handler


def can_resume(handler: Any) -> bool:
    """Whether `_handler` names this run in the user's cells, and it may go on."""
    return is_named(handler) and bool(getattr(handler, "is_resumable", False))


def highlighted(lines: list[str]) -> list[str]:
    """Lines of Python in the colours of the shell; as they are where it has none."""
    colour: Callable[[str], str] | None = getattr(get_ipython(), "pycolorize", None)
    return [_coloured(line, colour) for line in lines] if colour else lines


def _coloured(line: str, colour: Callable[[str], str]) -> str:
    # Each by itself and without its indentation: lines from the middle of a function
    # are no Python together.
    bare = line.lstrip()
    with contextlib.suppress(Exception):
        made = colour(bare).rstrip("\n")
        if bare and "\n" not in made:
            return line[: len(line) - len(bare)] + made
    return line


class _Said(Exception):
    """Stands for an exception of which a shell wants to know the text."""


def show_errors_by(
    shell: Any,
    lines_of: Callable[[BaseException], list[str] | None],
    text_of: Callable[[BaseException], str],
) -> None:
    """Let cells show some errors in other words.

    `_render_traceback_` does that for exceptions that we can lay hands on. Groups,
    syntax errors and what the user raised from ours are shown by other ways.

    Args:
        shell: The shell.
        lines_of: Given an exception, the lines to show; None leaves it to the shell.
        text_of: Given one, its text.
    """
    shown: Callable[..., None] = shell.showtraceback

    def show(exc_tuple: Any = None, *args: Any, **options: Any) -> None:
        lines: list[str] | None = None
        with contextlib.suppress(Exception):
            # It also keeps the exception for %debug.
            kind, error, shell.InteractiveTB.tb = shell._get_exc_info(exc_tuple)
            if shell.InteractiveTB.mode not in ("Verbose", "Docs"):
                lines = lines_of(error)
        if lines is None:
            return shown(exc_tuple, *args, **options)
        if str(shell.colors).lower() == "nocolor":
            lines = [_COLOURS.sub("", line) for line in lines]
        shell._showtraceback(kind, _Said(text_of(error)), lines)
        if shell.call_pdb:
            shell.debugger(force=True)

    shell.showtraceback = show
