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
    print(f"{'job':12}{'n':>7}  {'engine':24}{'us each':>9}{'x limit':>9}{'x stepwell':>12}")
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
                print(f"{job:12}{n:>7}  {engine:24}{'> 100 s':>9}")
                continue
            limit, ours = best["limit"], best["stepwell"]
            assert limit is not None and ours is not None
            print(
                f"{job:12}{n:>7}  {engine:24}{spent / n * 1e6:>9.1f}"
                f"{spent / limit:>9.2f}{spent / ours:>12.2f}"
            )
            results.append({"job": job, "n": n, "engine": engine, "cpu_s": spent})
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
