"""docs/notebook.md: its figures, forms and links are those of the code."""

import enum
import re
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr, create_model

import stepwell.record
from house.plan import ROOT
from stepwell import HumanResponseEvent, InputRequiredEvent, Question
from stepwell.notebook import (
    crowd,
    failures,
    forms,
    history,
    parts,
    presenter,
    story,
    tracebacks,
    view,
)

PAGE = (ROOT / "docs" / "notebook.md").read_text(encoding="utf-8")
LIMITS = {
    "panels of awaited runs in a cell": presenter.MOST_PANELS,
    "runs in the table": crowd._MOST_ROWS,
    "lines of events": view.LONGEST_LOG,
    "lines of output": view.LONGEST_OUTPUT,
    "letters of a line of output": parts.LONGEST_LINE,
    "texts that come in pieces": view.MOST_TEXTS,
    "letters of such a text": parts.LONGEST_TEXT,
    "bars of the timeline": view.MOST_BARS,
    "loops with a bar at a time": story._MOST_PROGRESS,
    "rows of a shown record": history.MOST_ROWS,
    "moments of its slider": history.MOST_MOMENTS,
    "changes of the state kept for it": view.MOST_CHANGES,
    "lines of an error": tracebacks.MOST_LINES,
    "failures of unawaited runs told below a cell": failures.MOST_LINES,
    "calls in `handler.record`": stepwell.record.CALLS_KEPT,
    "events for late readers": stepwell.record.EVENTS_KEPT,
}
LISTED = re.findall(r"^\| ([^|]+) \| ([\d,]+) \| [^|]+ \|$", PAGE, re.M)
KINDS = "|".join(re.escape(kind) for kind in forms.Kind.__args__)
FIELDS = re.findall(rf"^\| `(.+)` \| ({KINDS}) \|$", PAGE, re.M)


class Color(enum.Enum):
    RED = "red"


class Address(BaseModel):
    street: str


NAMES = {
    "Address": Address,
    "Annotated": Annotated,
    "Any": Any,
    "Color": Color,
    "Field": Field,
    "Literal": Literal,
    "SecretStr": SecretStr,
}


def test_the_limits_are_those_of_the_code():
    assert {what: int(n.replace(",", "")) for what, n in LISTED} == LIMITS
    assert f"up to {presenter.MOST_PANELS} awaited runs" in PAGE
    assert f"more\nthan {forms._LONG} letters" in PAGE
    assert f"a choice of up to {forms._MOST_BUTTONS} short words" in PAGE


@pytest.mark.parametrize(("annotation", "kind"), FIELDS)
def test_fields_of_a_type_are_filled_in_as_the_page_says(annotation, kind):
    fields = {"it": eval(annotation, NAMES), "other": str}
    answer = create_model("Answer", __base__=HumanResponseEvent, **fields)
    field, _ = forms.form_of(Question(InputRequiredEvent(), answer)).fields
    assert field.kind == kind


def test_every_kind_of_field_is_on_the_page():
    assert {kind for _, kind in FIELDS} == set(forms.Kind.__args__)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
