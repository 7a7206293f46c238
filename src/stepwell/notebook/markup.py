"""The words and boxes around the pictures: a run as HTML, live parts and final whole.

Pure text from a `RunView` and a `Diagram`. Everything that came from a run is
escaped: documents in events are not to be trusted. What is drawn is in `svg` and
`timeline`; who sends it to the page, in `panel`.
"""

from __future__ import annotations

from collections.abc import Iterable

from .colours import (
    DARK_PAGES,
    STATUS_DARK,
    STATUS_LIGHT,
    badge_of,
    badge_style,
    mark_of,
)
from .diagram import Diagram
from .escaping import escaped
from .figure import theme_rules
from .parts import Entry
from .story import (
    CODE,
    PALE,
    TEXT,
    amounts_words,
    output_html,
    questions_html,
)
from .svg import Mark, as_image
from .timeline import seconds, status_of, timeline_svg
from .view import RunView

# What is shown of runs is at most so wide, and what fills it is drawn for that.
WIDEST = 1000.0
WIDTH = 996.0
BESIDE = 640.0
# Behind the error of a run that did not fail by itself.
_TINTS = {
    "cancelled": "rgba(128,128,128,.1)",
    "stalled": "rgba(234,88,12,.08)",
    "timed out": "rgba(234,88,12,.08)",
}
GRAPH_COLUMN = 500.0


def is_beside(diagram: Diagram) -> bool:
    """Whether the graph is so narrow and tall that the timeline goes to its right."""
    layout = diagram.layout
    return not layout.across and layout.width <= BESIDE


def timeline_width(diagram: Diagram) -> float:
    """The timeline's full size beside or under this graph."""
    if not is_beside(diagram):
        return WIDTH
    return WIDTH - 18.0 - max(graph_column(diagram), 240.0)


def graph_column(diagram: Diagram) -> float:
    """How wide the graph may be beside its timeline; a wider one is drawn smaller."""
    return min(diagram.layout.width, GRAPH_COLUMN)


def header_html(view: RunView) -> str:
    """Name, state, how far it is, how long it took."""
    calls = view.calls
    facts = [f"{view.steps_done}/{len(view.steps)} steps"]
    if calls > len(view.steps) or calls > view.steps_done:
        facts.append(f"{calls:,} call{'s' if calls != 1 else ''}")
    facts.append(seconds(view.elapsed))
    facts += [escaped(words) for words in amounts_words(view.amounts)]
    stale = (
        '<span title="Its cell has been run again since this run began; the run goes '
        'on with the steps as they were.">'
        f'<span style="{badge_style("warning")}">stale</span>'
        f' <span style="{PALE}">its steps have changed since</span></span>'
        if view.stale
        else ""
    )
    return (
        f'<div style="{TEXT};display:flex;align-items:center;gap:0 10px;'
        'flex-wrap:wrap">'
        f'<b style="font-size:14px;font-weight:600">{escaped(view.name)}</b>'
        f'<span style="{badge_style(view.state)}">{escaped(view.state)}</span>'
        f'<span style="{PALE};'
        f'font-variant-numeric:tabular-nums">{" · ".join(facts)}</span>'
        f"{stale}</div>"
    )


def marks(view: RunView) -> dict[str, Mark]:
    """How each step is painted on the graph."""
    return {
        name: Mark(status_of(view, step), count_words(view, name))
        for name, step in view.steps.items()
    }


def count_words(view: RunView, name: str) -> str:
    """The count on a step's badge; empty where there is nothing to count."""
    step = view.steps[name]
    whole = step.calls + step.queued
    if step.failed:
        return f"{step.failed:,} failed" if whole > 1 else "failed"
    if step.lacks:
        return step.lacks
    if step.status == "cancelled":
        return f"{step.cancelled:,} cancelled" if whole > 1 else "cancelled"
    if step.kept and not whole:
        return "kept"
    if whole < 2:
        return ""
    return f"{step.done:,}" if step.done == whole else f"{step.done:,}/{whole:,}"


def style_rules(view: RunView, diagram: Diagram, prefix: str) -> str:
    """The run's colours and counts as one `<style>`, scoped to one drawing.

    The drawing itself stays as it is in the page: hovering and selecting survive.
    """
    rules = [
        f".{prefix} "
        f".count{{float:right;font:700 10px/16px var(--jp-ui-font-family,sans-serif);"
        "color:#fff;border-radius:8px;text-align:center;white-space:nowrap}"
        f"@keyframes {prefix}-pulse{{50%{{stroke-width:3.4px;stroke-opacity:.55}}}}"
    ]
    for node in diagram.picture.steps:
        step = view.steps.get(node.name)
        if step is None:
            continue
        here = f".{prefix} .{node.id}"
        status = status_of(view, step)
        light, dark = STATUS_LIGHT[status], STATUS_DARK[status]
        pulse = (
            f";animation:{prefix}-pulse 1.4s ease-in-out infinite"
            if status == "running"
            else ""
        )
        rules.append(
            f"{here} .box{{fill:{light.fill};stroke:{light.line}{pulse}}}"
            f"{here} .label{{fill:{light.text}}}{here} .chip{{fill:{light.line}}}"
        )
        for page in DARK_PAGES:
            rules.append(
                f"{page} {here} .box{{fill:{dark.fill};stroke:{dark.line}}}"
                f"{page} {here} .label{{fill:{dark.text}}}"
            )
        words = count_words(view, node.name)
        if words:
            rules.append(
                f"{here} .count{{background:{badge_of(status)};padding:0 6px}}"
                f'{here} .count::after{{content:"{words}"}}'
            )
    if view.state == "waiting":
        pulse = f"animation:{prefix}-pulse 1.4s ease-in-out infinite"
        rules.append(f".{prefix} .person .box{{{pulse}}}")
    rules.append(
        "@media "
        f"(prefers-reduced-motion:reduce){{.{prefix} .box{{animation:none!important}}}}"
    )
    return f"<style>{''.join(rules)}</style>"


def graph_html(diagram: Diagram, prefix: str) -> str:
    """The graph as part of the page, ready for `style_rules`."""
    return diagram.live(prefix=prefix)


def timeline_html(view: RunView, diagram: Diagram, prefix: str) -> str:
    """The timeline as part of the page."""
    return timeline_svg(
        view, prefix=f"{prefix}-t", width=timeline_width(diagram), inline=True
    )


def log_html(entries: Iterable[Entry], *, earlier: int = 0) -> str:
    """Lines of the log as a table, oldest first."""
    rows = []
    if earlier > 0:
        rows.append(f'<div style="{PALE}">… {earlier:,} earlier lines not kept</div>')
    for entry in entries:
        step = (
            f'<b style="font-weight:600">{escaped(entry.step)}</b> '
            if entry.step
            else ""
        )
        rows.append(
            '<div style="display:flex;gap:10px;white-space:nowrap">'
            f'<span style="{PALE};min-width:58px;text-align:right;flex:none;'
            f'font-variant-numeric:tabular-nums">{entry.at:.3f}</span>'
            f'<span style="background:{mark_of(entry.kind)};width:7px;height:7px;'
            'border-radius:50%;flex:none;align-self:center"></span>'
            '<span style="overflow:hidden;text-overflow:ellipsis;min-width:0">'
            f"{step}{escaped(' '.join(entry.text.split()))}</span></div>"
        )
    return f'<div style="{CODE};line-height:1.55">{"".join(rows)}</div>'


def live_log_html(view: RunView, *, lines: int = 5) -> str:
    """The last lines of the log, in a box of fixed height so that nothing jumps."""
    last = list(view.log)[-lines:]
    return (
        f'<div style="{TEXT};height:{lines * 18.6:.0f}px;overflow:hidden;'
        "padding:4px 2px;"
        'border-top:1px solid var(--jp-border-color2,rgba(128,128,128,.25))">'
        f"{log_html(last)}</div>"
    )


def ending_html(view: RunView, *, brief: bool = False) -> str:
    """How the run ended: the error, or the result in one line.

    Args:
        view: The run.
        brief: The error's first line only, where the cell shows the rest below.
    """
    if view.error is not None:
        said = str(view.error)
        said = said.split("\n", 1)[0] if brief else said
        notes = getattr(view.error, "__notes__", [])
        shown = "\n".join([f"{type(view.error).__name__}: {said}", *map(str, notes)])
        state = view.state if view.state in _TINTS else "failed"
        tint = _TINTS.get(state, "rgba(220,38,38,.08)")
        shown = shown if len(shown) <= 1500 else shown[:1499] + "…"
        return (
            f'<div style="{CODE};line-height:1.5;white-space:pre-wrap;'
            "overflow-wrap:anywhere;"
            f"border-left:3px solid {mark_of(state)};background:{tint};"
            "border-radius:3px;"
            f'padding:6px 10px;margin:6px 0">{escaped(shown)}</div>'
        )
    if view.result:
        return (
            f'<div style="{CODE};overflow:hidden;text-overflow:ellipsis;'
            "white-space:nowrap;"
            f'padding:4px 2px 0"><span style="color:{mark_of("done")};'
            'font-weight:700">→</span> '
            f"{escaped(view.result)}</div>"
        )
    return ""


def problem_html(said: str) -> str:
    """What is wrong with a workflow that cannot be drawn yet."""
    return (
        f'<div style="{CODE};line-height:1.5;white-space:pre-wrap;max-width:1000px;'
        f"border-left:3px solid {mark_of('warning')};background:rgba(217,119,6,.09);"
        f'border-radius:3px;padding:6px 10px;margin:4px 0">{escaped(said)}</div>'
    )


def whole_html(
    view: RunView,
    diagram: Diagram,
    *,
    prefix: str,
    inline: bool = False,
    brief: bool = False,
) -> str:
    """All of a run in one piece of static HTML: no scripts, no widgets, no network.

    Args:
        view: The run, over or not.
        diagram: Its workflow's graph.
        prefix: A class unique to this display.
        inline: Draw as part of the page (follows its theme) rather than as images
            (survive every sanitizer).
        brief: As for `ending_html`.
    """
    width = timeline_width(diagram)
    if inline:
        graph = diagram.svg(inline=True, prefix=prefix, marks=marks(view))
        times = timeline_html(view, diagram, prefix)
    else:
        graph = diagram.image(marks=marks(view))
        svg = timeline_svg(view, prefix=f"{prefix}-t", width=width)
        times = as_image(svg, alt=f"Timeline of {view.name}", width=width)
    log = ""
    if view.log:
        count = f"{view.lines_made:,} event{'s' if view.lines_made != 1 else ''}"
        log = (
            f'<details style="margin-top:6px"><summary style="{PALE};'
            f'cursor:pointer">{count}'
            f'</summary><div style="max-height:320px;overflow:auto;padding:4px 2px">'
            f"{log_html(view.log, earlier=view.lines_made - len(view.log))}</div>"
            "</details>"
        )
    asked = questions_html(view, how="Answer with handler.send_event(…).")
    ending = ending_html(view, brief=brief)
    story = f"{asked}{times}{output_html(view)}{ending}{log}"
    if is_beside(diagram):
        body = (
            '<div style="display:flex;flex-flow:row wrap;gap:4px 18px;'
            'align-items:flex-start;margin-top:6px">'
            f'<div style="flex:0 1 {graph_column(diagram):.0f}px">{graph}</div>'
            f'<div style="flex:1 1 {width * 0.6:.0f}px;min-width:0">{story}</div></div>'
        )
    else:
        body = f'<div style="margin:6px 0">{graph}</div>{story}'
    return (
        f'<div class="{prefix}-whole" style="{TEXT};max-width:{WIDEST:.0f}px;'
        'padding:4px 2px">'
        f"<style>{theme_rules(f'{prefix}-whole')}</style>"
        f"{header_html(view)}{body}</div>"
    )


def one_line(view: RunView) -> str:
    """A run in one line of plain text."""
    calls = f"{view.calls} call{'s' if view.calls != 1 else ''}"
    text = (
        f"{view.name}: {view.state} · {view.steps_done}/{len(view.steps)} steps · "
        f"{calls} · "
        f"{seconds(view.elapsed)}"
    )
    if view.error is not None:
        said = str(view.error).split("\n", 1)[0]
        text += f" · {type(view.error).__name__}: {said}"
    return text
