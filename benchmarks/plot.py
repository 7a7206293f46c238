"""The picture of a benchmark: what each engine needs, as a multiple of the limit.

`python plot.py results.json results.svg` draws it again; it needs matplotlib.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
from results import LIMIT, OURS, Results

__all__ = ["draw"]

# What is drawn, at which size, and how it is called there.
ROWS = {
    "latency": (300, "µs/run", "a run of 3 steps"),
    "loop": (50_000, "µs/step", "loop, per step"),
    "chain": (100, "µs/step", "100 distinct steps"),
    "fanout": (1_000, "µs/event", "fan-out of 1,000, 8 workers"),
    "concurrent": (1_000, "µs/run", "1,000 runs at once"),
    "stream": (100_000, "µs/event", "streamed event"),
    "state": (10_000, "µs/set+get", "state, set and get"),
    "snapshot": (1_000, "µs/event", "snapshot, per pending event"),
    "cancel": (1_000, "µs/worker", "cancel 1,000 workers"),
}
# Of the palette of Okabe and Ito, which colour-blind people can tell apart.
COLOURS = {
    OURS: "#0072b2",
    "queue": "#999999",
    "llama-index-workflows": "#d55e00",
    "langgraph": "#e69f00",
    "pydantic-graph": "#cc79a7",
    "burr": "#009e73",
}
STYLE = {
    # Text stays text, in whatever font the reader has.
    "svg.fonttype": "none",
    "svg.hashsalt": "stepwell",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": "#222222",
    "axes.labelcolor": "#222222",
    "xtick.color": "#444444",
    "ytick.color": "#222222",
}


def draw(results: Results, path: Path, title: str) -> None:
    """Write the picture; its kind is that of the file's ending."""
    bars, rows, y = [], [], 0.0
    for job, (n, figure, name) in ROWS.items():
        top = y
        for engine in COLOURS:
            times = results.ratio(job, n, figure, engine, LIMIT)
            if times is not None:
                bars.append((y, times, engine))
                y += 1
        if y > top:
            rows.append(((top + y - 1) / 2, name))
            y += 0.9
    if not bars:
        raise ValueError("there is nothing to draw: no ratio to the limit")
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8, 1.2 + 0.135 * y), layout="constrained")
        # A ground of its own, so that it can be read on dark pages as well.
        figure.set_facecolor("#ffffff")
        for engine, colour in COLOURS.items():
            of_engine = [(y, times) for y, times, whose in bars if whose == engine]
            if not of_engine:
                continue
            places, widths = zip(*of_engine, strict=True)
            axes.barh(
                places,
                [times - 1 for times in widths],
                left=1,
                height=0.86,
                color=colour,
                label=engine,
            )
            for place, times in of_engine:
                axes.annotate(
                    f"{times:.3g}" if times < 1000 else f"{times:,.0f}",
                    (max(times, 1), place),
                    xytext=(3, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=7,
                    fontweight="bold" if engine == OURS else "normal",
                )
        axes.set_xscale("log")
        axes.set_xlim(right=3.5 * max(times for _, times, _ in bars))
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}")
        axes.axvline(1, color="#222222", linewidth=0.8)
        axes.set_yticks(*zip(*rows, strict=True))
        axes.invert_yaxis()
        axes.margins(y=0.01)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(title)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        figure.legend(loc="outside upper center", ncols=6, frameon=False, fontsize=8)
        plain = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, metadata=plain, dpi=150)
        plt.close(figure)


if __name__ == "__main__":
    data = json.loads(Path(sys.argv[1]).read_text())
    draw(Results.from_rows(data["results"]), Path(sys.argv[2]), data["title"])
