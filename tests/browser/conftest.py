"""A real JupyterLab in a real browser, for what only a person with a mouse can see."""

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
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

PATIENCE = 60_000


class Notebook:
    """One notebook, open in a page."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page = page
        self.path = path
        self.complaints: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: Any) -> None:
        if message.type == "error" and "stepwell" in message.text.lower():
            self.complaints.append(message.text)

    def open(self, base: str) -> None:
        """Open the notebook, and wait until its kernel answers."""
        self.page.goto(f"{base}/lab/tree/{self.path.name}?reset")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=PATIENCE)
        self._wait_for_kernel()

    def _wait_for_kernel(self) -> None:
        self.page.wait_for_function(
            "() => { const app = window.jupyterapp;"
            " const w = app && app.shell.currentWidget;"
            " return w && w.sessionContext && w.sessionContext.isReady"
            " && w.sessionContext.session && w.sessionContext.session.kernel"
            " && w.sessionContext.session.kernel.status === 'idle'; }",
            timeout=PATIENCE,
        )

    def command(self, name: str) -> None:
        """Give JupyterLab a command and do not wait for its end."""
        self.page.evaluate(
            "name => { window.jupyterapp.commands.execute(name); }", name
        )

    def run_all(self) -> None:
        """Start all cells."""
        self.command("notebook:run-all-cells")

    def run_cell(self, source: str) -> None:
        """Add a cell at the end and run it."""
        self.page.evaluate(
            "source => { const n = window.jupyterapp.shell.currentWidget.content;"
            " n.activeCellIndex = n.widgets.length - 1;"
            " n.model.sharedModel.addCell({cell_type: 'code', source: source});"
            " n.activeCellIndex = n.widgets.length - 1;"
            " window.jupyterapp.commands.execute('notebook:run-cell'); }",
            source,
        )

    def wait_for(self, selector: str, **options: Any) -> Any:
        """Wait for something in the notebook."""
        return self.page.wait_for_selector(
            f".jp-Notebook {selector}", timeout=PATIENCE, **options
        )

    def wait_for_idle(self) -> None:
        """Wait until every cell that was started has its number."""
        self.page.wait_for_function(
            "() => { const w = window.jupyterapp.shell.currentWidget;"
            " const cells = w.content.model.sharedModel.cells"
            "   .filter(c => c.cell_type === 'code');"
            " return cells.every(c => c.execution_count)"
            "   && w.sessionContext.session.kernel.status === 'idle'; }",
            timeout=PATIENCE,
        )

    def outputs(self, cell: int) -> list[dict[str, Any]]:
        """What the notebook would save of one cell's outputs."""
        found: list[dict[str, Any]] = self.page.evaluate(
            "n => window.jupyterapp.shell.currentWidget.content.widgets[n]"
            ".model.sharedModel.toJSON().outputs",
            cell,
        )
        return found

    def set_theme(self, name: str) -> None:
        """Change JupyterLab's theme and wait until the page has it."""
        self.page.evaluate(
            "name => window.jupyterapp.commands"
            ".execute('apputils:change-theme', {theme: name})",
            name,
        )
        self.page.wait_for_selector(
            f'body[data-jp-theme-name="{name}"]', state="attached", timeout=PATIENCE
        )

    def restart(self) -> None:
        """Restart the kernel and wait until it answers."""
        self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget"
            ".sessionContext.session.kernel.restart()"
        )
        self._wait_for_kernel()

    def close(self) -> None:
        """End the kernel and close the page."""
        self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()"
        )
        self.page.close()

    def save(self) -> None:
        """Save the notebook and wait until it is no longer dirty."""
        self.command("docmanager:save")
        self.page.wait_for_function(
            "() => !window.jupyterapp.shell.currentWidget.context.model.dirty",
            timeout=PATIENCE,
        )


class Lab:
    """A JupyterLab server and a browser."""

    def __init__(self, root: Path, base: str, browser: Browser) -> None:
        self.root = root
        self.base = base
        self.browser = browser

    def notebook(self, name: str, cells: list[str], **page: Any) -> Notebook:
        """Write a notebook of code cells and open it in a new page."""
        made = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells]
        )
        made.metadata.kernelspec = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        path = self.root / f"{name}.ipynb"
        nbformat.write(made, path)
        size = {"width": 1280, "height": 1000}
        opened = Notebook(self.browser.new_page(viewport=size, **page), path)
        opened.open(self.base)
        return opened


# Not for the whole session: Playwright keeps an event loop running in this thread,
# which the asynchronous tests of other files could not stand.
@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One JupyterLab on a free port and one Chromium, for the tests of one file."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None and not _has_playwright_browser():
        pytest.fail(
            "the browser tests need Chromium: `apt-get install chromium` or "
            "`playwright install chromium`"
        )
    root = tmp_path_factory.mktemp("lab")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    settings = root / ".settings"
    _quieten(settings)
    with (root / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [
                sys.executable,
                *(
                    "-m",
                    "jupyterlab",
                    "--no-browser",
                    "--ip=127.0.0.1",
                    f"--port={port}",
                ),
                "--allow-root",
                "--IdentityProvider.token=",
                f"--ServerApp.root_dir={root}",
                "--LabApp.expose_app_in_browser=True",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "JUPYTERLAB_SETTINGS_DIR": str(settings),
                "JUPYTER_PREFER_ENV_PATH": "1",
            },
        )
    try:
        _wait_for_server(server, base, root / "server.log")
        with sync_playwright() as play:
            browser = play.chromium.launch(
                executable_path=chromium, args=["--no-sandbox"]
            )
            yield Lab(root, base, browser)
            browser.close()
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _quieten(settings: Path) -> None:
    """Keep JupyterLab from asking whether it may fetch news."""
    folder = settings / "@jupyterlab" / "apputils-extension"
    folder.mkdir(parents=True)
    (folder / "notification.jupyterlab-settings").write_text(
        '{"fetchNews": "false", "checkForUpdates": false}', encoding="utf-8"
    )


def _has_playwright_browser() -> bool:
    with sync_playwright() as play:
        return Path(play.chromium.executable_path).exists()


def _wait_for_server(server: subprocess.Popen[bytes], base: str, log: Path) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{base}/api/status", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            # Poll: the server says by no other sign that it listens.
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
