"""Events: typed fields, free fields, the mapping face, and cells run again."""

import subprocess
import sys
import textwrap

import pytest
from pydantic import PrivateAttr, ValidationError

from stepwell import Event, StartEvent, StopEvent


class Typed(Event):
    a: int
    b: str = "b"


def test_declared_fields_are_validated():
    with pytest.raises(ValidationError):
        Typed(a="not a number")


def test_fields_nobody_declared_are_kept_and_shown():
    event = StartEvent(query="q", top_k=3)
    assert event.query == event["query"] == event.get("query") == "q"
    assert repr(event) == "StartEvent(query='q', top_k=3)"


def test_get_gives_the_default_where_nothing_is_set():
    assert StartEvent().get("query", "none") == "none"
    assert StartEvent().get("query") is None


def test_an_event_reads_like_a_mapping_over_all_its_fields():
    event = Typed(a=1, extra=2)
    assert list(event) == list(event.keys()) == ["a", "b", "extra"]
    assert dict(event.items()) == {"a": 1, "b": "b", "extra": 2}
    assert list(event.values()) == [1, "b", 2]
    assert len(event) == 3
    assert "extra" in event and "missing" not in event


def test_fields_can_be_set_by_name():
    event = Typed(a=1)
    event["new"] = 5
    event["a"] = 2
    assert (event.new, event.a) == (5, 2)


def test_a_missing_field_is_named_with_those_there_are():
    with pytest.raises(KeyError, match="Typed has no field 'c'; it has: a, b"):
        Typed(a=1)["c"]
    with pytest.raises(AttributeError, match="Typed has no field 'c'; it has: a, b"):
        _ = Typed(a=1).c


def test_an_event_without_fields_is_true():
    assert Event()


def test_a_stop_event_keeps_its_result_and_the_rest():
    event = StopEvent(result={"a": 1}, score=0.5)
    assert StopEvent.model_validate(event.model_dump()) == event
    assert (event.result, event.score) == ({"a": 1}, 0.5)


@pytest.mark.parametrize("name", ["items", "keys", "values", "get"])
def test_a_field_may_be_named_like_a_mapping_method(name):
    # Warnings are errors here, so that pydantic's would fail the test.
    kind = type(Event)(
        "Named", (Event,), {"__module__": __name__, "__annotations__": {name: list}}
    )
    event = kind(**{name: [1]})
    assert getattr(event, name) == event[name] == [1]


def test_classes_of_one_name_in_different_functions_are_strangers():
    def make():
        class Local(Event):
            pass

        return Local

    first, second = make(), make()
    assert not isinstance(first(), second)


CELL = "class Mid(Event):\n    n: int = 0\n"


def test_a_class_defined_again_in_its_cell_stays_the_same_to_everybody():
    namespace = {"Event": Event, "__name__": "notebook_of_events"}
    exec(CELL, namespace)
    old = namespace["Mid"]
    exec("class Sub(Mid):\n    pass\n", namespace)
    sub = namespace["Sub"]
    exec(CELL, namespace)
    new = namespace["Mid"]
    assert new is not old
    assert isinstance(new(), old) and isinstance(old(), new)
    assert issubclass(new, old) and issubclass(old, new)
    assert isinstance(sub(), new)
    assert not isinstance(Typed(a=1), new)
    match new():
        case old():
            pass
        case _:
            pytest.fail("match does not know the class any more")


def test_redefining_says_so_in_one_line(caplog):
    caplog.set_level("INFO", "stepwell.redefined")
    namespace = {"Event": Event, "__name__": "notebook_of_notices"}
    exec(CELL, namespace)
    assert not caplog.messages
    exec(CELL, namespace)
    assert caplog.messages == ["Mid redefined; steps that take it keep working."]


def test_a_class_that_a_module_reload_makes_again_is_the_same(tmp_path):
    (tmp_path / "shapes.py").write_text(
        "from stepwell import Event\nclass Circle(Event):\n    r: int = 1\n"
    )
    script = """
        import importlib, shapes
        old = shapes.Circle
        importlib.reload(shapes)
        assert shapes.Circle is not old and isinstance(shapes.Circle(), old)
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, check=True
    )


def test_private_attributes_are_given_by_name_to_a_class_with_a_constructor_too():
    class Held(Event):
        _key: str = PrivateAttr("none")

        def __init__(self, **fields):
            super().__init__(**fields)

    class Inherits(Held):
        pass

    for kind in (Held, Inherits):
        event = kind(n=1, _key="k")
        assert event._key == "k"
        assert event.to_dict() == {"n": 1}
