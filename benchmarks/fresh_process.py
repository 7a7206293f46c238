"""Jobs that take a fresh Python each: importing an engine, and its first result.

The size is how many are started; the figure is that of the fastest.
"""

import os
import subprocess
import sys

from gauges import check

__all__ = ["first", "import_", "own_import"]

# Defining a first model has pydantic load the rest of itself, so it is in the base.
OWN = """
import time
import asyncio
from pydantic import BaseModel
class Warm(BaseModel):
    value: int = 0
began = time.process_time()
{}
print(time.process_time() - began)
"""


def start_python(program: str) -> tuple[str, float, float]:
    """What a fresh Python printed; its CPU seconds, and its greatest size in MB."""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        printed = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    check(process.returncode, 0)
    unit = 1 if sys.platform == "darwin" else 1024
    return printed, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e6


def start_often(program: str, n: int) -> tuple[str, float, float]:
    """The least of several starts."""
    tries = [start_python(program) for _ in range(n)]
    return tries[0][0], min(t[1] for t in tries), min(t[2] for t in tries)


async def import_(engine, n):
    _, bare, _ = start_often("pass", n)
    _, cpu, size = start_often(engine.IMPORT, n)
    return {"CPU ms": (cpu - bare) * 1e3, "MB": size}


async def own_import(engine, n):
    tries = [start_python(OWN.format(engine.IMPORT)) for _ in range(n)]
    return {"CPU ms": min(float(printed) for printed, *_ in tries) * 1e3}


async def first(engine, n):
    _, bare, _ = start_often("pass", n)
    printed, cpu, _ = start_often(engine.IMPORT + engine.FIRST, n)
    check(printed.strip(), "2")
    return {"CPU ms": (cpu - bare) * 1e3}
