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


# Not the `ru_maxrss` of the process, which begins with that of who started it.
SIZE = """
with open("/proc/self/statm") as numbers:
    print(numbers.read().split()[1])
"""


def start_python(program: str) -> tuple[str, float]:
    """What a fresh Python printed, and the CPU seconds it took."""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        printed = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    check(process.returncode, 0)
    return printed, used.ru_utime + used.ru_stime


def start_often(program: str, n: int) -> float:
    """The least CPU seconds of several starts."""
    return min(start_python(program)[1] for _ in range(n))


async def import_(engine, n):
    figures = {"CPU ms": (start_often(engine.IMPORT, n) - start_often("", n)) * 1e3}
    if os.path.exists("/proc/self/statm"):
        pages = int(start_python(engine.IMPORT + SIZE)[0])
        figures["MB"] = pages * os.sysconf("SC_PAGESIZE") / 1e6
    return figures


async def own_import(engine, n):
    tries = [start_python(OWN.format(engine.IMPORT)) for _ in range(n)]
    return {"CPU ms": min(float(printed) for printed, _ in tries) * 1e3}


async def first(engine, n):
    program = engine.IMPORT + engine.FIRST
    check(start_python(program)[0].strip(), "2")
    return {"CPU ms": (start_often(program, n) - start_often("", n)) * 1e3}
