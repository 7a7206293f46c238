"""Things that steps are given besides events: made by a factory, or read from JSON.

A parameter asks with `Annotated[T, Resource(make_it)]`. Which parameters of a step
do so is read in `signature`; here is how a thing is made, once for all who ask. No
primitive of an event loop is kept: loops come and go, and threads have their own.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import typing
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import Future
from copy import copy
from functools import partial
from types import MethodType
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel, ValidationError

from stepwell.errors import WorkflowValidationError, did_you_mean

__all__ = [
    "Resource",
    "ResourceConfig",
    "ResourceCycleError",
    "ResourceDefinition",
    "ResourceDescriptor",
    "ResourceError",
    "ResourceFileNotFoundError",
    "ResourceManager",
    "find_problems",
]


class ResourceError(WorkflowValidationError, ValueError):
    """A resource cannot be given as it is declared."""


class ResourceFileNotFoundError(ResourceError, FileNotFoundError):
    """The file of a `ResourceConfig` is not there."""


class ResourceCycleError(ResourceError):
    """To make a resource, that resource is needed; `chain` names the way round."""

    def __init__(self, chain: Sequence[str]) -> None:
        super().__init__(
            f"circular resources, each needs the next: {' -> '.join(chain)}.",
            hint="Let one of these factories do without the next one.",
        )
        self.chain = tuple(chain)


@runtime_checkable
class ResourceDescriptor(Protocol):
    """What may stand in `Annotated[T, …]` to have a parameter filled.

    `name` is what it is called in messages and in `ResourceManager.set`; `cache`
    says whether it is made once per manager, or anew for each call.
    """

    name: str
    cache: bool

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    async def resolve(self, manager: ResourceManager) -> Any:
        """Make the value; what it needs itself comes from `manager.get`."""

    def set_type_annotation(self, type_annotation: Any) -> None:
        """Take note of the `T`."""

    def set_localns(self, localns: dict[str, Any] | None) -> None:
        """Take note of the local names where the parameter was written."""

    def get_dependencies(self) -> Sequence[tuple[str, ResourceDescriptor, Any]]:
        """What it needs itself: parameter name, descriptor, annotated type."""
        return ()


class ResourceDefinition(NamedTuple):
    """What a parameter is given: its `name`, the `resource`, the annotated type."""

    name: str
    resource: ResourceDescriptor
    type_annotation: Any = None

    @classmethod
    def bind(
        cls,
        name: str,
        resource: ResourceDescriptor,
        kind: Any,
        names: Mapping[str, Any],
    ) -> ResourceDefinition:
        """The definition of a parameter annotated `Annotated[kind, resource]`.

        The resource is copied: the same one may stand at two places. `names` are the
        local names where it was written, for annotations in quotes.

        Raises:
            ResourceError: The resource cannot be of that type.
        """
        if isinstance(resource, Resource | ResourceConfig):
            resource = copy(resource)
        resource.set_type_annotation(kind)
        resource.set_localns(dict(names))
        return cls(name, resource, kind)


class Resource(ResourceDescriptor):
    """What a factory makes: `Annotated[T, Resource(factory)]`.

    Parameters of the factory may be annotated in the same way; others need a default.
    A factory that is not async runs on the event loop.

    Args:
        factory: Makes the value; one that gives back an awaitable is awaited.
        cache: True to make it once per manager; False to make it anew for each call
            of a step, and then once for everything in that call that needs it.
    """

    def __init__(self, factory: Callable[..., Any], cache: bool = True) -> None:
        if not callable(factory):
            raise ResourceError(f"Resource takes a function, not {factory!r}.")
        self.factory = factory
        self.cache = cache
        self._written = factory.func if isinstance(factory, partial) else factory
        kind = type(self._written).__name__
        self.name = getattr(self._written, "__qualname__", kind)
        self._localns: dict[str, Any] = {}
        self._needs: list[ResourceDefinition] | None = None

    @property
    def description(self) -> str | None:
        """The docstring of the factory."""
        return inspect.getdoc(self._written)

    @property
    def source(self) -> tuple[str, int] | None:
        """File and line where the factory is written, None where nobody knows."""
        try:
            line = inspect.getsourcelines(self._written)[1]
            return inspect.getfile(self._written), line
        except Exception:  # compiled, typed in, deleted: only a drawing lacks a line
            return None

    async def resolve(self, manager: ResourceManager) -> Any:
        """Make the value, with what the factory needs taken from `manager`."""
        needs = self.get_dependencies()
        given = {each.name: await manager.get(each.resource) for each in needs}
        try:
            made = self.factory(**given)
            return await made if inspect.isawaitable(made) else made
        except Exception as error:
            error.add_note(f"while making the resource `{self.name}`")
            raise

    def set_localns(self, localns: dict[str, Any] | None) -> None:
        """Take note of the local names where the parameter was written."""
        self._localns, self._needs = localns or {}, None

    def get_dependencies(self) -> list[ResourceDefinition]:
        """What its factory asks for, in the order of its parameters.

        Raises:
            ResourceError: An annotation cannot be resolved, or nothing can be given
                for a parameter.
        """
        if self._needs is not None:
            return self._needs
        try:
            parameters = list(self._parameters())
        except ResourceError:
            raise  # by a Resource(…) in quotes
        except Exception as error:
            raise ResourceError(
                f"an annotation of the factory `{self.name}` cannot be read: {error}.",
                hint="Define or import what it names where the factory or the step is "
                "written, and not for the type checker alone.",
            ) from None
        needs, lacking = [], []
        for name, default, hint in parameters:
            kind, *marks = typing.get_args(hint) or (hint,)
            marks = [mark for mark in marks if isinstance(mark, ResourceDescriptor)]
            if marks:
                bind = ResourceDefinition.bind
                needs.append(bind(name, marks[0], kind, self._localns))
            elif default is inspect.Parameter.empty:
                lacking.append(f"`{name}`")
        if lacking:
            raise ResourceError(
                f"the factory `{self.name}` cannot be given {', '.join(lacking)}.",
                hint="Annotate it `Annotated[T, Resource(make_it)]` or give a default.",
            )
        self._needs = needs
        return needs

    def _parameters(self) -> Iterator[tuple[str, Any, Any]]:
        """Name, default and annotation of each parameter that might be filled."""
        try:
            parameters = dict(inspect.signature(self.factory).parameters)
        except ValueError:
            return  # written in C, and silent about its parameters
        for name in self.factory.keywords if isinstance(self.factory, partial) else ():
            parameters.pop(name, None)
        function: Any = inspect.unwrap(self._written)
        if not inspect.isroutine(function):  # a class, or an object with __call__
            is_class = isinstance(function, type)
            function = function.__init__ if is_class else type(function).__call__
        outer, names = getattr(function, "__globals__", {}), self._localns
        if "<locals>" not in function.__qualname__:
            # Written at the top of some module: what that module says comes first.
            names = {name: names[name] for name in names.keys() - outer.keys()}

        def probe() -> None: ...  # the return annotation is nobody's business here

        probe.__annotations__ = {name: p.annotation for name, p in parameters.items()}
        hints = typing.get_type_hints(probe, outer, names, include_extras=True)
        for name, each in parameters.items():
            if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
                yield name, each.default, hints[name]


class ResourceConfig(ResourceDescriptor):
    """What a JSON file says: `Annotated[Model, ResourceConfig("settings.json")]`.

    The file is read once per manager; `Model` is a pydantic model.

    Args:
        config_file: The file, relative to the folder that Python runs in.
        path_selector: Dotted keys to the part that is wanted, as in "model.retry".
        label: A short name, for drawings.
        description: What the settings are for, for drawings.
    """

    def __init__(
        self,
        config_file: str | os.PathLike[str],
        path_selector: str | None = None,
        label: str | None = None,
        description: str | None = None,
    ) -> None:
        self.config_file = os.fspath(config_file)
        if not self.config_file.lower().endswith(".json"):
            raise ResourceError(
                f"ResourceConfig reads .json files, not {self.config_file!r}.",
                hint="Read other formats in a factory: Resource(read_it).",
            )
        self.path_selector = path_selector
        self.label = label
        self.description = description
        self.name = ".".join(filter(None, (self.config_file, path_selector)))
        self.cache = True
        self.model: type[BaseModel] | None = None

    def read(self) -> Any:
        """The JSON value at the selector, as the file has it now.

        Raises:
            ResourceFileNotFoundError: There is no such file.
            ResourceError: It is no JSON, or has nothing at the selector.
        """
        import json  # late: few programs need it, and a plain import stays light

        file = repr(self.config_file)
        try:
            with open(self.config_file, encoding="utf-8-sig") as opened:
                value = json.load(opened)
        except FileNotFoundError:
            raise ResourceFileNotFoundError(
                f"there is no file {file}; relative paths start at {os.getcwd()!r}."
            ) from None
        except (OSError, ValueError) as error:
            raise ResourceError(f"{file} cannot be read as JSON: {error}.") from error
        inside = "the file"
        for part in self.path_selector.split(".") if self.path_selector else ():
            known = list(value) if isinstance(value, dict) else []
            if part not in known:
                raise ResourceError(
                    f"{file} has nothing at {self.path_selector!r}: {inside} has no "
                    f"key {part!r}; it has: {', '.join(known) or 'none'}."
                    + did_you_mean(part, known)
                )
            value, inside = value[part], repr(part)
        return value

    def load(self) -> BaseModel:
        """The model, filled with what `read` gives; ResourceError if that fails."""
        if self.model is None:
            raise ResourceError(f"no `Annotated[Model, …]` says what {self!r} fills.")
        try:
            return self.model.model_validate(self.read())
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, each['loc'])) or 'the whole'}: {each['msg']}"
                for each in error.errors()
            )
            problem = f"{self.name!r} does not fit {self.model.__name__}: {wrong}."
            raise ResourceError(problem) from error

    async def resolve(self, manager: ResourceManager) -> BaseModel:
        """The model, filled from the file as it is now."""
        return self.load()

    def set_type_annotation(self, type_annotation: Any) -> None:
        """Take note of the model to fill; ResourceError where it is none."""
        is_class = isinstance(type_annotation, type)
        if not is_class or not issubclass(type_annotation, BaseModel):
            problem = f"{self!r} fills a pydantic model, not {type_annotation!r}."
            raise ResourceError(problem)
        self.model = type_annotation


class ResourceManager:
    """Makes resources for the steps of a workflow, and keeps those that are cached.

    It may be used on several event loops, after one another or at once in threads.
    """

    def __init__(self) -> None:
        self._set: dict[str, Any] = {}
        # The descriptor is kept with the value so that its key stays its own.
        self._made: dict[object, tuple[ResourceDescriptor, Any]] = {}
        # Cached ones that are being made: what to wait for, and whose loop it needs.
        self._making: dict[object, tuple[_Done, asyncio.AbstractEventLoop]] = {}
        # Taken twice by a thread when what a dead loop left is collected meanwhile.
        self._lock = threading.RLock()
        # Of one resolution: what is being made, and what was made for it alone.
        self._above: dict[object, str] = {}
        self._fresh: dict[object, tuple[ResourceDescriptor, Any]] | None = None

    @property
    def overrides(self) -> dict[str, Any]:
        """What was `set`, by name."""
        return dict(self._set)

    async def set(self, name: str, value: Any) -> None:
        """Give `value` from now on for every resource of this name."""
        self._set[name] = value

    def get_all(self) -> dict[str, Any]:
        """What was set or is kept so far, by name."""
        made = list(self._made.values())
        return {resource.name: value for resource, value in made} | self._set

    async def resolve(
        self, definitions: Sequence[ResourceDefinition]
    ) -> dict[str, Any]:
        """The values for one call, by parameter; raises as `get` does.

        What is not cached is made once for this call, however many need it.
        """
        within = copy(self)
        within._fresh = {}
        return {each.name: await within.get(each.resource) for each in definitions}

    async def get(self, resource: ResourceDescriptor) -> Any:
        """The value of one resource, made now if need be.

        A cached one is made once, however many ask at the same moment. When that
        fails, all of them get the error and nothing is kept; when the one who makes
        it is cancelled, another takes over.

        Raises:
            ResourceError: It cannot be given as it is declared.
            Exception: What the factory raised, with a note naming the resource.
        """
        if resource.name in self._set:
            return self._set[resource.name]
        key = _key(resource)
        kept = self._made if resource.cache else self._fresh
        if kept and key in kept:
            return kept[key][1]
        if key in self._above:
            raise ResourceCycleError([*self._above.values(), resource.name])
        # What it needs is got from a view: this manager, one level further down.
        view = copy(self)
        view._above = {**self._above, key: resource.name}
        view._fresh = {} if self._fresh is None else self._fresh
        if not resource.cache:
            view._fresh[key] = resource, await resource.resolve(view)
            return view._fresh[key][1]
        mine = await self._wait_for_others(resource, key)
        if mine is None:
            return self._made[key][1]
        try:
            value = await resource.resolve(view)
        except Exception as error:
            self._end(key, mine, error)
            raise
        except BaseException:  # cancelled, or its loop is gone: another takes over
            self._end(key, mine, None)
            raise
        self._made[key] = resource, value
        self._end(key, mine, None)
        return value

    async def _wait_for_others(
        self, resource: ResourceDescriptor, key: object
    ) -> _Done | None:
        """None once somebody made it; otherwise what to end when it is made."""
        while True:
            with self._lock:
                if key in self._made:
                    return None
                if key not in self._making:
                    mine: _Done = Future()
                    # A running one cannot be cancelled, nor by one who waits for it.
                    mine.set_running_or_notify_cancel()
                    self._making[key] = mine, asyncio.get_running_loop()
                    return mine
                making, loop = self._making[key]
            if loop.is_closed():
                self._end(key, making, None)
                continue
            # Two that need each other would wait for each other for ever.
            for problem in _problems(resource, self._above, set(), False, self._set):
                if isinstance(problem, ResourceCycleError):
                    raise problem
            if error := await asyncio.wrap_future(making):
                raise error

    def _end(self, key: object, making: _Done, error: Exception | None) -> None:
        with self._lock:
            if key in self._making and self._making[key][0] is making:
                del self._making[key]
                making.set_result(error)


_Done = Future[Exception | None]


def find_problems(
    definitions: Sequence[ResourceDefinition],
    *,
    configs: bool = True,
    given: Container[str] = (),
) -> list[str]:
    """What is wrong with these resources, as far as can be told without making them.

    Args:
        definitions: What the parameters of a step ask for.
        configs: Whether to read the files of `ResourceConfig` too.
        given: Names that are not looked at, as in `ResourceManager.overrides`.

    Returns:
        A sentence or two for each problem, beginning with the parameter.
    """
    seen: set[object] = set()
    return [
        f"parameter `{name}`: {' '.join(filter(None, (each.message, each.hint)))}"
        for name, resource, _ in definitions
        for each in _problems(resource, {}, seen, configs, given)
    ]


def _problems(
    resource: ResourceDescriptor,
    above: dict[object, str],
    seen: set[object],
    configs: bool,
    given: Container[str],
) -> Iterator[ResourceError]:
    key = _key(resource)
    if key in above:
        yield ResourceCycleError([*above.values(), resource.name])
    elif key not in seen and resource.name not in given:
        seen.add(key)
        try:
            if configs and isinstance(resource, ResourceConfig):
                resource.load()
            for _, need, _ in resource.get_dependencies():
                below = {**above, key: resource.name}
                yield from _problems(need, below, seen, configs, given)
        except ResourceError as error:
            yield error


def _key(resource: ResourceDescriptor) -> object:
    """What tells a resource from others: its factory, whatever its name."""
    if isinstance(resource, ResourceConfig):
        return resource.name, resource.model
    if isinstance(resource, Resource):
        # A method is a new object at each look-up, and compares well.
        is_method = isinstance(resource.factory, MethodType)
        return resource.factory if is_method else id(resource.factory)
    return type(resource), resource.name
