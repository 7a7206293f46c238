"""Set everything up and run every check: the second command of the README.

    python3 tests/run.py                 all of it
    python3 tests/run.py --quick         without browser, notebooks and benchmark
    python3 tests/run.py -k join -x      what follows is handed to pytest

Stops at the first check that fails. Needs only Python and git; makes `.venv` in
the repository, and on Debian, as root, installs chromium for the browser tests.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".ci"))

import environment  # noqa: E402

from browser import kernels  # noqa: E402

TORCH = "torch==2.13.0"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"

# Several checks start their own pools of threads; together they would want more
# cores than a small machine has, and all of them would be slower for it.
THREADS = {
    name: "2"
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "RAYON_NUM_THREADS",
    )
}
SETTINGS = {
    "HF_HUB_OFFLINE": "1",  # no test may wait for a model hub
    "TOKENIZERS_PARALLELISM": "false",
    "JUPYTER_PLATFORM_DIRS": "1",  # else jupyter_core warns, and warnings are errors
}


def main() -> None:
    """Run the checks in order; leave with the status of the first that fails."""
    options, pytest_arguments = read_arguments()
    environment.enter("dev", before=install_torch)
    os.environ.update({**THREADS, **SETTINGS})
    os.environ["PATH"] = f"{environment.PYTHON.parent}{os.pathsep}{os.environ['PATH']}"
    os.chdir(ROOT)

    left_out = []
    if options.quick:
        left_out.append("browser, notebooks and benchmark, left out by --quick")
    elif not find_chromium():
        left_out.append(f"the browser tests: {how_to_get_chromium()}")
    elif not install_kernels():
        left_out.append("the tests on older kernels, which could not be installed")

    began = time.monotonic()
    seconds = {}
    for name, command in checks(options.quick, pytest_arguments):
        heading(name)
        started = time.monotonic()
        status = subprocess.run(command, check=False).returncode
        seconds[name] = time.monotonic() - started
        if status:
            heading(f"FAILED: {name}")
            sys.exit(f"{' '.join(map(str, command))}\nended with status {status}")
    for what in left_out:
        print(f"\n*** NOT RUN: {what} ***")
    print(
        "\n"
        + " · ".join(f"{name} {spent:.0f} s" for name, spent in seconds.items())
        + f" · all {time.monotonic() - began:.0f} s",
        flush=True,
    )


def checks(quick: bool, pytest_arguments: list[str]):
    """Yield the name and the command of every check, in order."""
    python = sys.executable
    yield "lint", ["ruff", "check", "--output-format", "concise", "."]
    yield "format", ["ruff", "format", "--check", "."]
    typed = ["src", *(str(path) for path in [Path("tests/typing")] if path.exists())]
    yield "types", ["mypy", "--strict", *typed]
    tests = [python, "-m", "pytest", "-W", "error", "tests"]
    if quick or not find_chromium():
        tests.append("--ignore=tests/browser")
    if not quick:
        yield "benchmark", [python, "benchmarks/run.py", "--small", "-r", "1"]
        tests += ["--nbmake", "notebooks"]
    yield "tests", tests + pytest_arguments


def read_arguments() -> tuple[argparse.Namespace, list[str]]:
    """Split the command line into what is ours and what is pytest's."""
    parser = argparse.ArgumentParser(
        description="Set up, and run every check of the project.",
        epilog="All other arguments go to pytest, as in: tests/run.py -k join -x",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="leave out the browser, the notebooks and the benchmark",
    )
    return parser.parse_known_args()


def heading(text: str) -> None:
    """Print a line that is easy to find in a long log."""
    print(f"\n━━━ {text} ".ljust(78, "━"), flush=True)


# -------------------------------------------------------------------- torch


def install_torch() -> None:
    """Install the CPU build of torch, before anything pulls in the CUDA build.

    PyPI's torch for Linux on x86 is the CUDA build and brings gigabytes along;
    PyTorch's own index has the CPU build. Elsewhere PyPI's build is the CPU's.
    """
    if (
        subprocess.run(
            [environment.PYTHON, "-c", "import torch"], capture_output=True, check=False
        ).returncode
        == 0
    ):
        return
    if platform.system() == "Linux" and platform.machine() == "x86_64":
        if answers(TORCH_CPU_INDEX + "/"):
            environment.say("torch", f"{TORCH}, the CPU build from {TORCH_CPU_INDEX}")
            environment.pip("install", TORCH, "--index-url", TORCH_CPU_INDEX)
            return
        environment.say(
            "torch", f"{TORCH} from pip's index (PyTorch's CPU index did not answer)"
        )
    else:
        environment.say("torch", f"{TORCH} from pip's index, a CPU build here")
    environment.pip("install", TORCH)


def answers(address: str) -> bool:
    """Tell whether something answers there within three seconds."""
    try:
        request = urllib.request.Request(address, method="HEAD")
        with urllib.request.urlopen(request, timeout=3):
            return True
    except (OSError, urllib.error.URLError):
        return False


# ----------------------------------------------------------------- chromium


@functools.cache
def find_chromium() -> str | None:
    """Return the browser the tests drive, installing it where that is possible.

    In CI a missing browser is a failure: what is not run there is run nowhere.
    """
    found = shutil.which("chromium")
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        environment.say("chromium", "installing it with apt-get")
        quiet = {"stdout": subprocess.DEVNULL, "check": False}
        subprocess.run(["apt-get", "update", "-qq"], **quiet)
        packages = ["chromium", "fonts-dejavu-core"]
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"]
        silent = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(command + packages, env=silent, **quiet)
        found = shutil.which("chromium")
    if found is None and os.environ.get("CI"):
        sys.exit(f"The browser tests cannot run: {how_to_get_chromium()}")
    return found


def how_to_get_chromium() -> str:
    """Say how to install the browser on this kind of machine."""
    if sys.platform == "darwin":
        return "no `chromium` on the PATH (brew install --cask chromium)"
    return "no `chromium` on the PATH (sudo apt-get install chromium)"


# ------------------------------------------------------------------ kernels


def install_kernels() -> bool:
    """Install the older kernels that the browser tests run notebooks on as well.

    In CI a missing kernel is a failure, as a missing browser is.
    """
    for version in kernels.missing():
        environment.say("ipykernel", f"{version}, beside the newest")
        try:
            environment.pip(*kernels.arguments_for(version))
        except environment.SetupError as error:
            if os.environ.get("CI"):
                sys.exit(f"The tests on ipykernel {version} cannot run: {error}")
            return False
    return True


if __name__ == "__main__":
    main()
