"""HTML for what reading, retrieval and answering give back.

Turns documents, nodes, answers and indexes into escaped HTML that follows the
notebook's colours; it knows their shape (protocols below), not their classes, and
needs no Jupyter. Colours, escaping and small pieces are in `looks.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import count, islice
from typing import Any, Protocol

from .looks import (
    BAR,
    CODE,
    ONE_LINE,
    PALE,
    RULE,
    SOFT,
    Marker,
    bar,
    bounded,
    escaped,
    page,
    pale,
    pre,
    size,
    snippet,
)

_MOST_SHOWN = 20
_MOST_ROWS = 12
_numbers = count(1)


class _Document(Protocol):
    @property
    def text(self) -> str: ...
    @property
    def id_(self) -> str: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...


class _Chunk(_Document, Protocol):
    @property
    def source(self) -> str: ...


def render_nodes(
    nodes: Sequence[_Chunk], *, query: str | None = None, max_chars: int = 300
) -> str:
    """Return nodes as a list of rank, source, score and expandable text.

    Args:
        nodes: What to show, best first; those of a search have scores.
        query: Its words are marked in the texts.
        max_chars: Length of the snippet shown before a text is opened.
    """
    about = f" for “{escaped(snippet(query, 200))}”" if query else ""
    if not nodes:
        return page(pale(f"No matching passages{about}."))
    head = pale(f"{len(nodes):,} passages{about}") if query and len(nodes) > 1 else ""
    return page(head + _node_list(nodes, Marker(query), max_chars))


def render_response(
    text: str,
    source_nodes: Sequence[_Chunk],
    *,
    cited: frozenset[int] = frozenset(),
    note: str = "",
    query: str | None = None,
) -> str:
    """Return an answer with its sources below.

    Args:
        text: The answer; fenced code in it is shown as code, and numbers such as
            ``[2]`` lead to the passages.
        source_nodes: The passages it was made from.
        cited: Which of them (counted from 1) the answer cites.
        note: One quiet line under the answer.
        query: What was asked; its words are marked in the passages.
    """
    digest = blake2b(text.encode("utf-8", "replace"), digest_size=3).hexdigest()
    prefix = f"stepwell-{digest}-{next(_numbers)}"
    text, more = bounded(text, 20_000)
    asked = pale(escaped(snippet(query, 300))) if query else ""
    body = _with_code(text, prefix, source_nodes) + escaped(more)
    parts = [
        asked,
        '<div style="white-space:pre-wrap;overflow-wrap:anywhere;margin:2px 0 8px;'
        f'font-size:14px">{body}</div>',
    ]
    if note:
        parts.append(pale(escaped(note)))
    if source_nodes:
        parts.append(_node_list(source_nodes, Marker(query), 160, cited, prefix))
    return page("".join(parts))


def render_documents(documents: Sequence[_Document]) -> str:
    """Return documents as a list of names, lengths and expandable texts."""
    if not documents:
        return page(pale("No documents."))
    letters = sum(len(document.text) for document in documents)
    shown = documents[:_MOST_ROWS]
    rows = "".join(
        _opening(
            f"<b>{escaped(snippet(document.id_, 200))}</b>",
            f"{len(document.text):,} letters",
            f'<span style="display:block;{ONE_LINE}">'
            f"{escaped(snippet(document.text, 160))}</span>",
            _about(document.metadata) + _whole(document.text, Marker(None)),
        )
        for document in shown
    )
    head = _number(len(documents), "document")
    return page(pale(f"{head} · {letters:,} letters") + rows + _more(documents, shown))


def render_index(
    documents: Mapping[str, int],
    sample: Sequence[_Chunk],
    *,
    kind: str,
    model: str | None = None,
    dims: int | None = None,
) -> str:
    """Return what an index holds: how much, of what, by which model, and a sample.

    Args:
        documents: How many chunks it has of each document, by id.
        sample: Some of the chunks.
        kind: How it is searched, for instance ``"hybrid"``.
        model: The name of the embedding model, where there is one.
        dims: Dimensions of its vectors, where they are known.
    """
    number = sum(documents.values())
    facts = [
        f"<b>{_number(number, 'chunk')}</b> of "
        f"<b>{_number(len(documents), 'document')}</b>",
        escaped(kind),
    ]
    if model is not None:
        facts.append(f'<span style="{CODE}">{escaped(snippet(model, 120))}</span>')
    if dims is not None:
        # Vectors are float32.
        vectors = size(4 * dims * number)
        facts.append(f"{dims:,} dimensions, {vectors} of vectors")
    parts = [f"<div>{' · '.join(facts)}</div>"]
    if documents:
        parts.append(_document_table(documents))
        parts.append(
            f'<details style="margin-top:6px"><summary style="{PALE};cursor:pointer">'
            f"a sample of the chunks</summary>{_node_list(sample, Marker(None), 160)}"
            "</details>"
        )
    else:
        parts.append(pale("It is empty: nothing will be found. See insert()."))
    return page("".join(parts))


def _document_table(documents: Mapping[str, int]) -> str:
    largest = max(documents.values())
    cell = f"{RULE};padding:2px 16px 2px 0;text-align:left;vertical-align:middle"
    width = "width:90px;height:6px;vertical-align:middle;margin-right:8px"
    shown = list(islice(documents.items(), _MOST_ROWS))
    rows = "".join(
        f'<tr style="background:none"><td style="{cell};overflow-wrap:anywhere">'
        f'{escaped(snippet(name, 120))}</td><td style="{cell};{PALE};white-space:'
        f'nowrap">{bar(chunks / largest, width)}{_number(chunks, "chunk")}</td></tr>'
        for name, chunks in shown
    )
    left = len(documents) - len(shown)
    more = pale(f"and {_number(left, 'document')} more") if left else ""
    return (
        '<table style="border-collapse:collapse;margin:6px 0;font-size:inherit;'
        f'border:none"><tbody>{rows}</tbody></table>{more}'
    )


def _number(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _more(all_of_them: Sequence[Any], shown: Sequence[Any]) -> str:
    left = len(all_of_them) - len(shown)
    return f'<div style="{RULE};padding:4px 0">{pale(f"and {left:,} more")}</div>' * (
        left > 0
    )


def _opening(
    name: str, right: str, snip: str, inside: str, *, id_: str = "", edge: str = ""
) -> str:
    """Return one row of a list, which opens; all of its arguments are HTML."""
    mark = f' id="{id_}"' if id_ else ""
    return (
        f'<details{mark} style="{RULE};padding:5px 0 5px 6px;{edge}">'
        '<summary style="cursor:pointer"><span style="display:inline-flex;width:calc('
        '100% - 20px);vertical-align:top;flex-direction:column"><span style="display:'
        f'flex;gap:10px;align-items:baseline"><span style="flex:1 1 auto;{ONE_LINE}">'
        f'{name}</span><span style="{PALE};flex:none;white-space:nowrap;'
        f'font-variant-numeric:tabular-nums">{right}</span></span>'
        f'<span class="snippet" style="{PALE};overflow-wrap:anywhere">{snip}</span>'
        f"</span></summary>{inside}</details>"
    )


def _node_list(
    nodes: Sequence[_Chunk],
    mark: Marker,
    max_chars: int,
    cited: frozenset[int] = frozenset(),
    prefix: str = "",
) -> str:
    shown = nodes[:_MOST_SHOWN]
    scores = [score for node in shown if (score := _score(node)) is not None]
    rows = []
    for rank, node in enumerate(shown, start=1):
        is_cited = rank in cited
        place = f'<span style="{PALE}">[{rank}]</span> ' if scores or prefix else ""
        badge = (
            ' <span title="cited in the answer" style="color:#3b82f6">cited</span>'
            if is_cited
            else ""
        )
        rows.append(
            _opening(
                f"{place}<b>{escaped(snippet(node.source, 200))}</b>{badge}",
                _score_html(node, scores),
                mark(snippet(node.text, max_chars)),
                _parts_html(node) + _whole(node.text, mark),
                id_=f"{prefix}-{rank}" if prefix else "",
                edge=f"border-left:3px solid {BAR if is_cited else 'transparent'}",
            )
        )
    return "".join(rows) + _more(nodes, shown)


def _score(node: Any) -> float | None:
    score = getattr(node, "score", None)
    return None if score is None else float(score)


def _score_html(node: Any, scores: Sequence[float]) -> str:
    score = _score(node)
    if score is None:
        return ""
    # Scores of cross-encoders may be below 0: then the lowest one is the origin.
    low, high = min(0.0, *scores), max(scores)
    share = (score - low) / (high - low) if high > low else 0.0
    width = "width:56px;height:6px;vertical-align:middle;margin-right:6px"
    return f"{bar(max(share, 0.04), width)}{score:.3g}"


def _parts_html(node: Any) -> str:
    chunk = getattr(node, "node", node)
    said = [
        f"{name} {value:.3g}" for name, value in getattr(node, "scores", {}).items()
    ]
    start = getattr(chunk, "start_char_idx", None)
    if start is not None:
        said.append(f"letters {start:,}–{chunk.end_char_idx or start:,}")
    of = getattr(chunk, "ref_doc_id", None)
    if of:
        said.append(f"of {snippet(str(of), 200)}")
    return f'<div style="{PALE};font-size:12px">{escaped(" · ".join(said))}</div>'


def _about(metadata: Mapping[str, Any]) -> str:
    said = [f"{name}: {snippet(str(value), 120)}" for name, value in metadata.items()]
    return f'<div style="{PALE};font-size:12px;overflow-wrap:anywhere">' + (
        f"{escaped(' · '.join(said[:12]))}</div>"
    )


def _whole(text: str, mark: Marker) -> str:
    begin, more = bounded(text)
    return pre(f"{mark(begin)}{escaped(more)}")


_FENCE = re.compile(r"^ {0,3}```[^\n]*\n(.*?)^ {0,3}```[ \t]*$\n?", re.M | re.S)
_CITED = re.compile(r"\[(\d+(?:\s*[,;–-]\s*\d+)*)\]")


def _with_code(text: str, prefix: str, nodes: Sequence[_Chunk]) -> str:
    pieces = _FENCE.split(text)
    return "".join(
        pre(escaped(piece.rstrip())) if i % 2 else _with_names(piece, prefix, nodes)
        for i, piece in enumerate(pieces)
    )


def _with_names(text: str, prefix: str, nodes: Sequence[_Chunk]) -> str:
    pieces = re.split(r"`([^`\n]+)`", text.strip("\n"))
    return "".join(
        f'<code style="{CODE};{SOFT};color:inherit;border-radius:3px;padding:1px 3px">'
        f"{escaped(piece)}</code>"
        if i % 2
        else _with_links(piece, prefix, nodes)
        for i, piece in enumerate(pieces)
    )


def _with_links(text: str, prefix: str, nodes: Sequence[_Chunk]) -> str:
    """Return a text whose numbers in brackets lead to the passages below it."""

    def link(match: re.Match[str]) -> str:
        number = int(match[0][:9])
        if not 1 <= number <= min(len(nodes), _MOST_SHOWN):
            return match[0]
        title = escaped(snippet(nodes[number - 1].source, 200))
        return (
            f'<a href="#{prefix}-{number}" title="{title}" '
            f'style="color:#3b82f6;text-decoration:none">{match[0]}</a>'
        )

    pieces = _CITED.split(text)
    return "".join(
        f"[{re.sub(r'[0-9]+', link, escaped(piece))}]" if i % 2 else escaped(piece)
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
            score = _score(node)
            shown = "" if score is None else f"  ({score:.3g})"
            lines.append(f"[{rank}] {node.source}{shown}")
            lines.append(f"    {snippet(node.text, self._max_chars)}")
        return "\n".join(lines) or "No matching passages."


def show_nodes(
    nodes: Sequence[Any], query: str | None = None, *, max_chars: int = 300
) -> NodeView:
    """Return a view of chunks or retrieved nodes for a notebook cell or for ``print``.

    Args:
        nodes: Nodes as a retriever or reranker returns them, a plain list too,
            which is what an event field makes of a `NodeList`; or the chunks that a
            splitter makes.
        query: Its words are marked in the texts.
        max_chars: Length of each snippet.
    """
    return NodeView(nodes, query, max_chars)
