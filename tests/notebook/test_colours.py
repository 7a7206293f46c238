"""Colours that can be read, on light pages and dark ones, and mean one thing each."""

import re
from pathlib import Path
from typing import get_args

import pytest

import stepwell.notebook
from stepwell.notebook import colours
from stepwell.notebook.colours import (
    ACCENT,
    BADGES,
    DARK,
    EDGE,
    GIVEN,
    LIGHT,
    LOOP,
    MARKS,
    STATUS_DARK,
    STATUS_LIGHT,
)

WHITE, BLACK = "#ffffff", "#111111"  # JupyterLab's pages
# What WCAG 2 asks for text (AA), and for what is no text.
TEXT, GRAPHIC = 4.5, 3.0
SHARES = (0.2126, 0.7152, 0.0722)  # of red, green and blue in luminance
STATES = {"running", "waiting", "done", "failed", "cancelled", "timed out", "stalled"}
STATUSES = {"queued", "running", "done", "failed", "waiting", "cancelled"}
FILES = [
    path
    for path in Path(stepwell.notebook.__file__).parent.glob("*.py")
    if path.name != "colours.py"
]


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
    ]
    return sum(part * share for part, share in zip(linear, SHARES, strict=True))


def contrast(one, other):
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("state", BADGES)
def test_white_letters_on_a_state_can_be_read(state):
    assert contrast(WHITE, BADGES[state]) >= TEXT


@pytest.mark.parametrize("state", MARKS)
def test_a_mark_stands_out_from_light_pages_and_dark_ones(state):
    assert contrast(MARKS[state], WHITE) >= GRAPHIC
    assert contrast(MARKS[state], BLACK) >= GRAPHIC


@pytest.mark.parametrize("colour", [EDGE, LOOP, GIVEN, ACCENT])
def test_an_arrow_stands_out_from_light_pages_and_dark_ones(colour):
    assert contrast(colour, WHITE) >= GRAPHIC
    assert contrast(colour, BLACK) >= GRAPHIC


@pytest.mark.parametrize("table", [LIGHT, DARK, STATUS_LIGHT, STATUS_DARK])
def test_words_in_boxes_can_be_read(table):
    poor = {k: contrast(ink.text, ink.fill) for k, ink in table.items()}
    assert {k: c for k, c in poor.items() if c < TEXT} == {}


def test_names_and_notes_in_pictures_can_be_read():
    for colour in (colours.NAME_LIGHT, colours.NOTE_LIGHT):
        assert contrast(colour, WHITE) >= TEXT
    for colour in (colours.NAME_DARK, colours.NOTE_DARK):
        assert contrast(colour, BLACK) >= TEXT


def test_words_of_a_record_can_be_read_on_dark_pages():
    for status in STATUSES:
        assert contrast(STATUS_DARK[status].line, BLACK) >= TEXT


def test_every_state_and_every_kind_of_box_has_its_colours():
    assert set(MARKS) >= set(BADGES) >= STATES | STATUSES
    assert set(STATUS_LIGHT) == set(STATUS_DARK) == STATUSES | {"idle"}
    assert set(LIGHT) == set(DARK) == set(get_args(colours.Kind))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_file_writes_the_colour_of_a_state_itself(path):
    ours = {*MARKS.values(), *BADGES.values()} - {colours.BADGE}
    found = re.findall(r"#[0-9a-f]{6}\b", path.read_text(encoding="utf-8"))
    assert ours.isdisjoint(found)
