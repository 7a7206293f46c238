"""HTML for evaluations: figures with their intervals, plots, questions missed.

Pictures are SVG written here, in a page's own colours; no plotting library. Pieces
all displays share are in `looks.py`. Questions and places are other people's texts:
every one passes through `escaped`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from .looks import PALE, RULE, escaped, page, pale, snippet
from .metrics import Estimate
from .questions import Question

# Of dots and bars, one a retriever; they stand out from light pages and dark ones.
_INKS = ("#3b82f6", "#d97706", "#22a35a", "#a855f7", "#dc2626", "#1d9cb2", "#7f8896")
_BETTER, _WORSE = "#16a34a", "#dc2626"
_GRID = "var(--jp-border-color2,rgba(128,128,128,.28))"
_SAID = "var(--jp-ui-font-color2,#7b8794)"
_WIDTH, _LEFT, _RIGHT = 720, 76, 66
_MOST_ROWS = 60
_MOST_LISTED = 15
_NUMBER = "text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap"
_CELL = "padding:3px 12px 3px 0;vertical-align:top;text-align:left"


class _Result(Protocol):
    @property
    def question(self) -> Question: ...
    @property
    def rank(self) -> int | None: ...
    @property
    def seconds(self) -> float: ...
    @property
    def sources(self) -> Sequence[str]: ...


class _Report(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def results(self) -> Sequence[_Result]: ...
    @property
    def k(self) -> Sequence[int]: ...
    @property
    def left_out(self) -> Sequence[int]: ...
    @property
    def latency_p50(self) -> float: ...
    @property
    def latency_p95(self) -> float: ...
    def figures(self) -> Mapping[str, Estimate]: ...
    def by_kind(self) -> Mapping[str, Any]: ...


class _Difference(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def figure(self) -> str: ...
    @property
    def estimate(self) -> Estimate: ...
    @property
    def is_clear(self) -> bool: ...


class _Comparison(Protocol):
    @property
    def reports(self) -> Mapping[str, Any]: ...
    @property
    def k(self) -> Sequence[int]: ...
    @property
    def differences(self) -> Sequence[_Difference]: ...


def render_report(report: _Report) -> str:
    """Return one retriever's figures, by kind of question, and what it missed."""
    head = (
        f"<b>{escaped(report.name)}</b> "
        f'<span style="{PALE}">{len(report.results):,} questions · '
        f"{_latency(report)}</span>"
    )
    missed = [r for r in report.results if r.rank is None or r.rank > report.k[-1]]
    lists = _details(
        f"{len(missed):,} questions without an answer in the first {report.k[-1]}",
        _question_table(missed),
        len(missed),
    ) + _details("all questions", _question_table(report.results), 1)
    return page(
        f"<div>{head}</div>{_plot({report.name: report.figures()})}"
        f"{_kinds({report.name: report})}{_left_out([report])}{lists}"
    )


def render_comparison(comparison: _Comparison) -> str:
    """Return retrievers side by side: plot, table, and what only one of them found."""
    reports = comparison.reports
    first = next(iter(reports))
    number = len(reports[first].results)
    shared = _shared_figures(comparison)
    figures = {
        name: {f: e for f, e in report.figures().items() if f in shared}
        for name, report in reports.items()
    }
    head = pale(
        f"{number:,} questions · lines are 95 % intervals · differences are from "
        f"{escaped(first)}, ▲ or ▼ where their interval leaves zero out"
    )
    body = (
        f"{_plot(figures)}{head}{_table(comparison, figures)}{_kinds(reports)}"
        f"{_left_out(list(reports.values()))}"
    )
    return page(body + "".join(_only_found(comparison, first)))


def _shared_figures(comparison: _Comparison) -> list[str]:
    ks = comparison.k
    return [
        *(f"hit@{k}" for k in ks),
        "mrr",
        *(f"ndcg@{k}" for k in ks if k > 1),
    ]


def _plot(figures: Mapping[str, Mapping[str, Estimate]]) -> str:
    """Draw dots with their intervals: a band a figure, a row a retriever."""
    names = list(figures)
    bands = list(next(iter(figures.values())))
    row, gap, top = 16, 12, 8
    band = row * len(names) + gap
    height = top + band * len(bands) + 18
    inner = _WIDTH - _LEFT - _RIGHT

    def x(value: float) -> float:
        return _LEFT + inner * min(max(value, 0.0), 1.0)

    parts = []
    for tenth in (0, 2, 4, 6, 8, 10):
        at = x(tenth / 10)
        parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{height - 18}" '
            f'style="stroke:{_GRID}"/>'
            f'<text x="{at:.1f}" y="{height - 4}" text-anchor="middle" '
            f'style="fill:{_SAID};font-size:11px">{tenth / 10:.1f}</text>'
        )
    for number, figure in enumerate(bands):
        begin = top + number * band + gap / 2
        middle = begin + row * len(names) / 2
        parts.append(
            f'<text x="{_LEFT - 12}" y="{middle + 4:.1f}" text-anchor="end" '
            f'style="fill:currentColor;font-size:12px">{_label(figure)}</text>'
        )
        for place, name in enumerate(names):
            if (estimate := figures[name].get(figure)) is None:
                continue
            y = begin + row * (place + 0.5)
            ink = _ink(place)
            words = escaped(f"{name}: {_label(figure)} {estimate}")
            parts.append(
                f"<g><title>{words}</title>"
                f'<line x1="{x(estimate.low):.1f}" x2="{x(estimate.high):.1f}" '
                f'y1="{y:.1f}" y2="{y:.1f}" style="stroke:{ink};stroke-width:2.5;'
                'stroke-linecap:round;opacity:.55"/>'
                f'<circle cx="{x(estimate.value):.1f}" cy="{y:.1f}" r="4.5" '
                f'style="fill:{ink}"/>'
                f'<text x="{_WIDTH - _RIGHT + 14}" y="{y + 4:.1f}" '
                f'style="fill:currentColor;font-size:12px;'
                f'font-variant-numeric:tabular-nums">{estimate.value:.3f}</text></g>'
            )
    said = escaped(f"Figures of {', '.join(names)} with 95 per cent intervals")
    legend = "" if len(names) == 1 else _legend(names)
    return (
        f'{legend}<svg viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{said}" style="width:100%;max-width:{_WIDTH}px;height:auto;'
        f'display:block;margin:6px 0">{"".join(parts)}</svg>'
    )


def _legend(names: Sequence[str]) -> str:
    items = "".join(
        f'<span style="white-space:nowrap">{_dot(place)} {escaped(name)}</span>'
        for place, name in enumerate(names)
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:2px 18px">{items}</div>'


def _dot(place: int) -> str:
    return (
        '<span style="display:inline-block;width:9px;height:9px;border-radius:50%;'
        f'background:{_ink(place)}"></span>'
    )


def _ink(place: int) -> str:
    return _INKS[place % len(_INKS)]


def _label(figure: str) -> str:
    return {"mrr": "MRR"}.get(figure, figure.replace("ndcg", "nDCG"))


def _table(
    comparison: _Comparison, figures: Mapping[str, Mapping[str, Estimate]]
) -> str:
    differences = {(d.name, d.figure): d for d in comparison.differences}
    columns = list(next(iter(figures.values())))
    head = "".join(
        f'<th style="{_CELL};{_NUMBER};{PALE};font-weight:500">{_label(column)}</th>'
        for column in [*columns, "median time", "95 % within"]
    )
    rows = []
    for place, (name, own) in enumerate(figures.items()):
        cells = [
            f'<td style="{_CELL}">{_dot(place)} {escaped(name)}</td>',
            *(
                f'<td style="{_CELL};{_NUMBER}">{own[column].value:.3f}'
                f"{_gap(differences.get((name, column)))}</td>"
                for column in columns
            ),
        ]
        report = comparison.reports[name]
        for seconds in (report.latency_p50, report.latency_p95):
            cells.append(f'<td style="{_CELL};{_NUMBER}">{_time(seconds)}</td>')
        rows.append(f'<tr style="background:none">{"".join(cells)}</tr>')
    return _as_table(f'<th style="{_CELL}"></th>{head}', rows)


def _gap(difference: _Difference | None) -> str:
    if difference is None:
        return ""
    estimate = difference.estimate
    mark = f'<span style="{PALE}">≈</span>'
    if difference.is_clear:
        # A shape too, and the page's own colour for the number: not all see red.
        ink, sign = (_BETTER, "▲") if estimate.value > 0 else (_WORSE, "▼")
        mark = f'<span style="color:{ink};font-size:9px">{sign}</span>'
    low, high = _signed(estimate.low), _signed(estimate.high)
    return (
        f'<div style="font-size:11px;line-height:14px" title="95 % interval of the '
        f'difference: {low} to {high}">{mark} {_signed(estimate.value)}</div>'
    )


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def _kinds(reports: Mapping[str, Any]) -> str:
    """Return a table of hit rates by kind of question, where there are several."""
    kinds = {name: report.by_kind() for name, report in reports.items()}
    order = list(next(iter(kinds.values())))
    if len(order) < 2:
        return ""
    ks = sorted(set.intersection(*(set(report.k) for report in reports.values())))
    head = f'<th style="{_CELL}"></th>' + "".join(
        f'<th style="{_CELL};{_NUMBER};{PALE};font-weight:500">'
        f"{escaped(kind or 'other')} hit@{k}</th>"
        for kind in order
        for k in ks
    )
    rows = []
    for place, (name, parts) in enumerate(kinds.items()):
        cells = "".join(
            f'<td style="{_CELL};{_NUMBER}" title="{parts[kind].hit_rate[k]}">'
            f"{parts[kind].hit_rate[k].value:.3f}</td>"
            for kind in order
            for k in ks
        )
        rows.append(
            f'<tr style="background:none"><td style="{_CELL}">{_dot(place)} '
            f"{escaped(name)}</td>{cells}</tr>"
        )
    return _as_table(head, rows)


def _only_found(comparison: _Comparison, first: str) -> Iterator[str]:
    k = max([k for k in comparison.k if k <= 5] or comparison.k[:1])
    for name in list(comparison.reports)[1:]:
        for one, other in ((name, first), (first, name)):
            pairs = zip(
                comparison.reports[one].results,
                comparison.reports[other].results,
                strict=True,
            )
            found = [(a, b) for a, b in pairs if _within(a, k) and not _within(b, k)]
            words = (
                f"{len(found):,} questions that {one} finds in the first {k} and "
                f"{other} does not"
            )
            yield _details(words, _ranks_table(one, other, found), len(found))


def _within(result: _Result, k: int) -> bool:
    return result.rank is not None and result.rank <= k


def _ranks_table(one: str, other: str, found: Sequence[tuple[_Result, _Result]]) -> str:
    head = "".join(
        f'<th style="{_CELL};{PALE};font-weight:500{more}">{escaped(words)}</th>'
        for words, more in (
            ("question", ""),
            ("where the answer is", ""),
            (f"rank, {one}", ";text-align:right"),
            (f"rank, {other}", ";text-align:right"),
        )
    )
    rows = [
        f'<tr style="background:none"><td style="{_CELL}">'
        f"{escaped(snippet(mine.question.question, 160))}</td>"
        f'<td style="{_CELL};{PALE}">{_places(mine.question)}</td>'
        f'<td style="{_CELL};{_NUMBER}">{_rank(mine.rank)}</td>'
        f'<td style="{_CELL};{_NUMBER}">{_rank(theirs.rank)}</td></tr>'
        for mine, theirs in found[:_MOST_LISTED]
    ]
    return _as_table(head, rows) + _more(len(found) - len(rows))


def _question_table(results: Sequence[_Result]) -> str:
    # What went worst first: that is what one looks for.
    ordered = sorted(results, key=lambda r: -(r.rank or 10**9))
    head = "".join(
        f'<th style="{_CELL};{PALE};font-weight:500">{words}</th>'
        for words in ("rank", "question", "where the answer is", "what came first")
    )
    rows = [
        f'<tr style="background:none"><td style="{_CELL};{_NUMBER}">'
        f"{_rank(result.rank)}</td>"
        f'<td style="{_CELL}">{escaped(snippet(result.question.question, 160))}</td>'
        f'<td style="{_CELL};{PALE}">{_places(result.question)}</td>'
        f'<td style="{_CELL};{PALE}">'
        f"{escaped(snippet(next(iter(result.sources), 'nothing'), 120))}</td></tr>"
        for result in ordered[:_MOST_ROWS]
    ]
    return _as_table(head, rows) + _more(len(results) - len(rows))


def _places(question: Question) -> str:
    return "<br>".join(escaped(snippet(str(gold), 120)) for gold in question.gold[:3])


def _rank(rank: int | None) -> str:
    return "–" if rank is None else str(rank)


def _more(number: int) -> str:
    return pale(f"and {number:,} more, in to_rows()") if number > 0 else ""


def _left_out(reports: Sequence[_Report]) -> str:
    lines = [
        f"{escaped(report.name)} returns fewer than "
        f"{' or '.join(map(str, report.left_out))} chunks, so rates there are left out"
        for report in reports
        if report.left_out
    ]
    return "".join(pale(line) for line in lines)


def _latency(report: _Report) -> str:
    return (
        f"half answered within {_time(report.latency_p50)}, "
        f"95 % within {_time(report.latency_p95)}"
    )


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{1000 * seconds:.3g} ms"


def _as_table(head: str, rows: Sequence[str]) -> str:
    return (
        '<div style="overflow-x:auto"><table style="border-collapse:collapse;'
        f'border:none;font-size:12px;margin:4px 0;{RULE}"><thead>'
        f'<tr style="background:none">{head}</tr></thead><tbody>{"".join(rows)}'
        "</tbody></table></div>"
    )


def _details(words: str, body: str, number: int) -> str:
    if not number:
        return pale(escaped(words))
    return (
        f'<details style="margin:2px 0"><summary style="cursor:pointer;{PALE};'
        f'font-size:12px">{escaped(words)}</summary>{body}</details>'
    )
