"""A model's address, before anything is connected: Endpoint.

Shared by `openai_llm.py` and `openai_embedding.py`. It can be pickled; clients,
which cannot, are made by `openai.py` in whichever process makes the first call.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from .errors import InvalidOptionError, MissingExtraError

_lock = threading.Lock()


@dataclass
class Endpoint:
    """Which model, where, with which key.

    Raises:
        InvalidOptionError: No model is named.
    """

    model: str
    api_key: str | None = field(default=None, repr=False)
    api_base: str | None = None
    timeout: float = 60.0
    max_retries: int = 3
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    _server: Any = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise InvalidOptionError("model= must name a model.")

    def server(self) -> Any:
        """Return the `openai.Server`, made at the first call.

        Raises:
            MissingExtraError: The openai library is not installed.
        """
        with _lock:
            if self._server is None:
                try:
                    module = import_module(".openai", __package__)
                except ModuleNotFoundError as error:
                    if error.name != "openai":
                        raise
                    raise MissingExtraError.for_package(
                        "openai", "rag", self.model
                    ) from error
                self._server = module.Server(
                    self.model,
                    api_key=self.api_key,
                    api_base=self.api_base,
                    timeout=self.timeout,
                    max_retries=self.max_retries,
                    headers=self.headers,
                )
            return self._server

    async def aserver(self) -> Any:
        """Do as `server`; the library, half a second of import, loads in a thread."""
        if self._server is None:
            return await asyncio.to_thread(self.server)
        return self._server

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_server": None}
