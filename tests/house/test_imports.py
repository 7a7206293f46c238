"""What a plain `import stepwell` loads."""

import os
import subprocess
import sys

HEAVY = {
    "IPython",
    "asyncpg",
    "distributed",
    "graphviz",
    "ipywidgets",
    "numpy",
    "openai",
    "sentence_transformers",
    "torch",
}


def fresh(code: str) -> str:
    """What a fresh interpreter prints."""
    # Compiled files are wanted here, wherever the surroundings forbid them:
    # a user's second import is what is looked at.
    settings = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=settings, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_plain_import_loads_nothing_heavy():
    loaded = set(fresh("import sys, stepwell; print(*sys.modules)").split())
    assert loaded & HEAVY == set()


def test_a_plain_import_opens_no_room_that_few_need():
    loaded = fresh("import sys, stepwell; print(*sys.modules)").split()
    rooms = {name.split(".")[1] for name in loaded if name.startswith("stepwell.")}
    assert rooms & {"agents", "notebook", "rag"} == set()


def test_rag_loads_no_vendor_before_it_is_asked_for():
    loaded = set(fresh("import sys, stepwell.rag; print(*sys.modules)").split())
    assert loaded & (HEAVY - {"numpy"}) == set()


def test_a_plain_import_adds_little_to_asyncio_and_pydantic():
    # How long it takes is measured in benchmarks/; what could make it slow is here.
    before = (
        "import sys, asyncio; from pydantic import BaseModel\n"
        "class Warm(BaseModel): value: int = 0\n"
        "there = set(sys.modules)\n"
    )
    added = fresh(before + "import stepwell; print(*(set(sys.modules) - there))")
    others = {name for name in added.split() if not name.startswith("stepwell")}
    assert others <= {"concurrent.futures.thread", "timeit", "random", "secrets"}
