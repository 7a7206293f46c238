"""One value of a saved context as text, and back, with errors that say whose it is.

How a value becomes text is in `serializers`; what is saved, in `store` for state and
in `snapshots` for runs.
"""

from __future__ import annotations

from typing import Any

from stepwell.serializers import BaseSerializer, ValueSerdeError

__all__ = ["event_to_text", "from_text", "to_text"]


def to_text(
    value: object, serializer: BaseSerializer, what: str, *, step: str | None = None
) -> str:
    """The value as text.

    Args:
        value: What is to be saved.
        serializer: Turns it into text.
        what: Names the value in the message.
        step: The step it belongs to, if to one.

    Raises:
        ValueSerdeError: It cannot be saved, for whatever reason.
    """
    try:
        return _serialized(value, serializer)
    except Exception as error:
        refusal = _refusal(error, f"{what} cannot be saved")
        refusal.step = step
        raise refusal from error


def event_to_text(
    event: object, serializer: BaseSerializer, where: str, step: str | None = None
) -> str:
    """An event, or a list or tuple of them, as text.

    Args:
        event: What is to be saved.
        serializer: Turns it into text.
        where: Says in the message where it was met, with `{}` for the step.
        step: The step it belongs to, if to one.

    Raises:
        ValueSerdeError: It cannot be saved, for whatever reason.
    """
    try:
        return _serialized(event, serializer)
    except Exception as error:
        # Named only now: runs that are saved may have many thousands.
        parts = event if isinstance(event, list | tuple) else [event]
        name = " + ".join(dict.fromkeys(type(part).__name__ for part in parts))
        what = f"{name or 'the list'} {where.format(step)}"
        refusal = _refusal(error, f"{what} cannot be saved")
        refusal.step, refusal.event = step, name
        raise refusal from error


def _serialized(value: object, serializer: BaseSerializer) -> str:
    text = serializer.serialize(value)
    if not isinstance(text, str):
        raise TypeError(f"{type(serializer).__name__} made no text of it: {text!r}")
    return text


def from_text(text: str, serializer: BaseSerializer, what: str) -> Any:
    """The value that was saved as `text`.

    Raises:
        ValueSerdeError: It cannot be restored, for whatever reason.
    """
    try:
        return serializer.deserialize(text)
    except Exception as error:
        raise _refusal(error, f"{what} cannot be restored") from error


def _refusal(error: Exception, trouble: str) -> ValueSerdeError:
    reason, hint = f"{type(error).__name__}: {error}", None
    if isinstance(error, ValueSerdeError):
        reason, hint = error.message, error.hint
    return ValueSerdeError(
        f"{trouble}: {reason}",
        hint=hint
        or "Keep such values out of events and state, or pass a serializer "
        "that knows them.",
        path=getattr(error, "path", ""),
        kind=getattr(error, "kind", None),
    )
