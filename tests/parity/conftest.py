"""What LlamaIndex Workflows leaves behind, kept from failing tests that pass."""

import gc

import pytest


@pytest.fixture
def leftovers():
    """Collect, while its warnings are still ignored, what a program abandoned."""
    yield
    gc.collect()
