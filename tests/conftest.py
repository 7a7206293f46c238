"""What holds for every test: no network key, no model hub, a quiet Jupyter."""

import os

# Before anything is imported: these libraries read them when they are loaded.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
    os.environ.pop(name, None)
