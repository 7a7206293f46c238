"""Drawing a workflow, as far as the engine knows: that somebody else does it.

`Drawable` gives workflows and their classes the methods that people look for; a
viewer registers itself with `draw_with`. The face registers the notebook room, which is
loaded when something is first drawn.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import MethodType
from typing import Any, Literal, Protocol, cast, overload

from stepwell.errors import StepwellError

__all__ = ["Drawable", "Drawer", "draw_with"]

_Path = str | os.PathLike[str]


class Drawer(Protocol):
    """What draws workflows."""

    def __call__(
        self,
        workflow: Any,
        format: str | None,
        *,
        path: _Path | None = None,
        resources: bool = False,
    ) -> str | bytes:
        """Draw a workflow class or instance, as `Drawable.draw` says."""
        ...


_drawer: Drawer | None = None


def draw_with(drawer: Drawer | None) -> Drawer | None:
    """Let a viewer draw workflows.

    Args:
        drawer: Called with the class or instance each time one is to be drawn. None
            removes it.

    Returns:
        The drawer there was before.
    """
    global _drawer
    previous, _drawer = _drawer, drawer
    return previous


class Drawable:
    """The methods by which a workflow is drawn, on its class and on an instance alike.

    A step may have the name of one of them: it is a step then, and the method stays.
    """

    __slots__ = ()

    @overload
    @classmethod
    def draw(
        cls,
        format: Literal["png"],
        *,
        path: _Path | None = None,
        resources: bool = False,
    ) -> bytes: ...

    @overload
    @classmethod
    def draw(
        cls,
        format: Literal["svg", "html", "dot", "mermaid"],
        *,
        path: _Path | None = None,
        resources: bool = False,
    ) -> str: ...

    @overload
    @classmethod
    def draw(
        cls, format: None = None, *, path: None = None, resources: bool = False
    ) -> str: ...

    @overload
    @classmethod
    def draw(
        cls,
        format: str | None = None,
        *,
        path: _Path | None = None,
        resources: bool = False,
    ) -> str | bytes: ...

    @classmethod
    def draw(
        cls,
        format: str | None = None,
        *,
        path: _Path | None = None,
        resources: bool = False,
    ) -> str | bytes:
        """Draw the graph of the workflow; works on its class and on an instance.

        Without `format` and `path` it is an SVG, which a notebook shows as a picture.
        The `dot` program or a `pygraphviz` wheel place the boxes if they are there;
        only "png" needs one of them.

        Args:
            format: One of "svg", "png", "dot", "mermaid", "html". By default what the
                suffix of `path` says, and "svg" where there is no path.
            path: Where to write it as well, if anywhere.
            resources: Also draw what is injected into steps.

        Returns:
            The drawing: bytes for "png", else text.

        Raises:
            DrawingError: From `stepwell.notebook`: it cannot be drawn or written so.
        """
        return _draw(cls, format, path=path, resources=resources)

    @classmethod
    def to_dot(cls, *, resources: bool = False) -> str:
        """Give the graph of the workflow as DOT text, for Graphviz.

        Args:
            resources: Also what is injected into steps.
        """
        return cast("str", _draw(cls, "dot", resources=resources))

    @classmethod
    def to_mermaid(cls, *, resources: bool = False) -> str:
        """Give the graph of the workflow as mermaid text, for documents.

        Args:
            resources: Also what is injected into steps.
        """
        return cast("str", _draw(cls, "mermaid", resources=resources))


def _draw(
    workflow: object,
    format: str | None,
    *,
    path: _Path | None = None,
    resources: bool = False,
) -> str | bytes:
    if _drawer is None:
        raise StepwellError(
            "nothing is registered that draws workflows.",
            hint="`import stepwell` registers it, and draw_with(None) takes it away.",
        )
    return _drawer(workflow, format, path=path, resources=resources)


class _OfBoth:
    """A method of a class that is handed the instance where it is called on one."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__func__ = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: object, owner: type) -> MethodType:
        return MethodType(self.__func__, owner if instance is None else instance)


# For type checkers they are class methods, which is how they are called; in truth an
# instance is drawn with its own name.
for _name in ("draw", "to_dot", "to_mermaid"):
    setattr(Drawable, _name, _OfBoth(vars(Drawable)[_name].__func__))
