"""The house stands as CONTRIBUTING.md draws it: read from the imports."""

import ast
import graphlib
import sys

import pytest

from house.plan import (
    FACE,
    ROOT,
    SOURCE,
    floors,
    imports_of,
    is_own,
    module_name,
    neighbours,
    room,
    source_files,
    table,
    ticked,
    vendors,
)

FILES = source_files()
ON_ITS_OWN = "rag"
ON_TOP = "notebook"
BETWEEN = "agents"


def each_file(wanted=lambda room: True):
    """Run the test once for every file in the rooms that are wanted."""
    files = [file for file in FILES if wanted(room(module_name(file)))]
    names = [str(file.relative_to(SOURCE)) for file in files]
    return pytest.mark.parametrize("file", files, ids=names)


LONGEST = 500


def test_every_room_stands_on_a_floor():
    rooms = {room(module_name(file)) for file in FILES} - {ON_ITS_OWN}
    assert rooms <= set(floors()), "put the room into the table of floors"


def test_the_table_names_no_room_that_is_not_there():
    there = {room(module_name(file)) for file in FILES}
    assert set(floors()) <= there


def test_the_table_of_the_house_names_every_file():
    drawn = {name for row in table("The house") for name in ticked(row[0])}
    there = {str(file.relative_to(SOURCE)) for file in FILES}
    assert there - drawn == set(), "files that CONTRIBUTING.md does not explain"
    assert drawn - there == set(), "CONTRIBUTING.md explains files that are gone"


@each_file(lambda room: room not in (ON_ITS_OWN, ON_TOP, BETWEEN))
def test_imports_go_down(file):
    floor, allowed = floors(), neighbours()
    here = room(module_name(file))
    for each in imports_of(file):
        if not is_own(each.name) or room(each.name) == here:
            continue
        there = room(each.name)
        assert there != ON_ITS_OWN, f"{each}: the engine does not know the RAG rooms"
        assert there != BETWEEN, f"{each}: the engine does not know the agents"
        if here == FACE and each.deferred:
            continue  # the face's hooks and late names reach up, when asked
        down = floor[there] < floor[here] or (here, there) in allowed
        assert down, f"{each}: upward, or across a floor"


def test_what_the_table_allows_on_one_floor_makes_no_circle():
    read_by: dict[str, set[str]] = {}
    for reader, read in neighbours():
        read_by.setdefault(reader, set()).add(read)
    graphlib.TopologicalSorter(read_by).prepare()  # raises CycleError


@each_file(lambda room: room == ON_TOP)
def test_the_notebook_room_knows_the_face_and_itself_only(file):
    for each in imports_of(file):
        if is_own(each.name):
            assert each.name == FACE or room(each.name) == ON_TOP, each


@each_file(lambda room: room == BETWEEN)
def test_the_agents_know_the_two_faces_and_themselves_only(file):
    for each in imports_of(file):
        if is_own(each.name):
            faces = (FACE, f"{FACE}.{ON_ITS_OWN}")
            assert each.name in faces or room(each.name) == BETWEEN, each


@each_file(lambda room: room == ON_ITS_OWN)
def test_the_rag_room_knows_itself_only(file):
    for each in imports_of(file):
        if is_own(each.name):
            assert room(each.name) == ON_ITS_OWN, each


@each_file()
def test_an_outside_package_is_met_only_where_the_table_says(file):
    known = vendors()
    here = str(file.relative_to(SOURCE).with_suffix(""))
    for each in imports_of(file):
        package = each.name.split(".")[0]
        if package in sys.stdlib_module_names or is_own(each.name):
            continue
        assert package in known, f"{each}: not in the table of outside packages"
        places = known[package]
        inside = any(
            place == "anywhere" or here == place or here.startswith(place + "/")
            for place in places
        )
        assert inside, f"{each}: only {' and '.join(places)} may"


@each_file()
def test_no_import_is_for_the_type_checker_alone(file):
    names = {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name | ast.Attribute)
    }
    assert "TYPE_CHECKING" not in names, "a type that is needed below lives below"


@each_file()
def test_no_file_is_long(file):
    lines = len(file.read_text(encoding="utf-8").splitlines())
    assert lines < LONGEST, f"{file.relative_to(ROOT)} has {lines} lines"


@each_file()
def test_every_file_opens_by_saying_what_lives_in_it(file):
    assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
