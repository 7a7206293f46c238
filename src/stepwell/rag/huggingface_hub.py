"""Whether a model is on this machine or can be had, by huggingface_hub.

Decides within seconds, before torch is imported: asked directly,
sentence-transformers retries an unreachable hub for three quarters of a minute.
Loading is in `sentence_transformers.py`. Nothing else imports huggingface_hub.
"""

from __future__ import annotations

import threading
from pathlib import Path

from huggingface_hub import HfApi, constants, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from .errors import ModelUnavailableError

_PROBE_SECONDS = 3.0


def locate(model: str, offline: bool) -> tuple[str, bool]:
    """Return what to load and whether to stay off the network while loading.

    Args:
        model: A folder, or a name on the hub, with or without its owner.
        offline: Never ask the hub.

    Raises:
        ModelUnavailableError: It is not on this machine, and the hub does not
            have it or does not answer within 3 s.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not any(
            (folder / name).is_file() for name in ("config.json", "modules.json")
        ):
            raise _unavailable(model, f"the folder {folder} holds no config.json")
        return str(folder), True
    if folder.is_absolute() or model.startswith((".", "~")):
        raise _unavailable(model, f"there is no folder {folder}")
    # A bare name means one of the library's own models.
    for name in (model,) if "/" in model else (f"sentence-transformers/{model}", model):
        if isinstance(try_to_load_from_cache(name, "config.json"), str):
            return name, True
    if offline or constants.HF_HUB_OFFLINE:
        raise _unavailable(model, "it is not in the cache, and downloads are off")
    if trouble := _probe(model if "/" in model else f"sentence-transformers/{model}"):
        raise _unavailable(model, trouble)
    return model, False


def unusable(model: str, error: Exception) -> ModelUnavailableError:
    """Word the error for a model that was found and cannot be loaded."""
    first = (str(error).strip().splitlines() or [""])[0]
    trouble = (
        f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__
    )
    return ModelUnavailableError(
        f"The model {model!r} is here, but loading it failed: {trouble}. Its folder "
        "may be incomplete, or the device not there; LexicalRerank(top_n=…) needs no "
        "model.",
        model=model,
        looked_in=str(constants.HF_HUB_CACHE),
    )


def _unavailable(model: str, trouble: str) -> ModelUnavailableError:
    cache = str(constants.HF_HUB_CACHE)
    return ModelUnavailableError(
        f"No model {model!r}: {trouble}. Run once online to fetch it, or pass a "
        "folder that holds it; LexicalRerank(top_n=…) needs no model. "
        f"(Cache: {cache})",
        model=model,
        looked_in=cache,
    )


def _probe(name: str) -> str:
    """Return "" if the hub has the model, else what is wrong, in a few words.

    In a thread, since looking a host name up has no timeout of its own.
    """
    found: list[str] = []

    def ask() -> None:
        try:
            HfApi().model_info(name, timeout=_PROBE_SECONDS)
            found.append("")
        except RepositoryNotFoundError:
            found.append("huggingface.co has no public model of that name")
        except HfHubHTTPError as error:
            found.append(f"huggingface.co answered {error.response.status_code}")
        except Exception as error:
            found.append(f"huggingface.co cannot be reached ({type(error).__name__})")

    thread = threading.Thread(target=ask, name="stepwell-hub-probe", daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS + 0.5)
    return found[0] if found else "huggingface.co does not answer"
