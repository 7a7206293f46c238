"""What is promised: named in `__all__`, there, and documented."""

import ast
import importlib
import inspect
import re
from typing import ParamSpec, TypeVar

import pytest

import stepwell
from house.plan import SOURCE, module_name, source_files

# What a room promises stands in its `__init__`; its other files are its own affair,
# unless they carry an `__all__`, which then has to be right.
PUBLIC_FILES = [
    file
    for file in source_files()
    if file.name == "__init__.py"
    or file.parent == SOURCE
    or "\n__all__" in file.read_text(encoding="utf-8")
]
EVERY_MODULE = pytest.mark.parametrize(
    "file", PUBLIC_FILES, ids=[module_name(file) for file in PUBLIC_FILES]
)


def public_names(file) -> set[str]:
    """Names without an underscore that the module itself defines."""
    names: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {at.id for at in node.targets if isinstance(at, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def is_promise(module, name: str) -> bool:
    """Type variables are spelling, not promises."""
    return not isinstance(getattr(module, name, None), TypeVar | ParamSpec)


def load(file):
    """Import the module, or skip it where its outside package is not installed."""
    try:
        return importlib.import_module(module_name(file))
    except ModuleNotFoundError as error:
        if error.name and not error.name.startswith("stepwell"):
            pytest.skip(f"{error.name} is not installed")
        raise


@EVERY_MODULE
def test_all_names_what_the_module_promises(file):
    module = load(file)
    listed = getattr(module, "__all__", None)
    assert listed is not None, "no __all__"
    assert len(set(listed)) == len(listed), "a name stands twice in __all__"
    for name in listed:
        assert hasattr(module, name), f"__all__ names {name}, which is not there"
    own = {name for name in public_names(file) if is_promise(module, name)}
    assert own - set(listed) == set(), (
        "public by their names and not in __all__: list them or give an underscore"
    )


@EVERY_MODULE
def test_every_promised_name_is_documented(file):
    module = load(file)
    silent = []
    for name in module.__all__:
        thing = getattr(module, name)
        if getattr(thing, "__module__", None) != module.__name__:
            continue  # documented where it is defined
        if not (inspect.isclass(thing) or inspect.isroutine(thing)):
            continue
        if not _own_docstring(thing):
            silent.append(name)
        elif inspect.isclass(thing):
            silent += [f"{name}.{method}" for method in _silent_methods(thing)]
    assert silent == [], "without a docstring"


def _own_docstring(thing) -> bool:
    if inspect.isclass(thing):
        return bool(thing.__dict__.get("__doc__"))
    return bool(getattr(thing, "__doc__", None))


def _silent_methods(cls) -> list[str]:
    inherited = {name for base in cls.__mro__[1:] for name in vars(base)}
    return [
        name
        for name, value in vars(cls).items()
        if not name.startswith("_")
        and name not in inherited
        and (inspect.isroutine(value) or isinstance(value, property))
        and getattr(value, "__module__", cls.__module__) == cls.__module__
        and not inspect.getdoc(value)
    ]


def test_the_face_gives_every_name_it_promises():
    for name in stepwell.__all__:
        assert getattr(stepwell, name) is not None or name in vars(stepwell)


def test_star_import_gives_the_face():
    names: dict[str, object] = {}
    exec("from stepwell import *", names)
    assert set(stepwell.__all__) <= set(names)


def test_the_version_is_the_one_of_the_project():
    text = (SOURCE.parents[1] / "pyproject.toml").read_text()
    declared = re.search(r'^version = "(.+)"', text, re.M)
    assert declared and stepwell.__version__ == declared[1]
