"""The room as a whole: its examples are true, and nobody pays for it unasked."""

import doctest
import subprocess
import sys

import pytest

from stepwell.testing import clock, embedding, executor, llm, runner


@pytest.mark.parametrize("module", [clock, embedding, executor, llm, runner])
def test_examples_are_true(module):
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0


def loaded(code):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_the_engine_does_not_load_it():
    assert not any(
        name.startswith("stepwell.testing") for name in loaded("import stepwell")
    )


def test_it_loads_neither_the_rag_rooms_nor_numpy():
    modules = loaded("import stepwell.testing")
    assert "numpy" not in modules
    assert not any(name.startswith("stepwell.rag") for name in modules)
