"""What holds for every test: no network key, no model hub, a quiet Jupyter."""

import os

import pytest

# Before anything is imported: these libraries read them when they are loaded.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
    os.environ.pop(name, None)


@pytest.fixture(autouse=True, scope="session")
def embedding_cache_of_its_own(tmp_path_factory):
    """What tests embed stays out of the cache of whoever runs them."""
    folder = tmp_path_factory.mktemp("embeddings")
    os.environ["STEPWELL_CACHE_DIR"] = str(folder)
    yield
    del os.environ["STEPWELL_CACHE_DIR"]
