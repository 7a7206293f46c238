"""A workflow of the notebook written as a module that runs without one.

Starting from its steps, the names they use are followed through the user's
variables. What was defined in cells is copied as it stands there, what was imported
is imported, plain values are written out; what is none of these is refused. Where
cells define things is found by `cells`, how functions become methods, in `methods`.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import contextlib
import inspect
import re
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import stepwell
from stepwell import Event, StepwellError, Workflow

from . import kernel
from .cells import Cells, Statement
from .errors import MagicError
from .methods import (
    can_be_method,
    class_lines,
    decorated,
    indented,
    method,
    methods_of,
    with_methods,
)
from .references import (
    globals_of,
    import_lines,
    imported_from,
    names_in_text,
    unwrapped,
)
from .sources import ORIGINS, Origin, defined_names, event_module
from .values import literal, says_again

_MARK = "Written by stepwell from a notebook."
_LAST = (sys.maxsize, 0)
_DEFINES = re.compile(r"^(class|def|async def|@)", re.MULTILINE)


def write_module(
    workflow: type[Workflow],
    path: str,
    names: Mapping[str, Any],
    *,
    run: Mapping[str, str] | None = None,
) -> str:
    """Write a workflow and what it uses into a file, all or nothing.

    Args:
        workflow: The workflow, as it is now.
        path: The file. One that was not written by this function is left alone.
        names: The user's variables.
        run: Fields of a start event as expressions; the module runs the workflow with
            them when it is the program.

    Returns:
        One line that says what is in the file.

    Raises:
        MagicError: Something cannot be written, or the file is somebody's.
    """
    file = Path(path).expanduser()
    _refuse_to_overwrite(file)
    module = _Module(workflow, names, file.name)
    text = module.text(run)
    compile(text, str(file), "exec", dont_inherit=True)
    beside = file.with_name(f".{file.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise MagicError(
            f"--write: {file} cannot be written: {error.strerror}."
        ) from None
    return f"{file} written: {', '.join(module.contents)}."


def _refuse_to_overwrite(file: Path) -> None:
    try:
        first = file.read_bytes().partition(b"\n")[0]
    except OSError:
        return
    if first and _MARK.encode() not in first:
        raise MagicError(
            f"--write: {file} exists, and was not written by a magic.",
            hint="Choose another name, or remove the file.",
        )


@dataclass(slots=True)
class _Part:
    """One definition of the module.

    Attributes:
        name: What it defines.
        text: Its source.
        place: The number of its cell, and its line there; orders what is free.
        needs: Names that have to be defined above it.
        is_value: Whether it is a plain value, which stands at the top.
    """

    name: str
    text: str
    place: tuple[int, int]
    needs: set[str] = field(default_factory=set)
    is_value: bool = False


@dataclass(frozen=True, slots=True)
class _Use:
    """Who uses a name, and where, for messages."""

    user: str
    file: str = ""
    line: int = 0


class _Module:
    """A module in the making: what it defines, and what it imports."""

    def __init__(
        self, workflow: type[Workflow], names: Mapping[str, Any], file: str
    ) -> None:
        self._workflow = workflow
        self._names = names
        self._file = file
        self._cells = Cells()
        self._parts: dict[str, _Part] = {}
        self._imports: dict[str, str] = {}
        self._begun: set[str] = set()
        # Workflows that a magic made, and the steps of each; steps that are called.
        self._made: dict[str, tuple[type[Workflow], dict[str, Statement]]] = {}
        self._called: set[str] = set()
        self._builtins: dict[str, _Use] = {}
        # Whether annotations are text: once a cell asks for it, in all that follow.
        self._flags = kernel.compiler_flags()

    @property
    def contents(self) -> list[str]:
        """Names of what it defines, in order."""
        return [part.name for part in self._in_order() if part.name.isidentifier()]

    def text(self, run: Mapping[str, str] | None) -> str:
        """The whole module."""
        name = self._workflow.__name__
        if self._workflow.__module__ != "__main__":
            raise MagicError(
                f"{name} is written already: it is imported from "
                f"{self._workflow.__module__}."
            )
        self._begun.add(name)
        self._add_workflow(name, self._workflow, _Use(f"workflow `{name}`"))
        self._add_rest_of_cell(name)
        main = "" if run is None else self._main(name, run)
        for made, (kind, steps) in self._made.items():
            self._finish(made, kind, steps)
        parts = self._in_order()
        flags = self._flags & __future__.annotations.compiler_flag
        head = [
            f'"""The workflow {name}. {_MARK}"""',
            "from __future__ import annotations" if flags else "",
            import_lines(self._imports.values()),
            "\n".join(part.text for part in parts if part.is_value),
        ]
        text = "\n\n".join(section for section in head if section)
        before = ""
        for section in [*(part.text for part in parts if not part.is_value), main]:
            # Definitions stand apart, assignments in a row do not.
            apart = _DEFINES.search(section) or _DEFINES.search(before) or not before
            text += ("\n\n\n" if apart else "\n") + section if section else ""
            before = section
        return text + "\n"

    def _in_order(self) -> list[_Part]:
        """The definitions as their cells ran, each below what it needs."""
        left = sorted(self._parts.values(), key=lambda part: part.place)
        done: list[_Part] = [part for part in left if part.is_value]
        left = [part for part in left if not part.is_value]
        while left:
            open_names = {part.name for part in left}
            free = [p for p in left if not (p.needs - {p.name}) & open_names]
            done.append(min(free or left, key=lambda part: part.place))
            left.remove(done[-1])
        return done

    def _add_rest_of_cell(self, name: str) -> None:
        """Add what else the workflow's own cell defines, for who imports the module."""
        if origin := ORIGINS.get(self._workflow):
            cell = self._cells.cell(origin.file)
            for other, line in defined_names(cell.tree).items():
                value = self._names.get(other)
                statement: Statement | None = None
                if isinstance(value, type):
                    statement = self._cells.class_statement(value)
                elif inspect.isfunction(plain := unwrapped(value)):
                    statement = self._cells.function_statement(plain)
                is_step = other in self._made[name][1]
                if statement and statement.cell is cell and not is_step:
                    self._take(other, _Use(f"%%workflow {name}", cell.file, line))

    def _main(self, name: str, run: Mapping[str, str]) -> str:
        """What the module does as a program: one run, its result printed."""
        fields = ", ".join(f"{key}={value}" for key, value in run.items())
        main = "main" if "main" not in self._parts else f"run_{name.lower()}"
        text = (
            f"async def {main}() -> None:\n"
            f"    print(await {name}().run({fields}))\n\n\n"
            f'if __name__ == "__main__":\n'
            f"    asyncio.run({main}())"
        )
        for used, _, _ in globals_of(compile(text, self._file, "exec")):
            if used not in (main, name, "asyncio", "print"):
                self._take(used, _Use("--run"))
        self._imports["asyncio"] = "import asyncio"
        return text

    # -- names ---------------------------------------------------------------------

    def _follow(self, statement: Statement, user: str) -> set[str]:
        """Add what a statement uses; gives the names that it needs above it."""
        needs: set[str] = set()
        file = statement.cell.file
        own = getattr(statement.node, "name", "")
        self._flags |= statement.cell.flags
        code = compile(statement.tree, file, "exec", dont_inherit=True)
        for name, line, at_once in globals_of(code):
            self._take(name, _Use(user, file, line))
            if at_once:
                needs.add(name)
        for name, line in names_in_text(statement.node):
            if name in self._names:
                self._take(name, _Use(user, file, line))
                needs.add(name)
        return needs - {own}

    def _take(self, name: str, use: _Use) -> None:
        """See to it that a name is there when the module is imported."""
        for _, steps in self._made.values():
            if name in steps and self._is_step(name, steps[name]):
                self._called.add(name)
                return
        if name in self._begun or re.fullmatch("__.*__", name):
            return
        self._begun.add(name)
        if name not in self._names and name in stepwell.__all__:
            self._imports[name] = f"from stepwell import {name}"
            return
        if name == "get_ipython":
            why = "it stands for a magic or a `!` command, which only IPython knows"
            raise self._refusal(name, use, why)
        if name not in self._names and name != "display":
            if not hasattr(builtins, name):
                raise self._refusal(name, use, "it is not defined")
            self._builtins[name] = use
            return
        value = self._names.get(name, getattr(builtins, name, None))
        if statement := self._imported(name, value):
            self._imports[name] = statement
        elif isinstance(value, type):
            self._add_class(name, value, use)
        elif inspect.isfunction(unwrapped(value)):
            self._add_function(name, value, use)
        elif not self._add_value(name, value):
            kind = type(value).__name__
            article = "an" if kind[0] in "aeiouAEIOU" else "a"
            why = f"it is {article} {kind} that the notebook made"
            raise self._refusal(name, use, why)

    def _is_step(self, name: str, statement: Statement) -> bool:
        """Whether a variable is the function of a step, and not a builtin beside it."""
        function = unwrapped(self._names.get(name))
        return inspect.isfunction(function) and (
            function.__code__.co_filename == statement.cell.file
        )

    def _refusal(self, name: str, use: _Use, why: str) -> MagicError:
        where = f"{use.user} uses it"
        if use.file:
            where += f" ({kernel.cell_name(use.file)}, line {use.line})"
        return MagicError(
            f"`{name}` cannot be written into {self._file}: {why}. {where}.",
            hint="Make it in the step, or in a function that the step calls; nothing "
            "was written.",
        )

    def _imported(self, name: str, value: Any) -> str | None:
        """An import statement that gives a name this value, if there is one."""
        for statement in self._cells.imports(name):
            if imported_from(statement) is value is not None:
                return statement
        if name in stepwell.__all__ and getattr(stepwell, name) is value:
            return f"from stepwell import {name}"
        if isinstance(value, types.ModuleType):
            as_name = "" if value.__name__ == name else f" as {name}"
            return f"import {value.__name__}{as_name}"
        if name == "display" and name not in self._names:
            return "from IPython.display import display"
        module = getattr(value, "__module__", None)
        said = getattr(value, "__qualname__", None)
        if not (isinstance(module, str) and isinstance(said, str)):
            return None
        as_name = "" if said == name else f" as {name}"
        statement = f"from {module} import {said}{as_name}"
        if module == "__main__" or imported_from(statement) is not value:
            return None
        return statement

    # -- definitions ---------------------------------------------------------------

    def _add_class(self, name: str, kind: type, use: _Use) -> None:
        origin = ORIGINS.get(kind)
        if kind.__name__ != name and self._names.get(kind.__name__) is kind:
            self._add_alias(name, kind.__name__, use)
        elif issubclass(kind, Workflow):
            self._add_workflow(name, kind, use)
        elif origin and issubclass(kind, Event):
            self._add_event(name, origin, use)
        elif found := self._cells.class_statement(kind):
            self._add_statement(name, found, f"class `{name}`")
        elif not self._add_value(name, kind):
            raise self._refusal(name, use, "its cell is not found")

    def _add_function(self, name: str, value: Any, use: _Use) -> None:
        function = unwrapped(value)
        other = function.__name__
        if other != name and self._names.get(other) is value:
            self._add_alias(name, other, use)
        elif found := self._cells.function_statement(function):
            self._add_statement(name, found, f"function `{name}`")
        elif not self._add_value(name, value):
            outer = function.__qualname__.partition(".<locals>")[0]
            why = f"it is a function that `{outer}` made"
            if outer == function.__qualname__:
                why = "its cell is not found"
            raise self._refusal(name, use, why)

    def _add_alias(self, name: str, other: str, use: _Use) -> None:
        self._take(other, use)
        self._parts[name] = _Part(name, f"{name} = {other}", _LAST, {other})

    def _add_statement(self, name: str, found: Statement, user: str) -> None:
        part = self._parts[name] = _Part(name, found.text, found.place)
        part.needs = self._follow(found, user)

    def _add_value(self, name: str, value: Any) -> bool:
        """Add a variable, by its assignment if doing that again gives the same."""
        found = self._cells.assignment(name)
        text = literal(value)
        if found and says_again(found, value, self._names):
            self._add_statement(name, found, f"`{name}`")
        elif text is None:
            return False
        else:
            place = found.place if found else (0, 0)
            self._parts[name] = _Part(name, f"{name} = {text}", place)
        self._parts[name].is_value = text is not None
        return True

    def _add_event(self, name: str, origin: Origin, use: _Use) -> None:
        """Add an event that `%%event` made, as a class."""
        cell = self._cells.cell(origin.file)
        whole = event_module(name, ast.parse("\n".join(cell.lines)), 1)
        made = whole.body[-1]
        assert isinstance(made, ast.ClassDef)
        if any(isinstance(item, ast.Assign) for item in whole.body):
            raise self._refusal(name, use, "a field of it is awaited")
        gone: set[int] = set()
        for item in cell.tree.body:
            if isinstance(item, ast.Import | ast.ImportFrom):
                gone.update(range(item.lineno, (item.end_lineno or 0) + 1))
        kept = [line for n, line in enumerate(cell.lines, 1) if n not in gone]
        body = "\n".join(kept).strip("\n").split("\n")
        if isinstance(made.body[0], ast.Pass):
            body.append("pass")
        text = "\n".join([f"class {name}({origin.base}):", *indented(body)])
        made.bases = [ast.parse(origin.base, mode="eval").body]
        part = self._parts[name] = _Part(name, text, _LAST)
        statement = Statement(cell, ast.fix_missing_locations(made))
        part.place = (cell.number, 0)
        part.needs = self._follow(statement, f"event `{name}`")

    # -- workflows -----------------------------------------------------------------

    def _add_workflow(self, name: str, kind: type[Workflow], use: _Use) -> None:
        """Add a workflow: its class, and the steps that are not written in it."""
        found = None if kind in ORIGINS else self._cells.class_statement(kind)
        if found is None and kind not in ORIGINS:
            raise self._refusal(name, use, "its cell is not found")
        steps = self._free_steps(kind, use)
        self._made[name] = (kind, steps)
        if found:
            self._add_statement(name, found, f"workflow `{name}`")
        for step_name, statement in steps.items():
            key = f"{name}.{step_name}"
            part = self._parts[key] = _Part(key, statement.text, statement.place)
            part.needs = self._follow(statement, f"step `{step_name}`") | {name}

    def _free_steps(self, kind: type[Workflow], use: _Use) -> dict[str, Statement]:
        """The steps that are functions, not methods, and not those of a base."""
        inherited: set[Any] = set()
        for base in kind.__mro__[1:]:
            if issubclass(base, Workflow) and base is not Workflow:
                with contextlib.suppress(StepwellError):
                    inherited |= {spec.function for spec in base.compile().steps}
        steps: dict[str, Statement] = {}
        for spec in kind.compile().steps:
            if not spec.bound and spec.function not in inherited:
                found = self._cells.function_statement(unwrapped(spec.function))
                if found is None:
                    raise self._refusal(spec.name, use, "its cell is not found")
                steps[spec.name] = found
        return steps

    def _finish(
        self, name: str, kind: type[Workflow], steps: dict[str, Statement]
    ) -> None:
        """Decide which steps are methods and which are functions, and write them so."""
        origin = ORIGINS.get(kind)
        found = None if origin else self._cells.class_statement(kind)
        workers = origin.workers if origin else None
        # As functions they may be called, and have names that workflows have.
        are_functions = any(n in self._called or hasattr(Workflow, n) for n in steps)
        all_fit = not are_functions and all(map(can_be_method, steps.values()))
        methods: dict[str, list[str]] = {}
        needs: set[str] = set()
        place = min((each.place for each in steps.values()), default=_LAST)
        for step_name, statement in steps.items():
            part = self._parts[f"{name}.{step_name}"]
            if all_fit if found is None else step_name in methods_of(found):
                # In a class it stands where the method stands whose place it took.
                methods[step_name] = method(statement, name, workers)
                needs |= part.needs - {name}
                del self._parts[part.name]
            elif use := self._builtins.get(step_name):
                why = (
                    f"it is a step too, in a place where it hides Python's {step_name}"
                )
                raise self._refusal(step_name, use, why)
            else:
                part.text = "\n".join(decorated(statement, name, name, workers))
        if steps:
            self._imports.setdefault("step", "from stepwell import step")
        if found:
            self._parts[name].text = "\n".join(with_methods(found, methods))
            self._parts[name].needs |= needs
        elif origin:
            self._imports.setdefault("Workflow", "from stepwell import Workflow")
            about = vars(kind).get("__doc__") or ""
            lines = class_lines(name, about, origin.timeout, methods.values())
            self._parts[name] = _Part(name, "\n".join(lines), place, needs)
