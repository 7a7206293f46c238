"""Kernels of other versions beside the installed one, each in a folder of its own.

The folder is put before the environment's packages by `PYTHONPATH` in a kernelspec; all
that an older ipykernel needs besides is in the environment already. Standard library
only: `tests/run.py` fills the folders before pytest starts.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

# The last of the 6.x, and the one that Binder's images have frozen; what is installed
# in the environment itself is the newest.
OLDER = ("6.31.0", "7.0.1")


def newest() -> str:
    """The version of ipykernel that the environment itself has."""
    return importlib.metadata.version("ipykernel")


def folder_of(version: str) -> Path:
    """Where an older ipykernel lies, installed or not."""
    return Path(sys.prefix) / "kernels" / version


def is_installed(version: str) -> bool:
    """Whether a notebook can be run by this version."""
    if version == newest():
        return True
    return (folder_of(version) / f"ipykernel-{version}.dist-info" / "RECORD").exists()


def missing() -> list[str]:
    """The older versions that are not there yet."""
    return [version for version in OLDER if not is_installed(version)]


def arguments_for(version: str) -> tuple[str, ...]:
    """What pip is told to install one kernel in its folder."""
    folder = str(folder_of(version))
    # What it needs is in the environment already; pip must not bring it again.
    alone = ("--no-deps", "--upgrade", "--target", folder)
    return ("install", *alone, f"ipykernel=={version}")


def write_specs(folder: Path) -> None:
    """Write a kernelspec for every version, under its number, into `folder/kernels`.

    Args:
        folder: To be named in `JUPYTER_PATH`.
    """
    launch = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    for version in (*OLDER, newest()):
        spec = {
            "argv": launch,
            "display_name": f"ipykernel {version}",
            "language": "python",
            "metadata": {"debugger": False},
        }
        if version != newest():
            spec["env"] = {"PYTHONPATH": str(folder_of(version))}
        path = folder / "kernels" / version / "kernel.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(spec), encoding="utf-8")
