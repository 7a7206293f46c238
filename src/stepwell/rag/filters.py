"""Which chunks a search may find, by their metadata: MetadataFilters.

Says what a filter is and whether some metadata passes it. Applied in
`retrieve.py`; a plain dictionary is made into filters here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field, model_validator

from .errors import InvalidOptionError


class FilterOperator(StrEnum):
    """How the value in the metadata is compared with that of the filter."""

    EQ = "=="
    NE = "!="
    GT = ">"
    GTE = ">="
    LT = "<"
    LTE = "<="
    IN = "in"
    """The metadata's value is one of a list."""
    NIN = "nin"
    """It is none of a list, or there is no value."""
    CONTAINS = "contains"
    """The metadata's value is a list, and this is in it."""
    ANY = "any"
    """The metadata's value is a list that shares something with this one."""
    ALL = "all"
    """The metadata's value is a list that has all of this one."""
    TEXT_MATCH = "text_match"
    """The metadata's value is a text that holds this one."""
    TEXT_MATCH_INSENSITIVE = "text_match_insensitive"
    """The same, whether letters are large or small."""
    IS_EMPTY = "is_empty"
    """There is no value, or it is None, an empty text or an empty list."""


class FilterCondition(StrEnum):
    """How several filters combine."""

    AND = "and"
    OR = "or"
    NOT = "not"
    """None of the filters may fit."""


class MetadataFilter(BaseModel):
    """One condition on a chunk's metadata, for instance ``year >= 2024``.

    Metadata without the key passes ``!=``, ``nin`` and ``is_empty`` and nothing
    else; values that cannot be compared, such as a text and a number, do not fit.

    Example:
        >>> recent = MetadataFilter(key="year", value=2024, operator=">=")
        >>> recent.matches({"year": 2025}), recent.matches({})
        (True, False)
    """

    key: str
    value: Any = None
    operator: FilterOperator = FilterOperator.EQ

    @model_validator(mode="after")
    def _check(self) -> MetadataFilter:
        wants_list = self.operator.value in ("in", "nin", "any", "all")
        if wants_list and not isinstance(self.value, list | tuple | set | frozenset):
            raise ValueError(
                f"The operator {self.operator.value!r} on {self.key!r} needs a list "
                f"of values, not {self.value!r}."
            )
        return self

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Tell whether the metadata fits."""
        return _TESTS[self.operator](metadata.get(self.key), self.value)


class MetadataFilters(BaseModel):
    """Several conditions on a chunk's metadata; each may again be several.

    Args:
        filters: `MetadataFilter`, or `MetadataFilters` in them.
        condition: ``"and"`` (the default), ``"or"``, or ``"not"``.

    Example:
        >>> filters = MetadataFilters(
        ...     filters=[
        ...         MetadataFilter(key="file_type", value=["md", "rst"], operator="in"),
        ...         MetadataFilter(key="year", value=2024, operator=">="),
        ...     ]
        ... )
        >>> filters.matches({"file_type": "md", "year": 2026})
        True
    """

    filters: list[MetadataFilter | MetadataFilters] = Field(default_factory=list)
    condition: FilterCondition = FilterCondition.AND

    @classmethod
    def from_dict(cls, wanted: Mapping[str, Any]) -> MetadataFilters:
        """Return filters for values by key; a list of values means any of them."""
        return cls(
            filters=[
                MetadataFilter(key=key, value=list(value), operator=FilterOperator.IN)
                if isinstance(value, list | tuple | set | frozenset)
                else MetadataFilter(key=key, value=value)
                for key, value in wanted.items()
            ]
        )

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Tell whether the metadata fits; without a filter everything does."""
        if not self.filters:
            return True
        fits = (one.matches(metadata) for one in self.filters)
        if self.condition is FilterCondition.AND:
            return all(fits)
        found = any(fits)
        return found if self.condition is FilterCondition.OR else not found


Filters = Mapping[str, Any] | MetadataFilter | MetadataFilters
"""What may be passed where filters are asked for."""


def as_filters(wanted: Filters | None) -> MetadataFilters | None:
    """Return what was passed as filters; None where everything passes.

    Raises:
        InvalidOptionError: It is nothing of the kind.
    """
    if wanted is None:
        return None
    if isinstance(wanted, MetadataFilter):
        wanted = MetadataFilters(filters=[wanted])
    elif isinstance(wanted, Mapping):
        wanted = MetadataFilters.from_dict(wanted)
    if not isinstance(wanted, MetadataFilters):
        raise InvalidOptionError(
            f"filters= takes a dictionary such as {{'file_name': 'guide.md'}} or "
            f"MetadataFilters(filters=[MetadataFilter(...)]), not {wanted!r}."
        )
    return wanted if wanted.filters else None


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(value: Any, wanted: Any) -> bool:
        try:
            return bool(compare(value, wanted))
        except TypeError:  # a text and a number, or nothing and something
            return False

    return test


def _listed(value: Any) -> list[Any]:
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    return []


def _holds(value: Any, wanted: Any) -> bool:
    return isinstance(value, str) and str(wanted) in value


def _holds_insensitive(value: Any, wanted: Any) -> bool:
    return isinstance(value, str) and str(wanted).casefold() in value.casefold()


# Lists are searched by `in`, not as sets: metadata need not be hashable.
_TESTS: dict[FilterOperator, Callable[[Any, Any], bool]] = {
    FilterOperator.EQ: lambda value, wanted: bool(value == wanted),
    FilterOperator.NE: lambda value, wanted: bool(value != wanted),
    FilterOperator.GT: _ordered(operator.gt),
    FilterOperator.GTE: _ordered(operator.ge),
    FilterOperator.LT: _ordered(operator.lt),
    FilterOperator.LTE: _ordered(operator.le),
    FilterOperator.IN: lambda value, wanted: value in _listed(wanted),
    FilterOperator.NIN: lambda value, wanted: value not in _listed(wanted),
    FilterOperator.CONTAINS: lambda value, wanted: wanted in _listed(value),
    FilterOperator.ANY: lambda value, wanted: any(w in _listed(value) for w in wanted),
    FilterOperator.ALL: lambda value, wanted: all(w in _listed(value) for w in wanted),
    FilterOperator.TEXT_MATCH: _holds,
    FilterOperator.TEXT_MATCH_INSENSITIVE: _holds_insensitive,
    FilterOperator.IS_EMPTY: lambda value, _: value in (None, "", [], (), {}),
}
