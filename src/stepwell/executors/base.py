"""What an executor is: something that performs the body of a step's call.

An executor neither routes nor decides; it is handed a call and its arguments
and gives back a coroutine. Retrying, timing and recording stay with `run`.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

from stepwell.calls import StepCall

__all__ = ["Executor"]


class Executor(Protocol):
    """Performs calls, here or elsewhere.

    Every adapter passes the contract suite in `tests/contracts`.
    """

    def perform(
        self, call: StepCall, instance: object | None, arguments: Mapping[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """The coroutine whose result is what the step's function returns.

        It raises what the function raises, and stops the body, where that can be
        done, when it is cancelled.

        Args:
            call: What to perform.
            instance: The workflow for a method, None for a free function.
            arguments: Values by parameter name: the event, perhaps a context.
        """
        ...
