"""Time the engines against each other, print ratios, and say which targets are met.

python benchmarks/run.py                    everything; results.json, results.svg
python benchmarks/run.py --small -r 1       a quick look, and a check of all answers
python benchmarks/run.py loop fanout -r 5   two jobs, five rounds
"""

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from jobs import JOBS
from measure import TOO_SLOW
from results import LIMIT, OURS, Results
from targets import PEER, TARGETS

HERE = Path(__file__).parent
# The distribution that an engine is installed by; None for what is written by hand.
ENGINES = {
    LIMIT: None,
    "queue": None,
    OURS: "stepwell",
    "llama-index-workflows": "llama-index-workflows",
    "langgraph": "langgraph",
    "pydantic-graph": "pydantic-graph",
    "burr": "burr",
}
BY_HAND_AND_OURS = (LIMIT, "queue", OURS)
# Compiled modules are kept, or each process would spend its time compiling ours anew.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
# Seconds until a process that does nothing any more is ended.
PATIENCE = 400
# What takes longer than this, in seconds, is measured twice at most.
LONG = 10.0
TITLE = (
    "times what the same job takes in hand-written asyncio (log scale, less is better)"
)


def main() -> None:
    options = read_arguments()
    results = Results()
    able = {engine: ask(engine) for engine in options.engines}
    about = describe(options)
    print(*(f"{key}: {value}" for key, value in about.items()), sep="\n")
    print_header(options.engines)
    if options.small:
        measure_together(options, able, results)
    for name in options.jobs:
        sizes = [JOBS[name].small] if options.small else JOBS[name].sizes
        for n in sizes:
            if not options.small:
                measure_in_turn(name, n, options, able, results)
            print_rows(name, n, options.engines, results)
        print_growth(name, sizes, options.engines, results)
    for (name, n, engine), note in results.notes.items():
        print(f"\n{engine}, {name} {n:,}: {note}")
    reached = [] if options.small else print_targets(results)
    if options.json:
        rows = results.to_rows()
        data = {**about, "title": TITLE, "results": rows, "targets": reached}
        options.json.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        print(f"\nwritten: {options.json}")
    if options.plot:
        write_picture(results, options.plot)


def read_arguments() -> argparse.Namespace:
    jobs = "\n".join(f"  {name:18} {job.about}" for name, job in JOBS.items())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"jobs:\n{jobs}\n\nengines, where installed: {', '.join(ENGINES)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="all, if none is named")
    parser.add_argument(
        "--small",
        action="store_true",
        help="small sizes in a process for each engine; peers only where named",
    )
    parser.add_argument("-r", "--rounds", type=int, default=3, help="3 by default")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE", help=".svg or .png")
    parser.add_argument(
        "--engines",
        metavar="NAME,NAME",
        help="by default all that are installed",
    )
    options = parser.parse_args()
    refuse_unknown(parser, "job", options.jobs, JOBS)
    default = BY_HAND_AND_OURS if options.small else tuple(ENGINES)
    chosen = options.engines.split(",") if options.engines else default
    refuse_unknown(parser, "engine", chosen, ENGINES)
    options.engines = [e for e in ENGINES if e in chosen and is_installed(e)]
    if not options.jobs and not options.small:
        options.json = options.json or HERE / "results.json"
        options.plot = options.plot or HERE / "results.svg"
    options.jobs = options.jobs or list(JOBS)
    return options


def refuse_unknown(parser, kind, named, known) -> None:
    unknown = [name for name in named if name not in known]
    if unknown:
        there = ", ".join(known)
        parser.error(f"no such {kind}: {', '.join(unknown)}; there are: {there}")


def is_installed(engine: str) -> bool:
    distribution = ENGINES[engine]
    if distribution is None or engine == OURS:
        return True
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def describe(options: argparse.Namespace) -> dict[str, object]:
    named = {ENGINES[engine] for engine in options.engines} - {None}
    packages = sorted({*named, "pydantic"})
    return {
        "when": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "load before": round(os.getloadavg()[0], 1),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "rounds": options.rounds,
        "small": options.small,
    }


# -- measuring --------------------------------------------------------------------


def ask(engine: str) -> list[str]:
    """The jobs an engine can do."""
    return json.loads(start(engine, []).stdout)


def start(engine: str, cells: list[str]) -> subprocess.CompletedProcess[str]:
    once = ["--once"] if len(cells) > 1 else []
    module = engine.replace("-", "_")
    command = [sys.executable, str(HERE / "measure.py"), *once, module, *cells]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, env=ENVIRONMENT
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr}")
    return done


def measure_in_turn(name, n, options, able, results) -> None:
    """Measure one job, the engines in turn, each time in a process of its own."""
    took: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for engine in options.engines:
            if name not in able[engine] or is_too_slow(engine, name, n, results):
                continue
            times = took.setdefault(engine, [])
            if len(times) < 2 or min(times) < LONG:
                began = os.times().elapsed
                measure(engine, [(name, n)], results)
                times.append(os.times().elapsed - began)


def is_too_slow(engine, name, n, results) -> bool:
    """Whether an engine has been given up at this size, or at a smaller one."""
    noted = [m for job, m, whose in results.notes if (job, whose) == (name, engine)]
    if noted and n > min(noted):
        results.notes.setdefault((name, n, engine), "left out, as smaller ones failed")
    return bool(noted)


def measure_together(options, able, results) -> None:
    """Measure all jobs of an engine in one process: faster, and less exact."""
    for _ in range(options.rounds):
        for engine in options.engines:
            cells = [(j, JOBS[j].small) for j in options.jobs if j in able[engine]]
            measure(engine, cells, results)


def measure(engine: str, cells: list[tuple[str, int]], results: Results) -> None:
    try:
        lines = start(engine, [f"{job}={n}" for job, n in cells]).stdout.splitlines()
    except subprocess.TimeoutExpired:
        lines = [json.dumps({"error": f"no answer in {PATIENCE} s"})] * len(cells)
    for (job, n), line in zip(cells, lines, strict=False):
        measured = json.loads(line)
        error = measured.get("error")
        if error is None:
            results.add(job, n, engine, measured)
        elif engine in BY_HAND_AND_OURS:
            sys.exit(f"{engine} failed at {job} {n}: {error}")
        else:
            results.notes[job, n, engine] = error


# -- printing ---------------------------------------------------------------------


def print_header(engines: list[str]) -> None:
    print("\nA figure, and × how many times that of `limit` it is. Less is better.\n")
    names = [engine.removesuffix("-workflows") for engine in engines]
    print_row("job", "n", "", names)


def print_row(job: str, n: str, figure: str, cells: list[str]) -> None:
    shown = "".join(f"{cell:>15}" for cell in cells)
    print(f"{job:18}{n:>14}  {figure:18}{shown}".rstrip(), flush=True)


def print_rows(name: str, n: int, engines: list[str], results: Results) -> None:
    names = {
        figure: None
        for e in engines
        for figure in results.figures.get((name, n, e), {})
    }
    for figure in names:
        cells = [show_cell(name, n, figure, engine, results) for engine in engines]
        print_row(name, f"{n:,}", figure, cells)


def show_cell(name, n, figure, engine, results) -> str:
    value = results.value(name, n, figure, engine)
    if value is None:
        note = results.notes.get((name, n, engine))
        return "" if note is None else "> 60 s" if note == TOO_SLOW else "-"
    times = results.ratio(name, n, figure, engine, LIMIT)
    if times is None or engine == LIMIT or not JOBS[name].beside_limit:
        return short(value)
    return f"{short(value)} ×{short(times)}"


def short(number: float) -> str:
    """Three digits, or two where the first is large."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def print_growth(name, sizes, engines, results) -> None:
    """The exponents between the least and the greatest size, where items are alike."""
    few, many = sizes[0], sizes[-1]
    figures = results.figures.get((name, many, engines[0]), {})
    for figure in figures:
        if few == many or not figure.startswith("µs/"):
            continue
        found = [results.growth(name, few, many, figure, e) for e in engines]
        cells = ["" if x is None else f"{x:.2f}" for x in found]
        print_row(name, f"{few:,}-{many:,}", "exponent", cells)


def print_targets(results: Results) -> list[dict[str, object]]:
    """Print which targets are met; gives the same as data."""
    print("\nTARGETS\n")
    rows = []
    for target in TARGETS:
        value = target.measured(results)
        if value is None:
            continue
        met = target.is_met_by(value)
        wanted = f"{'≥' if target.at_least else '≤'} {target.bound:,.4g}"
        shown = f"{target.what:26}{target.unit:26}{wanted:>8}{short(value):>9}"
        print(f"{shown}  {'met' if met else 'NOT MET'}")
        rows.append(
            {
                "what": target.what,
                "unit": target.unit,
                "wanted": wanted,
                "measured": value,
                "met": met,
            }
        )
    print(f"\n{sum(row['met'] for row in rows)} of {len(rows)} met")
    if len(rows) < len(TARGETS):
        lacking = len(TARGETS) - len(rows)
        print(f"{lacking} more not measured: their job or {PEER} was left out")
    return rows


def write_picture(results: Results, path: Path) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        print(f"not written, as matplotlib is not installed: {path}")
        return
    from plot import draw

    try:
        draw(results, path, TITLE)
    except ValueError as error:
        print(f"not written: {path}: {error}")
    else:
        print(f"written: {path}")


if __name__ == "__main__":
    main()
