"""Anybody's names: quotes, markup, emoji, scripts, length; right in every format."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell import Event, StartEvent, StopEvent, Workflow, step
from stepwell.notebook import diagram

SVG = "{http://www.w3.org/2000/svg}"
FORBIDDEN = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\uffff]"
NAMES = [
    "a \"quoted\" 'name'",
    "<b>bold</b> & <script>alert(1)</script>",
    "&lt;already&gt; &#35; #35;",
    "back\\slash \\n \\N \\G ends in \\",
    "two\nlines\r\nand a\ttab",
    "🐘 👩‍👩‍👧 é",
    "שלום עולם مرحبا",
    "1. a list - `code` _em_ **bold** end",
    "x" * 200,
    "bell\x07 and \x9f and \uffff",
    "--> ]] }} %% ::: ; |pipe|",
    "]]> --> */ </style></svg>",
]


def named(name: str) -> type[Workflow]:
    """A workflow of which everything has this name, and a docstring of it."""
    kind = type(Event)(name, (Event,), {"__doc__": name, "__module__": __name__})

    async def first(self, ev):
        return kind()

    async def second(self, ev):
        return StopEvent()

    first.__annotations__ = {"ev": StartEvent, "return": kind}
    second.__annotations__ = {"ev": kind, "return": StopEvent}
    first.__doc__ = first.__name__ = name
    first.__qualname__ = f"Flow.{name}"
    body = {name: step(first), "second": step(second), "__doc__": name}
    return type(Workflow)("Flow", (Workflow,), body)


def shown(name: str) -> str:
    """The name as a viewer has it: unknown characters, spaces and length adapted."""
    clean = re.sub(FORBIDDEN, "\ufffd", name)
    return clean if len(name) <= 36 else clean[:35] + "…"


def spaced(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(params=NAMES, ids=lambda name: ascii(name[:16]))
def name(request):
    return request.param


@pytest.fixture(params=["graphviz", "own"])
def engine(request, monkeypatch):
    if request.param == "own":
        monkeypatch.setattr(diagram, "_graphviz_vendors", list)


def test_svg_shows_the_name(name, engine):
    root = ElementTree.fromstring(named(name).draw())
    texts = [spaced(e.text or "") for e in root.iter(f"{SVG}text")]
    assert texts.count(spaced(shown(name))) == 2
    assert not list(root.iter(f"{SVG}script"))


def test_html_says_the_whole_name(name):
    root = ElementTree.fromstring(named(name).draw("html"))
    titles = [span.get("title") for span in root.iter("span") if span.get("title")]
    start = spaced(shown(name).rstrip("…"))[:30]
    assert sum(spaced(title).startswith(start) for title in titles) == 2
    assert not list(root.iter("script"))


@pytest.mark.skipif(not shutil.which("dot"), reason="needs the dot program")
def test_graphviz_reads_the_name_back(name):
    dot = named(name).to_dot().encode("utf-8")
    done = subprocess.run(["dot", "-Tsvg"], input=dot, capture_output=True, check=True)
    assert done.stderr == b""
    root = ElementTree.fromstring(done.stdout)
    whole = spaced(" ".join(e.text or "" for e in root.iter(f"{SVG}text")))
    assert whole.count(spaced(shown(name))) == 2


def test_mermaid_holds_the_name_in_its_entities(name):
    made = named(name).to_mermaid()
    labels = re.findall(r'^  n\d+(?:\["|\(\[")(.*?)(?:"\]|"\]\)):::\w+$', made, re.M)
    decoded = [unescape(re.sub(r"#(\d+);", r"&#\1;", label)) for label in labels]
    clean = re.sub(FORBIDDEN, "\ufffd", name)
    # What HTML makes of a carriage return and what it is are the same to a reader.
    assert [spaced(text) for text in decoded].count(spaced(clean)) == 2
    for label in labels:
        assert re.fullmatch(r"(\w|[ ×]|#\d+;)*", label)


# What Python lets a class be named.
ALLOWED = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")


@settings(deadline=None, max_examples=40)
@given(st.text(ALLOWED, min_size=1, max_size=60))
def test_any_name_gives_well_formed_svg_and_html(name):
    kind = type(Event)(name, (Event,), {"__doc__": name, "__module__": __name__})

    async def first(self, ev):
        return kind()

    first.__annotations__ = {"ev": StartEvent, "return": kind | StopEvent}
    first.__doc__ = name
    flow = type(Workflow)("Flow", (Workflow,), {"first": step(first)})
    ElementTree.fromstring(flow.draw())
    ElementTree.fromstring(flow.draw("html"))
    flow.to_dot().encode("utf-8")
    flow.to_mermaid().encode("utf-8")
