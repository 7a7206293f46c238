"""Letting pasted `asyncio.run(main())` work in a cell, with the patch safe here.

stepwell itself never needs it: cells may `await`. The archived nest_asyncio loses
queued cells on ipykernel 7 and later; its maintained fork does not.
"""

from __future__ import annotations

import importlib
import warnings

from stepwell import MissingExtraError

__all__ = ["allow_nested"]


def allow_nested() -> str:
    """Let `asyncio.run()` and `run_until_complete()` be called while a loop runs.

    Returns:
        The name of the package whose patch is in force.

    Raises:
        MissingExtraError: Neither package is installed.
    """
    for name in ("nest_asyncio2", "nest_asyncio"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        if name == "nest_asyncio" and _is_new_kernel():
            warnings.warn(
                "nest_asyncio is archived and loses queued cells on this kernel; "
                "install nest-asyncio2 and restart.",
                stacklevel=2,
            )
        module.apply()
        return name
    raise MissingExtraError("nest-asyncio2", extra="notebook", feature="allow_nested()")


def _is_new_kernel() -> bool:
    try:
        ipykernel = importlib.import_module("ipykernel")
    except ImportError:
        return False
    return int(ipykernel.version_info[0]) >= 7
