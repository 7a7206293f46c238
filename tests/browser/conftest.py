"""Real front ends in a real browser, for what only a person with a mouse can see.

`lab` is JupyterLab; `front_end` is JupyterLab and Notebook 7 in turn; `place` is every
front end with every kernel, comms over subshells and not.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, sync_playwright

from browser import kernels
from browser.pages import OPENED, Notebook
from browser.servers import FRONT_ENDS, FrontEnd, Server, launch, serving

VERSIONS = (*kernels.OLDER, kernels.newest())
PLACES = list(itertools.product(FRONT_ENDS, VERSIONS, (True, False)))


def short(version: str) -> str:
    """A version without its last part."""
    return version.rsplit(".", 1)[0]


def place_id(place: tuple[str, str, bool]) -> str:
    """A place by its name, such as `lab-7.0-subshells`."""
    front_end, version, subshells = place
    channel = "subshells" if subshells else "no-subshells"
    return f"{front_end}-{short(version)}-{channel}"


def installed(version: str) -> str:
    """The version, if its kernel is there; in CI it has to be."""
    if kernels.is_installed(version):
        return version
    reason = (
        f"ipykernel {version} is not there; to get it: python3 tests/run.py, "
        f"or pip {' '.join(kernels.arguments_for(version))}"
    )
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a notebook is open and what executes it.

    Attributes:
        front_end: The front end, served.
        kernel: The version of ipykernel.
        subshells: Whether the page sends comms over subshells where it can.
    """

    front_end: FrontEnd
    kernel: str
    subshells: bool

    @property
    def hears_clicks_while_awaiting(self) -> bool:
        """Whether a click reaches the kernel while a cell awaits.

        Never with ipykernel 6; from 7.0 on by way of subshells; newer ones hear it
        either way, as they go on reading comms while the cell awaits.
        """
        if self.kernel.startswith("6."):
            return False
        return self.subshells or self.kernel == kernels.newest()

    def notebook(self, name: str, cells: list[str]) -> Notebook:
        """Write a notebook and open it here."""
        return self.front_end.notebook(
            name, cells, kernel=self.kernel, subshells=self.subshells
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Show beside a failure what stood in the notebooks that were open."""
    report = yield
    if report.failed:
        for notebook in [n for n in OPENED if not n.page.is_closed()]:
            with suppress(Error):
                title = f"notebook of {item.name}"
                report.sections.append((title, notebook.describe()))
    return report


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    """Close what a test has opened and, having failed, left open."""
    before = set(OPENED)
    yield
    for notebook in set(OPENED) - before:
        if not notebook.page.is_closed():
            with suppress(Error):
                notebook.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Gives the server of a front end, started when first asked for."""
    running: dict[str, Server] = {}
    with ExitStack() as stack:

        def start(name: str) -> Server:
            if name not in running:
                root = tmp_path_factory.mktemp(name)
                running[name] = stack.enter_context(serving(name, root))
            return running[name]

        yield start


# Not for the whole session: Playwright keeps an event loop running in this thread,
# which the asynchronous tests of other files could not stand.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of one file."""
    with sync_playwright() as play:
        chromium = launch(play)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def front_ends(
    server: Callable[..., Server], browser: Browser
) -> Callable[[str], FrontEnd]:
    """Gives a front end by its name."""
    known: dict[str, FrontEnd] = {}

    def find(name: str) -> FrontEnd:
        if name not in known:
            known[name] = FrontEnd(server(name), browser)
        return known[name]

    return find


@pytest.fixture(scope="module")
def lab(front_ends: Callable[[str], FrontEnd]) -> FrontEnd:
    """JupyterLab."""
    return front_ends("lab")


@pytest.fixture(scope="module", params=list(FRONT_ENDS))
def front_end(
    request: pytest.FixtureRequest, front_ends: Callable[[str], FrontEnd]
) -> FrontEnd:
    """JupyterLab, and Notebook 7."""
    return front_ends(request.param)


@pytest.fixture(scope="module", params=VERSIONS, ids=short)
def kernel(request: pytest.FixtureRequest) -> str:
    """Every version of ipykernel that is tested with."""
    return installed(request.param)


@pytest.fixture(scope="module", params=PLACES, ids=place_id)
def place(
    request: pytest.FixtureRequest, front_ends: Callable[[str], FrontEnd]
) -> Place:
    """Every front end, with every kernel, with comms over subshells and without."""
    name, version, subshells = request.param
    return Place(front_ends(name), installed(version), subshells)
