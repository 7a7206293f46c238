"""One value of a saved context as text, and back, with errors that say whose it is.

How a value becomes text is in `serializers`; what is saved, in `store` for state and
in `snapshots` for runs.
"""

from __future__ import annotations

from typing import Any

from stepwell.serializers import BaseSerializer, ValueSerdeError

__all__ = ["from_text", "to_text"]


def to_text(
    value: object,
    serializer: BaseSerializer,
    what: str,
    *,
    step: str | None = None,
    event: str | None = None,
) -> str:
    """The value as text.

    Args:
        value: What is to be saved.
        serializer: Turns it into text.
        what: Names the value in the message.
        step: The step it belongs to, if to one.
        event: Class name of the event it is, if it is one.

    Raises:
        ValueSerdeError: It cannot be saved, for whatever reason.
    """
    try:
        text = serializer.serialize(value)
        if not isinstance(text, str):
            raise TypeError(f"{type(serializer).__name__} made no text of it: {text!r}")
    except Exception as error:
        refusal = _refusal(error, f"{what} cannot be saved")
        refusal.step, refusal.event = step, event
        raise refusal from error
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
