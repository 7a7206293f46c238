"""A notebook in a page of the browser, and what a person does with it.

The same for JupyterLab and Notebook 7, which are made of the same parts. Nothing here
sleeps: every wait is for something that the page shows or knows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakSet

from playwright.sync_api import BrowserContext, ElementHandle, Page

# Milliseconds until something that does not come is a failure.
PATIENCE = 45_000

IS_READY = """() => {
    const panel = window.jupyterapp && window.jupyterapp.shell.currentWidget;
    const session = panel && panel.sessionContext;
    return session && session.isReady && panel.context.isReady
        && session.session && session.session.kernel
        && session.session.kernel.connectionStatus === 'connected'
        && session.session.kernel.status === 'idle'
        && window.jupyterapp.commands.isEnabled('notebook:run-cell');
}"""
# Under load a page may wait for a kernel that has answered already: its first request
# is lost when the connection is made twice.
ANSWERS = """milliseconds => {
    const panel = window.jupyterapp.shell.currentWidget;
    const kernel = panel.sessionContext.session.kernel;
    const late = new Promise(done => setTimeout(() => done(false), milliseconds));
    const asked = kernel.requestExecute({code: '', silent: true}).done;
    return Promise.race([asked.then(() => true, () => false), late]);
}"""
IS_IDLE = """() => {
    const panel = window.jupyterapp.shell.currentWidget;
    const cells = panel.content.model.sharedModel.cells;
    return cells.every(cell => cell.cell_type !== 'code' || cell.execution_count)
        && panel.sessionContext.session.kernel.status === 'idle';
}"""
ADD_AND_RUN = """source => {
    const content = window.jupyterapp.shell.currentWidget.content;
    content.activeCellIndex = content.widgets.length - 1;
    content.model.sharedModel.addCell({cell_type: 'code', source: source});
    content.activeCellIndex = content.widgets.length - 1;
    window.jupyterapp.commands.execute('notebook:run-cell');
    return content.activeCellIndex;
}"""
# ipykernel 7.0 now and then gives up requests that wait, as if one before them had
# failed: such cells end without a number, and no cell shows an error.
RUN_ALL = """() => {
    const app = window.jupyterapp, panel = app.shell.currentWidget;
    const widgets = [...panel.content.widgets];
    let isRestarted = false;
    panel.sessionContext.statusChanged.connect((_, status) => {
        isRestarted = isRestarted || status.includes('restarting');
    });
    const run = () => app.commands.execute('notebook:run-all-cells');
    const isGivenUp = () => {
        const cells = widgets.map(cell => cell.model).filter(c => c.type === 'code');
        const failed = cells.some(cell => cell.sharedModel.toJSON().outputs
            .some(output => output.output_type === 'error'));
        return !failed && cells.some(
            cell => cell.executionState === 'idle' && !cell.executionCount);
    };
    run().then(() => {
        const isSame = widgets.every((cell, i) => panel.content.widgets[i] === cell);
        if (isSame && !isRestarted && isGivenUp()) run();
    });
}"""
REPLACE_CELLS = """sources => {
    const model = window.jupyterapp.shell.currentWidget.content.model.sharedModel;
    const made = sources.map(source => ({cell_type: 'code', source: source}));
    model.deleteCellRange(0, model.cells.length);
    model.insertCells(0, made);
}"""
DESCRIBE = """() => {
    const panel = window.jupyterapp.shell.currentWidget;
    const kernel = panel.sessionContext.session && panel.sessionContext.session.kernel;
    return [kernel && [kernel.connectionStatus, kernel.status],
        panel.content.model.sharedModel.toJSON().cells];
}"""
# What Notebook 7 says while it loads, and both when a kernel begins anew, whatever
# is in the notebook.
NOT_OURS = (
    "Cannot read properties of undefined (reading 'schema')",
    "Canceled future for kernel_info_request message before replies were done",
)


# The notebooks that are open, to be described where a test fails.
OPENED: WeakSet[Notebook] = WeakSet()


class FrontEnd(Protocol):
    """What a page needs of the front end it is opened in."""

    def address(self, path: Path) -> str:
        """Where a notebook is opened."""
        ...


class Notebook:
    """One notebook, open in a page.

    Attributes:
        page: The page; another one after `closed_tab`.
        path: The notebook's file.
        errors: What went wrong in the page: errors nobody caught, and what was
            written to its console about stepwell.
    """

    def __init__(
        self,
        context: BrowserContext,
        front_end: FrontEnd,
        path: Path,
        *,
        subshells: bool = True,
    ) -> None:
        self.path = path
        self.errors: list[str] = []
        self._context = context
        self._front_end = front_end
        self._subshells = subshells
        self.page = self._new_page()
        OPENED.add(self)

    # ------------------------------------------------------------- pages

    def open(self, base: str | None = None) -> None:
        """Open the notebook, or open it again, and wait until its kernel answers.

        Args:
            base: Not needed; the front end knows its address.
        """
        self.page.goto(self._front_end.address(self.path))
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=PATIENCE)
        self.wait_for_kernel()

    def reopen(self) -> None:
        """Save the notebook and open it again in the same page."""
        self.save()
        self.open()

    @contextlib.contextmanager
    def closed_tab(self) -> Iterator[None]:
        """Close the page while the kernel goes on, and open the notebook again."""
        self.page.close()
        yield
        self.page = self._new_page()
        self.open()

    def beside(self) -> Notebook:
        """Open the same notebook a second time: another page, the same kernel."""
        other = Notebook(
            self._context, self._front_end, self.path, subshells=self._subshells
        )
        other.open()
        return other

    def close(self) -> None:
        """End the kernel and close the page."""
        self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()"
        )
        self.page.close()

    def screenshot(self, path: Path | str) -> None:
        """Take a picture of the page, to be looked at."""
        self.page.screenshot(path=path)

    def set_theme(self, name: str) -> None:
        """Change the theme and wait until the page has it."""
        self.page.evaluate(
            "name => window.jupyterapp.commands"
            ".execute('apputils:change-theme', {theme: name})",
            name,
        )
        self.page.wait_for_selector(
            f'body[data-jp-theme-name="{name}"]', state="attached", timeout=PATIENCE
        )

    # ------------------------------------------------------------- cells

    def command(self, name: str) -> None:
        """Give the front end a command and do not wait for its end."""
        self.page.evaluate(
            "name => { window.jupyterapp.commands.execute(name); }", name
        )

    def run_all(self) -> None:
        """Start all cells, those that the kernel gives up a second time."""
        self.page.evaluate(RUN_ALL)

    def run_cell(self, source: str) -> int:
        """Add a cell at the end and run it; gives its number, from 0."""
        return int(self.page.evaluate(ADD_AND_RUN, source))

    def start_over(self, cells: list[str]) -> None:
        """Have these code cells and no others; a kernel that is busy is restarted."""
        self.page.evaluate(REPLACE_CELLS, cells)
        if not self.page.evaluate(IS_READY):
            self.restart()

    def interrupt(self) -> None:
        """Interrupt the kernel, as the square button of the toolbar does."""
        self.command("notebook:interrupt-kernel")

    def restart(self) -> None:
        """Restart the kernel and wait until it answers."""
        self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget"
            ".sessionContext.session.kernel.restart()"
        )
        self.wait_for_kernel()

    def save(self) -> None:
        """Save the notebook and wait until it is no longer dirty."""
        self.command("docmanager:save")
        self.page.wait_for_function(
            "() => !window.jupyterapp.shell.currentWidget.context.model.dirty",
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

    # -------------------------------------------------- a mouse and keys

    def press(self, text: str) -> None:
        """Press the button in the notebook that bears these words."""
        self.wait_for(f'button:has-text("{text}"):not([disabled])').click()

    def type_into(self, selector: str, text: str) -> None:
        """Type into a field of the notebook, in the place of what stands there."""
        field = self.wait_for(selector)
        field.fill("")
        field.type(text)

    def answer_stdin(self, text: str) -> None:
        """Answer the last of the boxes that ask for input, and wait until it is gone.

        One whose cell was interrupted stays in the page.
        """
        selector = "input.jp-Stdin-input >> nth=-1"
        box = self.wait_for(selector)
        self.type_into(selector, text)
        self.page.keyboard.press("Enter")
        box.wait_for_element_state("hidden", timeout=PATIENCE)

    # ------------------------------------------------------------- waits

    def wait_for(self, selector: str, **options: Any) -> ElementHandle:
        """Wait for something in the notebook."""
        found = self.page.wait_for_selector(
            f".jp-Notebook {selector}", **{"timeout": PATIENCE, **options}
        )
        # Playwright gives nothing where it waited for something to go.
        return found  # type: ignore[return-value]

    def wait_for_output(self, cell: int, text: str) -> None:
        """Wait until the outputs of one cell, from 0, show a text."""
        self.wait_for(
            f'.jp-Cell >> nth={cell} >> .jp-OutputArea-output:has-text("{text}")'
        )

    def wait_for_idle(self) -> None:
        """Wait until every cell that was started has its number."""
        self.page.wait_for_function(IS_IDLE, timeout=PATIENCE)

    def wait_for_kernel(self) -> None:
        """Wait until the kernel answers, and tell the page about subshells."""
        self.page.wait_for_function(IS_READY, timeout=PATIENCE)
        if not self.page.evaluate(ANSWERS, PATIENCE / 3):
            self.page.reload()
            self.page.wait_for_function(IS_READY, timeout=PATIENCE)
            assert self.page.evaluate(ANSWERS, PATIENCE), "the kernel does not answer"
        if not self._subshells:
            self.page.evaluate(
                "() => { window.jupyterapp.shell.currentWidget.sessionContext"
                ".session.kernel.commsOverSubshells = 'disabled'; }"
            )

    def describe(self) -> str:
        """What somebody needs who was not there: every cell, what it shows, errors."""
        status, cells = self.page.evaluate(DESCRIBE)
        lines = [f"{self.path.name}: kernel {status}, errors {self.errors}"]
        for cell in cells:
            number = cell.get("execution_count") or " "  # text has none
            lines.append(f"[{number}] {cell['source'][:60]!r}")
            lines += [f"    {output}"[:600] for output in cell.get("outputs", ())]
        return "\n".join(lines)

    # ------------------------------------------------------------ within

    def _new_page(self) -> Page:
        page = self._context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", self._note)
        return page

    def _note(self, error: Any) -> None:
        if error.message not in NOT_OURS:
            self.errors.append(str(error))

    def _hear(self, message: Any) -> None:
        if message.type == "error" and "stepwell" in message.text.lower():
            self.errors.append(message.text)
