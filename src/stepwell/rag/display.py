"""HTML for what retrieval and answering give back.

Turns nodes and answers into escaped HTML that follows the notebook's colours;
it knows their shape (protocols below), not their classes, and needs no
Jupyter. Documents are untrusted: every text passes through `html.escape`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Protocol

from .words import query_words, stem


class _Shown(Protocol):
    @property
    def text(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def score(self) -> float | None: ...
    @property
    def scores(self) -> Mapping[str, float]: ...


_STYLE = """<style>
.stepwell-rag{--ink:var(--jp-content-font-color1,#1b1b1b);
--dim:var(--jp-content-font-color2,#5c5c5c);--line:var(--jp-border-color2,#d9d9d9);
--page:var(--jp-layout-color1,#fff);--soft:var(--jp-layout-color2,#f3f3f5);
--mark:var(--jp-brand-color1,#1976d2);color:var(--ink);background:var(--page);
font-family:var(--jp-content-font-family,system-ui,sans-serif);font-size:13px;
line-height:1.5;max-width:60em;padding:4px 8px}
.stepwell-rag ol{list-style:none;margin:4px 0;padding:0}
.stepwell-rag li{border-top:1px solid var(--line);margin:0;padding:6px 0}
.stepwell-rag summary{cursor:pointer;display:flex;gap:.7em;align-items:baseline}
.stepwell-rag summary::before{content:"▸";color:var(--dim)}
.stepwell-rag details[open]>summary::before{content:"▾"}
.stepwell-rag .rank{color:var(--dim);font-variant-numeric:tabular-nums}
.stepwell-rag .source{font-weight:600;overflow-wrap:anywhere}
.stepwell-rag .score{color:var(--dim);margin-left:auto;white-space:nowrap;
font-variant-numeric:tabular-nums}
.stepwell-rag .snippet{color:var(--dim);margin:2px 0 0 2.2em}
.stepwell-rag pre{background:var(--soft);color:inherit;border-radius:4px;
margin:6px 0 2px 2.2em;padding:8px 10px;white-space:pre-wrap;overflow-wrap:anywhere;
font-family:var(--jp-code-font-family,monospace);font-size:12px}
.stepwell-rag .answer code{background:var(--soft);color:inherit;border-radius:3px;
padding:1px 3px;font-family:var(--jp-code-font-family,monospace);font-size:12px}
.stepwell-rag mark{background:none;color:inherit;border-bottom:2px solid var(--mark)}
.stepwell-rag .answer{white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0 8px}
.stepwell-rag .answer pre{margin-left:0}
.stepwell-rag .note{color:var(--dim);font-size:12px}
.stepwell-rag .cited{border-left:3px solid var(--mark);padding-left:.6em}
</style>"""
# JupyterLab and Notebook set the --jp-* colours; elsewhere this follows the system.
_DARK = """<style>@media (prefers-color-scheme:dark){
.stepwell-rag{--ink:var(--jp-content-font-color1,#e4e4e4);
--dim:var(--jp-content-font-color2,#a6a6a6);--line:var(--jp-border-color2,#444);
--page:var(--jp-layout-color1,#1c1c1e);--soft:var(--jp-layout-color2,#2a2a2d);
--mark:var(--jp-brand-color1,#64b5f6)}}</style>"""


def render_nodes(
    nodes: Sequence[_Shown], *, query: str | None = None, max_chars: int = 300
) -> str:
    """Return nodes as a list of rank, source, score and expandable text.

    Args:
        nodes: What to show, best first.
        query: Its words are underlined in the texts.
        max_chars: Length of the snippet shown before a text is opened.
    """
    if not nodes:
        about = f" for “{escape(query)}”" if query else ""
        return _page(f'<span class="note">No matching passages{about}.</span>')
    return _page(_node_list(nodes, _marker(query), max_chars))


def render_response(
    text: str,
    source_nodes: Sequence[_Shown],
    *,
    cited: frozenset[int] = frozenset(),
    note: str = "",
    query: str | None = None,
) -> str:
    """Return an answer with its sources below.

    Args:
        text: The answer; fenced code in it is shown as code.
        source_nodes: The passages it was made from.
        cited: Which of them (counted from 1) the answer cites.
        note: One quiet line under the answer.
        query: Its words are underlined in the passages.
    """
    parts = [f'<div class="answer">{_with_code(text)}</div>']
    if note:
        parts.append(f'<div class="note">{escape(note)}</div>')
    if source_nodes:
        parts.append(_node_list(source_nodes, _marker(query), 160, cited))
    return _page("".join(parts))


def _page(body: str) -> str:
    return f'{_STYLE}{_DARK}<div class="stepwell-rag">{body}</div>'


def _node_list(
    nodes: Sequence[_Shown],
    mark: _Marker,
    max_chars: int,
    cited: frozenset[int] = frozenset(),
) -> str:
    items = []
    for rank, node in enumerate(nodes, start=1):
        parts = " · ".join(f"{k} {v:.3g}" for k, v in node.scores.items())
        score = "" if node.score is None else f"{node.score:.3g}"
        kind = ' class="cited" title="cited in the answer"' if rank in cited else ""
        items.append(
            f"<li{kind}><details><summary>"
            f'<span class="rank">[{rank}]</span>'
            f'<span class="source">{escape(node.source)}</span>'
            f'<span class="score" title="{escape(parts)}">{score}</span></summary>'
            f"<pre>{mark(node.text)}</pre></details>"
            f'<div class="snippet">{mark(_snippet(node.text, max_chars))}</div></li>'
        )
    return f"<ol>{''.join(items)}</ol>"


def _snippet(text: str, max_chars: int) -> str:
    # Underlines of headings and fences of code say nothing on one line.
    flat = " ".join(
        re.sub(r"^[ \t]*[^\w\s]{3,}\w*[ \t]*$", "", text, flags=re.M).split()
    )
    if len(flat) <= max_chars:
        return flat
    return flat[:max_chars].rsplit(" ", 1)[0] + " …"


class _Marker:
    """Escapes a text and underlines the words of a query in it."""

    def __init__(self, query: str | None) -> None:
        self._stems = {stem(word) for word in query_words(query or "")}

    def __call__(self, text: str) -> str:
        if not self._stems:
            return escape(text)
        return "".join(
            f"<mark>{escape(piece)}</mark>"
            if piece and stem(piece.lower()) in self._stems
            else escape(piece)
            for piece in re.split(r"(\w+)", text)
        )


def _marker(query: str | None) -> _Marker:
    return _Marker(query)


_FENCE = re.compile(r"^ {0,3}```[^\n]*\n(.*?)^ {0,3}```[ \t]*$\n?", re.M | re.S)


def _with_code(text: str) -> str:
    pieces = _FENCE.split(text)
    return "".join(
        f"<pre>{escape(piece.rstrip())}</pre>" if i % 2 else _with_names(piece)
        for i, piece in enumerate(pieces)
    )


def _with_names(text: str) -> str:
    pieces = re.split(r"`([^`\n]+)`", text.strip("\n"))
    return "".join(
        f"<code>{escape(piece)}</code>" if i % 2 else escape(piece)
        for i, piece in enumerate(pieces)
    )


class NodeView:
    """Nodes as a notebook shows them; printing it gives plain text."""

    def __init__(self, nodes: Sequence[Any], query: str | None, max_chars: int) -> None:
        self._nodes = list(nodes)
        self._query = query
        self._max_chars = max_chars

    def _repr_html_(self) -> str:
        return render_nodes(self._nodes, query=self._query, max_chars=self._max_chars)

    def __repr__(self) -> str:
        lines = []
        for rank, node in enumerate(self._nodes, start=1):
            score = "" if node.score is None else f"  ({node.score:.3g})"
            lines.append(f"[{rank}] {node.source}{score}")
            lines.append(f"    {_snippet(node.text, self._max_chars)}")
        return "\n".join(lines) or "No matching passages."


def show_nodes(
    nodes: Sequence[Any], query: str | None = None, *, max_chars: int = 300
) -> NodeView:
    """Return a view of retrieved nodes for a notebook cell or for ``print``.

    Args:
        nodes: Nodes as a retriever or reranker returns them; a plain list too,
            which is what an event field makes of a `NodeList`.
        query: Its words are underlined in the texts.
        max_chars: Length of each snippet.
    """
    return NodeView(nodes, query, max_chars)
