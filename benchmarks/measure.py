"""One process of the benchmark: `python measure.py [--once] ENGINE JOB=N …`.

Prints a line of JSON for each job: its figures, or the error. Without jobs, the names
of those that the engine can do.
"""

import asyncio
import importlib
import json
import os
import sys
import threading
import time
import traceback

import gauges
from jobs import JOBS

# Seconds of processor time after which a job is given up.
LIMIT = 60
TOO_SLOW = f"more than {LIMIT} s"


def main():
    arguments = sys.argv[1:]
    if arguments[0] == "--once":
        gauges.once = bool(arguments.pop(0))
    engine_name, *jobs = arguments
    engine = importlib.import_module(f"engines.{engine_name}").ENGINE
    if not jobs:
        able = [name for name, job in JOBS.items() if hasattr(engine, job.method)]
        print(json.dumps(able))
    for job in jobs:
        name, n = job.split("=")
        print(json.dumps(perform(engine, name, int(n))), flush=True)


def perform(engine, name, n):
    """The figures of one job, or what went wrong."""
    over = threading.Event()
    watch = threading.Thread(target=give_up, args=[over], daemon=True)
    watch.start()
    try:
        return asyncio.run(JOBS[name].measure(engine, n))
    except Exception:
        return {"error": traceback.format_exc()}
    finally:
        over.set()


def give_up(over):
    # Not by RLIMIT_CPU: Linux then tells processor time in whole ticks only.
    until = time.process_time() + LIMIT
    while (left := until - time.process_time()) > 0:
        if over.wait(left):
            return
    print(json.dumps({"error": TOO_SLOW}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
