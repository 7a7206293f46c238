"""Writing a run's facts to its journal, before anything follows from them.

What a journal is, is in `journals`; what follows from a fact is decided in
`machine` and carried out by `run`, which this file calls back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from stepwell.commands import Command
from stepwell.errors import JournalUnavailable
from stepwell.journals.base import Fact, Journal

__all__ = ["Ledger"]


class Ledger:
    """The facts of one run on their way into a journal, in order.

    Args:
        journal: Where they are kept.
        run_id: Names the run there.
        workflow: Name of the workflow, for messages.
        carry_out: Called with the commands whose facts are safe, and the time of the
            last of them.
        fail: Called with what ends the run, when a fact could not be kept.
    """

    def __init__(
        self,
        journal: Journal,
        run_id: str,
        workflow: str,
        carry_out: Callable[[list[Command], float], Any],
        fail: Callable[[BaseException], Any],
    ) -> None:
        self._journal = journal
        self._run_id = run_id
        self._workflow = workflow
        self._carry_out = carry_out
        self._fail = fail
        self._unwritten: list[Fact] = []
        self._held: list[Command] = []
        self._writer: asyncio.Task[None] | None = None

    def enter(self, fact: Fact, commands: list[Command]) -> None:
        """Keep a fact, and then carry out what follows from it."""
        self._unwritten.append(fact)
        self._held += commands
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write())

    def enter_alone(self, fact: Fact) -> None:
        """Keep a fact, with the next one, from which nothing follows by itself."""
        self._unwritten.append(fact)

    def close(self) -> None:
        """Write nothing more."""
        if self._writer is not None:
            self._writer.cancel()

    async def _write(self) -> None:
        try:
            while self._unwritten:
                facts, self._unwritten = self._unwritten, []
                commands, self._held = self._held, []
                try:
                    await self._journal.append(self._run_id, facts)
                except BaseException as error:
                    self._lose(error)
                    if isinstance(error, Exception):
                        return
                    raise
                try:
                    self._carry_out(commands, facts[-1].at)
                except Exception as error:
                    self._fail(error)
                    return
        finally:
            self._writer = None

    def _lose(self, error: BaseException) -> None:
        lost = JournalUnavailable(
            f"the journal could not record a step of {self._workflow}, so the run "
            f"stopped: {error!r}",
            hint="Nothing ran on unrecorded. Mend the journal and run again.",
            workflow=self._workflow,
        )
        lost.__cause__ = error
        self._fail(lost)
