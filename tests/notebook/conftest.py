"""Notebooks executed by a real kernel, as nbconvert and CI execute them."""

from collections.abc import Callable
from textwrap import dedent
from typing import Any

import nbformat
import pytest
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
