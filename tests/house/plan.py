"""The plan of the house as the tests read it: CONTRIBUTING.md and the imports.

The tables are read from the document itself, so that what people read and what
is enforced cannot part.
"""

import ast
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "stepwell"
FACE = "stepwell"


class Import(NamedTuple):
    """One import, with the full name of what is imported and where it stands."""

    file: Path
    line: int
    name: str
    deferred: bool

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.name}"


def source_files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def module_name(file: Path) -> str:
    """`src/stepwell/rag/base.py` -> `stepwell.rag.base`."""
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def room(module: str) -> str:
    """The room a module belongs to: `stepwell.rag.base` -> `rag`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else FACE


def imports_of(file: Path) -> list[Import]:
    """Every import in the file, those inside functions included.

    `from stepwell.rag import base` counts as `stepwell.rag.base` where that is a
    module, and as `stepwell.rag` where `base` is a name in it.
    """
    found: list[Import] = []
    tree = ast.parse(file.read_text(encoding="utf-8"))
    at_top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(file, node)
            names = [_imported(origin, alias.name) for alias in node.names]
        else:
            continue
        for name in dict.fromkeys(names):
            found.append(Import(file, node.lineno, name, id(node) not in at_top))
    return found


def _origin(file: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module_name(file).split(".")
    if file.name != "__init__.py":
        package = package[:-1]
    package = package[: len(package) - (node.level - 1)]
    return ".".join([*package, *([node.module] if node.module else [])])


def _imported(origin: str, name: str) -> str:
    below = SOURCE.parent.joinpath(*origin.split("."), name)
    if below.with_suffix(".py").exists() or (below / "__init__.py").exists():
        return f"{origin}.{name}"
    return origin


def is_own(name: str) -> bool:
    return name.split(".")[0] == FACE


def table(heading: str) -> list[list[str]]:
    """The rows of the first table under a heading of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert section, f"CONTRIBUTING.md has no section {heading!r}"
    rows = re.findall(r"^\|(.*)\|$", section[1], re.M)
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    assert len(cells) > 2, f"the section {heading!r} holds no table"
    return cells[2:]


def ticked(cell: str) -> list[str]:
    """The names in backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def floors() -> dict[str, int]:
    """Each room with the number of its floor; the face is `stepwell`."""
    return {
        name: int(number)
        for number, rooms, *_ in table("Floors")
        for name in ticked(rooms)
    }


def neighbours() -> set[tuple[str, str]]:
    """The pairs (reader, read) that the table allows on one floor."""
    pairs = set()
    for _, _, allowed, *_ in table("Floors"):
        for reader, read in re.findall(r"`(\w+)` reads `(\w+)`", allowed):
            pairs.add((reader, read))
    return pairs


def vendors() -> dict[str, list[str]]:
    """Each outside package with the places that may import it."""
    return {
        package: ticked(places)
        for packages, places, *_ in table("Outside packages")
        for package in ticked(packages)
    }
