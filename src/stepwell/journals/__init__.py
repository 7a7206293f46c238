"""Journals: where the facts of a run are kept. One file for each place."""

from stepwell.journals.base import Fact, Journal
from stepwell.journals.memory import MemoryJournal

__all__ = ["Fact", "Journal", "MemoryJournal"]
