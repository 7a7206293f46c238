"""Real servers for contract tests."""

from postgres import postgres as postgres
