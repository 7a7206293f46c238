"""Time the engines against each other and print ratios.

python benchmarks/run.py [JOB …] [--small] [-r ROUNDS] [--json FILE]
"""

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from workloads import ENGINES, JOBS

HERE = Path(__file__).parent
ROW = "{:12}{:>7}  {:24}{:>9}{:>9}{:>12}"


def measure(engine: str, job: str, n: int) -> float | None:
    """CPU seconds of one job in a process of its own; None where it takes too long."""
    command = [sys.executable, str(HERE / "workloads.py"), engine, job, str(n)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=100)
    except subprocess.TimeoutExpired:
        return None
    if ran.returncode:
        raise SystemExit(f"{engine} failed at {job}:\n{ran.stderr}")
    return float(ran.stdout)


# Defining a first model has pydantic load the rest of itself, so it is in the base.
IMPORT = """
import time
began = time.process_time()
import asyncio
from pydantic import BaseModel
class Warm(BaseModel):
    value: int = 0
between = time.process_time()
import stepwell
print(between - began, time.process_time() - between)
"""


def import_times(rounds: int) -> tuple[float, float]:
    """Least CPU seconds of importing asyncio and pydantic, and of stepwell on top."""
    command = [sys.executable, "-c", IMPORT]
    tries = [subprocess.check_output(command).split() for _ in range(5 * rounds)]
    return min(float(base) for base, _ in tries), min(float(own) for _, own in tries)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=", ".join(JOBS))
    parser.add_argument("--small", action="store_true", help="a tenth of the size")
    parser.add_argument("-r", "--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    unknown = set(options.jobs) - set(JOBS)
    if unknown:
        parser.error(f"no such job: {', '.join(unknown)}; there are: {', '.join(JOBS)}")
    there = {"llama-index-workflows": importlib.util.find_spec("workflows")}
    engines = [name for name in ENGINES if there.get(name, True)]
    results = []
    print(ROW.format("job", "n", "engine", "us each", "x limit", "x stepwell"))
    for job in options.jobs or JOBS:
        n = JOBS[job] // 10 if options.small else JOBS[job]
        best: dict[str, float | None] = dict.fromkeys(engines)
        for _ in range(options.rounds):
            for engine in engines:
                spent = measure(engine, job, n)
                if spent is not None:
                    before = best[engine]
                    best[engine] = spent if before is None else min(before, spent)
        for engine in engines:
            spent = best[engine]
            if spent is None:
                print(ROW.format(job, n, engine, "> 100 s", "", ""))
                continue
            limit, ours = best["limit"], best["stepwell"]
            assert limit is not None and ours is not None
            each = f"{spent / n * 1e6:.1f}"
            print(
                ROW.format(
                    job, n, engine, each, f"{spent / limit:.2f}", f"{spent / ours:.2f}"
                )
            )
            results.append({"job": job, "n": n, "engine": engine, "cpu_s": spent})
    if not options.jobs:
        base, own = import_times(options.rounds)
        print(
            f"import: asyncio and pydantic {base * 1e3:.1f} ms, "
            f"stepwell {own * 1e3:.1f} ms more"
        )
        results.append({"job": "import", "base_s": base, "own_s": own})
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
