"""Executors: who performs the body of a step. One file for each way."""

from stepwell.executors.base import Executor
from stepwell.executors.local import LocalExecutor

__all__ = ["Executor", "LocalExecutor"]
