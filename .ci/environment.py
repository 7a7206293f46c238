"""The project's own virtual environment: make it, fill it, go on inside it.

Both commands of the README load this file. Standard library only, for it runs
on a machine that has nothing but Python and git, and it must be readable by an
old Python long enough to say that it is too old. What is installed is decided
in ``pyproject.toml``; what is done afterwards, by the scripts that call
``enter``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

if sys.version_info < (3, 11):
    sys.exit(
        "stepwell needs Python 3.11 or newer, and this is Python "
        + sys.version.split()[0]
        + ".\nRun the same line with a newer one, as in: python3.12 "
        + " ".join(sys.argv)
    )

import tomllib

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "stepwell-stamp.json"
LOG = VENV / "stepwell-setup.log"

# The pip that is fetched where Python came without one (Debian's python3 does
# when python3-venv is missing). The hash stands here rather than being read
# from the index, so that what runs is what was tested.
PIP_WHEEL = "pip-26.2-py3-none-any.whl"
PIP_SHA256 = "931c303696af6fa3417112103b1cad26890e5a07eccb5b99783700e33f2b8aad"

OFFLINE = re.compile(
    r"NewConnectionError|NameResolutionError|name resolution|Network is unreachable"
    r"|Failed to establish a new connection|ConnectTimeout|getaddrinfo failed"
    r"|nodename nor servname|No route to host|Connection refused"
)


class SetupError(Exception):
    """The environment could not be made; the message says what to do."""


def enter(*extras: str, before=None) -> None:
    """Make sure that `.venv` holds the extras, then go on inside it.

    Returns when this process already is the one inside; otherwise makes what is
    missing and starts the same script again there, so it does not return.

    Args:
        extras: names from ``[project.optional-dependencies]``.
        before: called with no argument just before an installation, for what
            has to be there first.
    """
    inside = Path(sys.prefix).resolve() == VENV.resolve()
    try:
        if not is_ready(extras):
            make()
            if before is not None:
                before()
            install(extras)
    except SetupError as error:
        sys.exit(f"\n{error}")
    except KeyboardInterrupt:
        sys.exit("\nStopped. The same line again goes on from here.")
    if inside:
        return
    again = [str(PYTHON), *sys.argv]
    sys.stdout.flush()
    if os.name == "nt":
        sys.exit(subprocess.run(again, check=False).returncode)
    os.execv(again[0], again)


def say(what: str, text: str) -> None:
    """Print one line of progress."""
    print(f"  {what:<12} {text}", flush=True)


# ---------------------------------------------------------------- the stamp


def closure(extras, project: dict) -> set[str]:
    """Return the extras together with those they are made of."""
    found: set[str] = set()
    waiting = list(extras)
    while waiting:
        extra = waiting.pop()
        if extra in found:
            continue
        found.add(extra)
        for line in project["optional-dependencies"][extra]:
            parts = re.match(rf"{project['name']}\[([^\]]+)\]", line)
            if parts:
                waiting += [part.strip() for part in parts[1].split(",")]
    return found


def project_table() -> dict:
    """Read what the project declares about itself."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]


def fingerprint(project: dict) -> str:
    """Return a hash of everything that decides what gets installed.

    The tool sections of ``pyproject.toml`` are left out: editing a lint rule is
    no reason to install anything again. The place of the repository is in,
    because a moved environment does not work.
    """
    facts = json.dumps([project, str(ROOT)], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


def is_ready(extras) -> bool:
    """Tell whether the environment already holds the extras."""
    try:
        stamp = json.loads(STAMP.read_text())
        project = project_table()
        return (
            PYTHON.exists()
            and stamp["fingerprint"] == fingerprint(project)
            and closure(extras, project) <= set(stamp["extras"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_stamp(extras) -> None:
    """Note what the environment now holds, with what it held before."""
    project = project_table()
    held = closure(extras, project)
    try:
        stamp = json.loads(STAMP.read_text())
        if stamp["fingerprint"] == fingerprint(project):
            held |= set(stamp["extras"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    facts = {"fingerprint": fingerprint(project), "extras": sorted(held)}
    STAMP.write_text(json.dumps(facts))


# ------------------------------------------------------- making and filling


def make() -> None:
    """Make the environment, with a pip in it, unless a good one is there."""
    if not _answers([PYTHON, "-c", "import sys; assert sys.version_info >= (3, 11)"]):
        version = ".".join(map(str, sys.version_info[:3]))
        say("environment", f"making .venv with Python {version}")
        _make_venv()
    if not _answers([PYTHON, "-m", "pip", "--version"]):
        say("environment", "this Python came without pip: fetching pip itself")
        wheel = fetch_pip(VENV)
        # pip runs out of its own wheel, and installs that wheel.
        command = [PYTHON, f"{wheel}/pip", "install", "--no-index", wheel]
        _run(command, "pip could not be installed")
        wheel.unlink()


def _make_venv() -> None:
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode:  # Debian's python3 without python3-venv
        command.insert(-1, "--without-pip")
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode:
        raise SetupError(
            f"No virtual environment could be made in {VENV}:\n"
            + (tried.stderr or tried.stdout).strip()
        )


def fetch_pip(folder: Path) -> Path:
    """Download the wheel of pip from the package index and check it.

    Args:
        folder: where to put it.

    Raises:
        SetupError: the index is out of reach or gave something else.
    """
    index = os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"
    page = index.rstrip("/") + "/pip/"
    try:
        request = urllib.request.Request(page, headers={"Accept": "text/html"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            listing = answer.read().decode()
        link = re.search(rf'href="([^"#]*/{re.escape(PIP_WHEEL)})', listing)
        if link is None:
            raise SetupError(f"{page} does not list {PIP_WHEEL}.")
        address = urllib.parse.urljoin(page, link[1])
        with urllib.request.urlopen(address, timeout=60) as answer:
            content = answer.read()
    except (OSError, urllib.error.URLError) as error:
        raise SetupError(_no_network(f"{page}: {error}")) from error
    if hashlib.sha256(content).hexdigest() != PIP_SHA256:
        raise SetupError(f"{address} is not the file it should be (sha256 differs).")
    wheel = folder / PIP_WHEEL
    wheel.write_bytes(content)
    return wheel


def install(extras) -> None:
    """Install the project, editable, with the extras, and note it."""
    wanted = ",".join(extras)
    began = time.monotonic()
    say("environment", f"installing stepwell[{wanted}], once: a minute or two")
    pip("install", "--editable", f"{ROOT}[{wanted}]")
    write_stamp(extras)
    say("environment", f"ready in .venv after {time.monotonic() - began:.0f} s")


def pip(*arguments: str) -> None:
    """Run pip in the environment; show a short progress instead of its flood."""
    command = [PYTHON, "-m", "pip", *arguments, "--no-input", "--progress-bar", "off"]
    _run(command, "pip " + " ".join(arguments[:1]) + " did not succeed")


def _answers(command) -> bool:
    try:
        tried = subprocess.run(
            [str(part) for part in command], capture_output=True, check=False
        )
    except OSError:
        return False
    return tried.returncode == 0


def _run(command, complaint: str) -> None:
    settings = {
        **os.environ,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_USER": "0",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    settings.pop("PIP_REQUIRE_HASHES", None)
    lines: list[str] = []
    with LOG.open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=settings,
        )
        for line in process.stdout:
            log.write(line)
            lines.append(line.rstrip())
            _show(line)
    _show("")
    if process.wait() == 0:
        return
    unreached = [line for line in lines if OFFLINE.search(line)]
    if unreached:
        raise SetupError(_no_network(unreached[-1]))
    last = [line for line in lines if not line.startswith("WARNING: Location")][-15:]
    raise SetupError(
        f"{complaint}. Its last lines:\n\n"
        + "\n".join(f"    {line[:200]}" for line in last)
        + f"\n\nAll of it is in {LOG}."
        + "\nTo start over, delete the folder .venv and run the same line again."
    )


def _show(line: str) -> None:
    """Keep one moving line on a terminal, and nothing where there is none."""
    if not sys.stdout.isatty():
        return
    name = re.match(r"\s*(Collecting|Downloading|Installing collected) (\S+)", line)
    if name or not line:
        width = shutil.get_terminal_size().columns - 1
        text = f"               {name[1].lower()} {name[2]}" if name else ""
        print("\r\x1b[K" + text[:width], end="", flush=True)


def _no_network(detail: str) -> str:
    return (
        "The package index could not be reached, so nothing could be installed.\n"
        f"    {detail.strip()[:300]}\n"
        "Setting up needs the network once; afterwards all of it runs offline.\n"
        "Behind a proxy or a mirror: set HTTPS_PROXY or PIP_INDEX_URL, and run the\n"
        "same line again."
    )
