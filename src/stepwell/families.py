"""Classes that one place defined again and again: a cell that was run twice.

Events and workflows are redefined all the time in a notebook. What that means for
an event is in `events`, for a workflow in `workflow`.
"""

from __future__ import annotations

import weakref

__all__ = ["Family", "join_family"]


class Family:
    """The definitions of one class, by module and qualified name.

    Attributes:
        members: How many there have been.
        newest: The last of them.
    """

    __slots__ = ("__weakref__", "members", "newest")

    def __init__(self) -> None:
        self.members = 0
        self.newest: weakref.ref[type] | None = None

    def newest_or(self, cls: type) -> type:
        """The last definition; `cls` where that is gone."""
        newest = self.newest() if self.newest is not None else None
        return cls if newest is None else newest


_families: weakref.WeakValueDictionary[tuple[type, str, str], Family] = (
    weakref.WeakValueDictionary()
)


def join_family(cls: type, namespace: object) -> Family | None:
    """Note that a class was defined; None where it can have no other definition.

    Only a class statement sets `__qualname__`, and one inside a function is executed
    as often as that is called: classes that happen to share a name are strangers.

    Args:
        cls: The class.
        namespace: What its body left behind.
    """
    qualname = cls.__qualname__
    if "<locals>" in qualname:
        return None
    if not isinstance(namespace, dict) or "__qualname__" not in namespace:
        return None
    key = (type(cls), cls.__module__, qualname)
    family = _families.get(key)
    if family is None:
        family = _families[key] = Family()
    family.members += 1
    family.newest = weakref.ref(cls)
    return family
