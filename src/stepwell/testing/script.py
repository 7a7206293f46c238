"""What a test prepared as answers: given out call by call, with an end that says so.

What an answer may be differs: for steps see `executor`, for a model `llm`.
"""

from __future__ import annotations

import itertools
from typing import TypeGuard

from stepwell.errors import StepwellError

__all__ = ["Script", "ScriptError", "is_error"]


class ScriptError(StepwellError, AssertionError):
    """A test's script has no answer for a call, or one that cannot be used."""


class Script:
    """Prepared answers: a list gives one item a call, else one answers every call.

    Args:
        answers: The list or tuple, which is copied, or the one answer.
        owner: Whom it is for, in messages.

    Raises:
        ScriptError: An answer is a class, and no exception.
    """

    def __init__(self, answers: object, owner: str) -> None:
        self._owner = owner
        self._in_turn = isinstance(answers, list | tuple)
        self._items: list[object] = (
            list(answers) if isinstance(answers, list | tuple) else [answers]
        )
        # `next` of it is atomic: calls may come from several threads.
        self._numbers = itertools.count(1)
        for item in self._items:
            if isinstance(item, type) and not is_error(item):
                raise ScriptError(
                    f"the script for {owner} holds the class {item.__name__}.",
                    hint=f"Give an instance: {item.__name__}(…).",
                )

    def answer(self, asked: str) -> object:
        """The answer for the next call.

        Args:
            asked: What the call is about, in messages.

        Raises:
            ScriptError: Every item was given out.
        """
        number = next(self._numbers)
        if not self._in_turn:
            return self._items[0]
        if number > len(self._items):
            raise ScriptError(
                f"the script for {self._owner} has run out: it answers "
                f"{len(self._items)} call(s), and call {number} came, with {asked}.",
                hint="Put one item into its list for each call, retries included; an "
                "answer that is no list serves every call.",
            )
        return self._items[number - 1]


def is_error(item: object) -> TypeGuard[BaseException | type[BaseException]]:
    """Whether an answer is to be raised: an exception, or a class of them."""
    if isinstance(item, type):
        return issubclass(item, BaseException)
    return isinstance(item, BaseException)
