"""A front end before a real kernel: it executes cells, completes and inspects."""

import re
from textwrap import dedent

import nbformat
from jupyter_client.manager import KernelManager


class Shown:
    """What an executed cell shows."""

    def __init__(self, outputs):
        self.outputs = outputs

    @property
    def bundles(self):
        """The rich outputs, in order."""
        kinds = ("display_data", "execute_result")
        return [o.data for o in self.outputs if o.output_type in kinds]

    @property
    def value(self):
        """The cell's value, as text."""
        found = [o for o in self.outputs if o.output_type == "execute_result"]
        assert found, f"no value in {self.outputs}"
        return found[-1].data["text/plain"]

    @property
    def printed(self):
        """What the cell printed."""
        return "".join(o.text for o in self.outputs if o.output_type == "stream")

    @property
    def error(self):
        """The error output; fails the test where there is none."""
        errors = [o for o in self.outputs if o.output_type == "error"]
        assert errors, f"no error in {self.outputs}"
        return errors[0]


def strip(text):
    """Text without colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def said(cell):
    """An error as a person reads it."""
    return strip("\n".join(cell.error.traceback))


class Front:
    """A front end before a kernel: it executes, completes and inspects."""

    def __init__(self):
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel()
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)

    def close(self):
        """End the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()

    def run(self, code):
        """Execute a cell exactly as written, its first and last lines too."""
        outputs = []

        def keep(message):
            if message["msg_type"] in (
                "stream",
                "error",
                "display_data",
                "execute_result",
            ):
                outputs.append(nbformat.v4.output_from_msg(message))

        self.reply = self.client.execute_interactive(
            code, output_hook=keep, timeout=60, store_history=True, allow_stdin=False
        )["content"]
        return Shown(outputs)

    def do(self, code):
        """Execute a cell that is indented in its test."""
        return self.run(dedent(code).lstrip("\n"))

    def tab(self, code):
        """What Tab offers at the `|` of a cell."""
        at = code.index("|")
        answer = self.client.complete(code.replace("|", ""), at, reply=True, timeout=60)
        return answer["content"]["matches"]

    def shift_tab(self, code):
        """What is told of the word at the end of the code."""
        answer = self.client.inspect(code, len(code), reply=True, timeout=60)
        return strip(answer["content"]["data"].get("text/plain", ""))

    def help(self, code):
        """What the pager shows."""
        self.run(code)
        return "".join(
            strip(each["data"]["text/plain"]) for each in self.reply["payload"]
        )
