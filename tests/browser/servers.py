"""Jupyter servers that the browser tests talk to, and the front ends they serve.

A server runs as people start it, `python -m jupyterlab` or `python -m notebook`, on a
free port and in a folder of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
from playwright.sync_api import Browser, BrowserContext, Playwright

from browser import kernels
from browser.pages import Notebook

# For each front end its module, its page, and the option that shows us its inside.
FRONT_ENDS = {
    "lab": ("jupyterlab", "lab/tree/{}?reset", "LabApp"),
    "notebook": ("notebook", "notebooks/{}", "JupyterNotebookApp"),
}
SIZE = {"width": 1280, "height": 1000}
# Seconds until a server that does not answer is given up.
PATIENCE = 90


@dataclass(frozen=True, slots=True)
class Server:
    """A running Jupyter server."""

    name: str
    base: str
    root: Path

    @property
    def log(self) -> str:
        """All that the server has written so far."""
        return (self.root / "server.log").read_text(encoding="utf-8", errors="replace")


@dataclass(slots=True)
class FrontEnd:
    """JupyterLab or Notebook 7, served and with a browser to look at it.

    Attributes:
        server: The server behind it.
        browser: The browser.
    """

    server: Server
    browser: Browser
    # Pages of one context share what they have loaded: that halves an opening.
    _context: BrowserContext | None = field(default=None, repr=False)

    @property
    def root(self) -> Path:
        """The folder of the notebooks."""
        return self.server.root

    @property
    def base(self) -> str:
        """The server's address."""
        return self.server.base

    def address(self, path: Path) -> str:
        """Where a notebook is opened."""
        _, page, _ = FRONT_ENDS[self.server.name]
        return f"{self.base}/{page.format(quote(path.name))}"

    def notebook(
        self,
        name: str,
        cells: list[str],
        *,
        kernel: str | None = None,
        subshells: bool = True,
        **context: Any,
    ) -> Notebook:
        """Write a notebook of code cells and open it in a new page.

        Args:
            name: Of its file, without the ending.
            cells: Their sources.
            kernel: A version of ipykernel; the newest where none is named.
            subshells: Whether the page may send comms over subshells, as it does by
                default where the kernel can.
            **context: Options of a browser context; the page is in one of its own.
        """
        made = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells]
        )
        version = kernel or kernels.newest()
        made.metadata.kernelspec = {
            "name": version,
            "display_name": f"ipykernel {version}",
            "language": "python",
        }
        path = self.root / f"{name}.ipynb"
        nbformat.write(made, path)
        if context or self._context is None:
            opened = self.browser.new_context(**{"viewport": SIZE, **context})
        else:
            opened = self._context
        if not context:
            self._context = opened
        notebook = Notebook(opened, self, path, subshells=subshells)
        notebook.open()
        return notebook


@contextmanager
def serving(name: str, root: Path) -> Iterator[Server]:
    """Run the server of a front end.

    Args:
        name: A key of `FRONT_ENDS`.
        root: An empty folder; notebooks stand in it, and the server's log.

    Raises:
        RuntimeError: It did not start; its log is in the message.
    """
    module, _, option = FRONT_ENDS[name]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings, data = root / ".settings", root / ".jupyter"
    _quieten(settings)
    kernels.write_specs(data)
    server = Server(name, f"http://127.0.0.1:{port}", root)
    command = [
        *(sys.executable, "-m", module, "--no-browser", "--allow-root"),
        *("--ip=127.0.0.1", f"--port={port}", "--IdentityProvider.token="),
        *(f"--ServerApp.root_dir={root}", f"--{option}.expose_app_in_browser=True"),
    ]
    environment = {
        **os.environ,
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "JUPYTERLAB_WORKSPACES_DIR": str(root / ".workspaces"),
        "JUPYTER_PATH": str(data),
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    with (root / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
    try:
        _wait_for(process, server)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def launch(play: Playwright) -> Browser:
    """Start the Chromium of this machine, or Playwright's own.

    Raises:
        RuntimeError: There is neither.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None and not Path(play.chromium.executable_path).exists():
        raise RuntimeError(
            "the browser tests need Chromium: `apt-get install chromium` or "
            "`playwright install chromium`"
        )
    return play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])


def _quieten(settings: Path) -> None:
    """Keep the front end from asking whether it may fetch news."""
    folder = settings / "@jupyterlab" / "apputils-extension"
    folder.mkdir(parents=True)
    (folder / "notification.jupyterlab-settings").write_text(
        '{"fetchNews": "false", "checkForUpdates": false}', encoding="utf-8"
    )


def _wait_for(process: subprocess.Popen[bytes], server: Server) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.base}/api/status", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            # Poll: the server says by no other sign that it listens.
            time.sleep(0.2)
    raise RuntimeError(f"{server.name} did not start:\n{server.log[-3000:]}")
