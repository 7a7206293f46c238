"""Notebooks executed by a real kernel, as nbconvert and CI execute them."""

import os
import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import nbformat
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient


class Cell:
    """An executed cell, as the tests ask about it."""

    def __init__(self, cell: Any) -> None:
        self.outputs = cell.outputs

    @property
    def bundles(self) -> list[dict[str, str]]:
        """The rich outputs, in order."""
        kinds = ("display_data", "execute_result")
        return [o.data for o in self.outputs if o.output_type in kinds]

    @property
    def value(self) -> str:
        """The last value, as text."""
        found = [o for o in self.outputs if o.output_type == "execute_result"]
        assert found, f"no value in {self.outputs}"
        return str(found[-1].data["text/plain"])

    @property
    def printed(self) -> str:
        """What the cell printed."""
        return "".join(o.text for o in self.outputs if o.output_type == "stream")

    @property
    def error(self) -> Any:
        """The error output; fails the test where there is none."""
        errors = [o for o in self.outputs if o.output_type == "error"]
        assert errors, f"no error in {self.outputs}"
        return errors[0]

    @property
    def error_lines(self) -> list[str]:
        """The lines of the error as a person sees them."""
        return "\n".join(self.error.traceback).splitlines()


Execute = Callable[..., list[Cell]]


@pytest.fixture(scope="session")
def execute() -> Execute:
    """Run cells in one fresh kernel; gives the executed cells back."""

    def run(*cells: str) -> list[Cell]:
        made = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(dedent(cell).strip()) for cell in cells]
        )
        made.metadata.kernelspec = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        client = NotebookClient(
            made, timeout=120, allow_errors=True, store_widget_state=False
        )
        client.execute()
        return [Cell(cell) for cell in made.cells]

    return run


class Kernel:
    """A kernel with somebody before it, who may press the stop button.

    Args:
        mark: A file that a cell touches to say that it is time to.
    """

    def __init__(self, mark: Path) -> None:
        self._mark = mark
        self._manager = KernelManager(kernel_name="python3")
        self._manager.start_kernel(env={**os.environ, "MARK": str(mark)})
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=120)
        self.seconds = 0.0
        self.letters = 0
        self.asked: list[str] = []
        self.displays: dict[str, dict[str, str]] = {}

    def run(self, code: str, *, presses: int = 0, answer: str = "") -> Cell:
        """Execute a cell.

        Afterwards `displays` has what stands in each display, `asked` what was asked
        in the input box, and `letters` how many letters of widgets and displays came.

        Args:
            code: The cell.
            presses: How many times to interrupt it once it has touched the mark;
                `seconds` is how long it went on after that.
            answer: What somebody types whenever the input box opens.
        """
        self.letters, self.asked = 0, []
        self._mark.unlink(missing_ok=True)
        sent = self._client.execute(dedent(code).strip(), allow_stdin=True)
        outputs = []
        pressed_at = 0.0
        idle = False
        silent_since = time.monotonic()
        while not idle:
            try:
                message = self._client.get_iopub_msg(timeout=0.02)
            except queue.Empty:
                if self._client.stdin_channel.msg_ready():
                    request = self._client.get_stdin_msg(timeout=1)
                    self.asked.append(request["content"]["prompt"])
                    self._client.input(answer)
                assert time.monotonic() - silent_since < 30, "the cell does not end"
                if presses and not pressed_at and self._mark.exists():
                    pressed_at = time.monotonic()
                    for _ in range(presses):
                        self._manager.interrupt_kernel()
                continue
            silent_since = time.monotonic()
            kind, content = message["msg_type"], message["content"]
            if kind in ("display_data", "update_display_data", "comm_msg"):
                self.letters += len(str(content["data"]))
            if (name := content.get("transient", {}).get("display_id")) is not None:
                self.displays[name] = content["data"]
            if message["parent_header"].get("msg_id") != sent:
                continue
            idle = kind == "status" and content["execution_state"] == "idle"
            if kind in ("stream", "error", "display_data", "execute_result"):
                outputs.append(nbformat.v4.output_from_msg(message))
        self.seconds = time.monotonic() - pressed_at
        assert pressed_at or not presses, f"never interrupted: {outputs}"
        # A kernel that gives no answer lets those who run notebooks wait for ever.
        # One that was slow to start may have answered `wait_for_ready` twice before.
        while self._client.get_shell_msg(timeout=30)["parent_header"]["msg_id"] != sent:
            pass
        return Cell(nbformat.NotebookNode(outputs=outputs))

    def close(self) -> None:
        """End the kernel."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()


@pytest.fixture(scope="module")
def start_kernel(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[], Kernel]]:
    """Starts kernels that can be interrupted; they end with the module's tests."""
    started: list[Kernel] = []

    def start() -> Kernel:
        started.append(Kernel(tmp_path_factory.mktemp("kernel") / "mark"))
        return started[-1]

    yield start
    for kernel in started:
        kernel.close()
