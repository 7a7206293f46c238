"""Values to text and back: what is kept, what is refused, which classes return."""

import base64
import json
import math
import pickle
import sys
import types
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum, auto
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Generic, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    AnyUrl,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    SecretStr,
    field_serializer,
    field_validator,
)

from stepwell import DictState, Event, StartEvent, StopEvent
from stepwell.errors import ContextSerdeError, StepwellError
from stepwell.events import StepFailedEvent, WorkflowFailedEvent
from stepwell.serializers import (
    BaseSerializer,
    JsonPickleSerializer,
    JsonSerializer,
    PickleSerializer,
    UnreconstructedException,
    ValueSerdeError,
)

HERE = __name__


class Color(Enum):
    RED = (1, 2)
    BLUE = "b"


class Level(IntEnum):
    LOW = 1


class Mood(StrEnum):
    GOOD = "good"


class Right(Flag):
    READ = auto()
    WRITE = auto()


class Doc(BaseModel):
    text: str
    score: float = 0.0


class Titled(Doc):
    title: str = ""


class Found(Event):
    n: int
    docs: list[Doc] = Field(default_factory=list)
    anything: Any = None


class Tree(BaseModel):
    inner: "Tree | None" = None
    free: Any = None


class Words(RootModel[list[str]]):
    pass


class Renamed(Event):
    name: str = Field(alias="theName")
    other: int = Field(0, validation_alias=AliasChoices("o", "oo"))


T = TypeVar("T")


class Box(BaseModel, Generic[T]):
    held: T


@dataclass
class Point:
    x: float
    y: Any = None


@dataclass(frozen=True, slots=True)
class Pair:
    left: int
    right: tuple[int, ...] = ()


@dataclass
class Counted:
    items: list[int]
    size: int = field(init=False)
    LIMIT: ClassVar[int] = 3

    def __post_init__(self):
        self.items = [*self.items, 0]
        self.size = len(self.items)


class Component:
    def __init__(self, k: int) -> None:
        self.k = k

    @classmethod
    def class_name(cls) -> str:
        return "component"

    def to_dict(self) -> dict[str, Any]:
        return {"k": self.k, "__is_enum": (1, 2)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Component":
        assert data.get("__is_enum", (1, 2)) == (1, 2)
        return cls(data["k"])


class Opaque:
    def __init__(self, n: int = 0) -> None:
        self.n = n

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and self.n == other.n

    __hash__ = None


class Coded(Exception):
    def __init__(self, code: int, *, detail: str = "") -> None:
        super().__init__(f"code {code}")
        self.code, self.detail = code, detail


class Told(Exception):
    """Rebuilt from the arguments it was made with, attributes and all."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.extra = None


class Outer:
    class Nested(BaseModel):
        n: int = 0


def again(value: object, serializer: BaseSerializer | None = None) -> Any:
    """The value after being saved and read."""
    serializer = serializer or JsonSerializer()
    return serializer.deserialize(serializer.serialize(value))


def data_of(value: object) -> Any:
    """What is written of the value."""
    return json.loads(JsonSerializer().serialize(value))


def same(one: Any, other: Any) -> bool:
    """Equal and of equal classes, all the way down; NaN equals itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return repr(one) == repr(other)  # not so: -0.0, or NaN to itself
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, list | tuple | deque):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, BaseModel):
        mine, yours = one.__dict__, other.__dict__
        extra = (one.__pydantic_extra__, other.__pydantic_extra__)
        return same(mine, yours) and same(*(e or {} for e in extra))
    if isinstance(one, Point):
        return same(vars(one), vars(other))
    if isinstance(one, datetime | time):
        zones = all(isinstance(each.tzinfo, ZoneInfo) for each in (one, other))
        return (
            one.replace(tzinfo=None) == other.replace(tzinfo=None)
            and one.fold == other.fold
            and one.utcoffset() == other.utcoffset()
            and (not zones or one.tzinfo is other.tzinfo)
        )
    if isinstance(one, Decimal):
        return one.compare_total(other) == 0
    return one == other


# ---- what comes back -----------------------------------------------------------

PLAIN = [None, True, 0, -1, 10**3000, 0.5, -0.0, 1e-300, "", "é\ud800x", "\x00"]
EXACT = [
    (1, (2,), [3]),
    {1, 2},
    {(1, 2), "a"},
    frozenset({"a"}),
    deque([1, 2], maxlen=3),
    deque(["a"]),
    b"\x00\xff",
    1 + 2j,
    complex("nan+infj"),
    math.nan,
    math.inf,
    -math.inf,
    Decimal("1.10"),
    Decimal("NaN"),
    UUID(int=5),
    Path("a/b c"),
    date(2026, 1, 2),
    time(1, 2, 3, 4),
    time(1, 2, tzinfo=UTC),
    datetime(2026, 1, 2, 3, 4, 5, 6),
    datetime(2026, 1, 2, tzinfo=UTC),
    datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-3, seconds=1))),
    datetime(2026, 7, 2, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2026, 10, 25, 2, 30, fold=1),
    datetime(2026, 1, 2, tzinfo=ZoneInfo("UTC")),
    timedelta(days=-3, microseconds=7),
    timedelta.max,
    {2: "a", None: "c"},
    {"1": "text", 1: "number"},
    {(1, 2): {3: {4}}},
    {"__is_pydantic": True, "value": {}, "qualified_name": "os.system"},
    {"__is_value": 0},
    {"__is_later": [1]},
    Color.RED,
    Level.LOW,
    Mood.GOOD,
    Right.READ,
    Right.READ | Right.WRITE,
    Doc(text="t", score=1.5),
    Words(["a", "b"]),
    Outer.Nested(n=3),
    Point(1.0, Point(2.0)),
    Pair(1, (2, 3)),
    Found(n=1, docs=[Doc(text="a")]),
    StopEvent(result=1, extra=2),
    StartEvent(),
    Renamed(theName="x", oo=3),
    DictState(a=1, b=(2,), c=Doc(text="c")),
    Tree(inner=Tree(free={"k": (1,)})),
]


@pytest.mark.parametrize("value", [*PLAIN, *EXACT], ids=repr)
@pytest.mark.parametrize("serializer", [JsonSerializer(), PickleSerializer()])
def test_what_is_saved_comes_back_with_its_classes(value, serializer):
    if value == PLAIN[4]:
        value = 10**3000
    assert same(again(value, serializer), value)


hashables = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.floats(allow_nan=False)
    | st.dates()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.sampled_from([*Color, *Level, *Mood, *Right]),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner),
    max_leaves=3,
)
zones = st.sampled_from(
    [None, UTC, timezone(timedelta(minutes=-90)), ZoneInfo("Europe/Berlin")]
)
moments = st.datetimes(timezones=zones, allow_imaginary=True)
names = st.text(max_size=4) | st.sampled_from(["_data", "value", "__is_enum", "text"])
values = st.recursive(
    hashables
    | st.floats()
    | st.complex_numbers()
    | moments
    | st.timedeltas()
    | st.times(timezones=zones),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(lambda v: deque(v, maxlen=4))
        | st.sets(hashables, max_size=3)
        | st.dictionaries(names, inner, max_size=3)
        | st.dictionaries(hashables, inner, max_size=3)
        | st.builds(Point, st.floats(allow_nan=False), inner)
        | st.builds(Tree, free=inner)
        | st.builds(Found, n=st.integers(), anything=inner)
        | st.builds(
            lambda free: StopEvent(**free),
            st.dictionaries(
                st.sampled_from(["result", "_data", "__is_enum", "value"]),
                inner,
                max_size=3,
            ),
        )
    ),
    max_leaves=8,
)


@given(values)
@settings(max_examples=300, deadline=None)
@example({"__is_value": True, "type": "tuple", "value": []})
@example(StopEvent(_data={"_data": 1}))
def test_every_value_of_these_kinds_round_trips(value):
    serializer = JsonSerializer()
    text = serializer.serialize(value)
    data = json.loads(text, parse_constant=lambda _: pytest.fail("not strict JSON"))
    assert text == json.dumps(data)  # as it was ever written
    assert same(serializer.deserialize(text), value)


@given(values)
@settings(max_examples=100, deadline=None)
def test_pickling_serializer_reads_what_it_and_the_other_wrote(value):
    assert same(again(value, PickleSerializer()), value)
    text = JsonSerializer().serialize(value)
    assert same(PickleSerializer().deserialize(text), value)


def test_equal_values_are_the_same_text():
    first = JsonSerializer().serialize({"a", "b", "c"})
    assert first == JsonSerializer().serialize({"c", "b", "a"})


def test_saving_leaves_the_value_as_it_is():
    event = Found(n=1, docs=[Doc(text="a")], more={"x": (1,)})
    before = event.model_copy(deep=True)
    JsonSerializer().serialize(event)
    assert same(event, before)


def test_a_private_attribute_is_not_saved():
    class Keeps(Event):
        n: int
        _secret: int = PrivateAttr(default=0)

    event = Keeps(n=1)
    event._secret = 5
    back = again(event, JsonSerializer(allowed_types=[Keeps]))
    assert back.n == 1 and back._secret == 0


def test_a_field_with_exclude_is_not_saved():
    class Holds(Event):
        n: int = 0
        client: Any = Field(default=None, exclude=True)

    back = again(Holds(n=1, client=object()), JsonSerializer(allowed_types=[Holds]))
    assert (back.n, back.client) == (1, None)


def test_models_in_undeclared_and_any_fields_keep_their_classes():
    event = Found(
        n=1, anything=[Titled(text="a", title="t")], more={"d": Doc(text="b")}
    )
    back = again(event)
    assert type(back.anything[0]) is Titled
    assert type(back.more["d"]) is Doc
    assert same(back, event)


def test_a_subclass_in_a_declared_field_keeps_its_class():
    back = again(Found(n=1, docs=[Titled(text="a", title="t")]))
    assert type(back.docs[0]) is Titled and back.docs[0].title == "t"


def test_a_dataclass_comes_back_as_it_was_after_its_post_init():
    value = Counted([1])
    value.size = 7
    back = again(value)
    assert (back.items, back.size) == ([1, 0], 7)


def test_offsets_that_pydantic_read_are_kept():
    class At(Event):
        at: datetime

    event = At(at="2026-01-02T03:04:05+02:00")
    back = again(event, JsonSerializer(allowed_types=[At]))
    assert back.at == event.at and back.at.utcoffset() == timedelta(hours=2)


def test_a_component_is_saved_by_its_own_methods():
    back = again(Component(4))
    assert type(back) is Component and back.k == 4


def test_classes_of_one_name_are_written_each_in_its_own_way():
    class Methods:
        class_name = from_dict = len

        def to_dict(self) -> int:
            return 1

    def defined(*bases: type) -> type:
        return type("Again", (*bases, BaseModel), {"__module__": HERE})

    model, component = defined(), defined(Methods)
    for kind, tag in ((model, "pydantic"), (component, "component")) * 2:
        assert data_of(kind())[f"__is_{tag}"]


def test_a_component_that_is_a_model_is_saved_by_its_own_methods():
    class Both(BaseModel):
        n: int = 0

        @classmethod
        def class_name(cls):
            return "both"

        def to_dict(self):
            return {"times ten": self.n * 10}

        @classmethod
        def from_dict(cls, data):
            return cls(n=data["times ten"] // 10)

    assert again(Both(n=2), JsonSerializer(allowed_types=[Both])).n == 2


def test_an_event_with_a_field_called_class_name_is_an_event():
    event = StopEvent(class_name="x", to_dict=1)
    assert same(again(event), event)


# ---- exceptions ----------------------------------------------------------------


def test_an_exception_keeps_type_arguments_and_notes():
    error = ValueError("bad", 3, ("x",))
    error.add_note("in step `a`")
    back = again(error)
    assert type(back) is ValueError
    assert back.args == ("bad", 3, ("x",))
    assert back.__notes__ == ["in step `a`"]
    assert back.__traceback__ is None


def test_an_error_of_the_system_keeps_its_file_name():
    error = FileNotFoundError(2, "No such file", "a.txt")
    back = again(error)
    assert type(back) is FileNotFoundError
    assert (str(back), back.filename, back.errno) == (str(error), "a.txt", 2)


def test_a_group_keeps_its_exceptions():
    back = again(ExceptionGroup("many", [ValueError("a"), KeyError("b")]))
    assert [type(each) for each in back.exceptions] == [ValueError, KeyError]


def test_an_exception_keeps_its_attributes():
    error = Told("a")
    error.extra = {"at": (1, 2)}
    assert again(error).extra == {"at": (1, 2)}


def test_an_exception_that_its_arguments_do_not_build_is_replaced():
    back = again(Coded(4))
    assert type(back) is UnreconstructedException
    assert str(back) == "code 4"
    assert back.original_type == f"{HERE}.Coded"


def test_an_exception_with_an_argument_without_form_is_replaced():
    back = again(ValueError("no", Opaque))
    assert type(back) is UnreconstructedException
    assert str(back) == str(ValueError("no", Opaque))
    assert back.original_type == "builtins.ValueError"


def test_an_exception_that_is_not_allowed_is_replaced():
    serializer = JsonSerializer(allowed_types=[])
    assert type(again(Told("a"), serializer)) is UnreconstructedException
    assert type(again(Told("a"), serializer.with_types(Told))) is Told
    assert type(again(KeyError("a"), serializer)) is KeyError


def test_an_exception_of_an_unknown_module_is_replaced():
    data = {"message": "m", "args": ["m"], "state": None}
    text = {"__is_exception": True, "value": data, "qualified_name": "gone.Error"}
    back = JsonSerializer().deserialize(json.dumps(text))
    assert (str(back), back.original_type) == ("m", "gone.Error")


def test_an_exception_with_an_attribute_called_original_type_is_itself():
    error = Told("a")
    error.original_type = "builtins.KeyError"
    assert type(again(error)) is Told


def test_a_replaced_exception_stays_replaced_and_keeps_its_name():
    for error in (Coded(4), Told("a", Opaque)):
        once = again(error)
        twice = again(once)
        assert type(once) is type(twice) is UnreconstructedException
        assert str(error) == str(once) == str(twice)
        assert once.original_type == twice.original_type


def test_a_message_that_is_text_of_a_subclass_is_kept():
    class Moody(Exception):
        def __str__(self):
            return Mood.GOOD

    assert data_of(Moody(1))["value"]["message"] == "good"


def test_exceptions_in_events_are_kept():
    failed = WorkflowFailedEvent(step_name="a", exception=ValueError("x"))
    back = again(failed)
    assert type(back.exception) is ValueError and back.exception.args == ("x",)


# ---- the layout ----------------------------------------------------------------


def test_plain_fields_of_an_event_are_plain_json():
    event = Found(n=1, anything={"a": [1, None, "x"]}, free=True)
    assert data_of(event) == {
        "__is_pydantic": True,
        "value": {"n": 1, "docs": [], "anything": {"a": [1, None, "x"]}, "free": True},
        "qualified_name": f"{HERE}.Found",
    }


def test_other_objects_are_tagged_like_models():
    assert data_of(Color.RED) == {
        "__is_enum": True,
        "value": "RED",
        "qualified_name": f"{HERE}.Color",
    }
    assert data_of(Pair(1))["value"] == {
        "left": 1,
        "right": {"__is_value": True, "type": "tuple", "value": []},
    }
    assert data_of(KeyError("k")) == {
        "__is_exception": True,
        "value": {"message": "'k'", "args": ["k"], "state": None},
        "qualified_name": "builtins.KeyError",
    }


def test_values_of_the_standard_library_have_a_type_and_a_value():
    at = datetime(2026, 7, 2, tzinfo=ZoneInfo("Europe/Berlin"))
    zone = {"__is_value": True, "type": "ZoneInfo", "value": "Europe/Berlin"}
    assert data_of(at)["value"] == ["2026-07-02T00:00:00", zone, 0]
    assert data_of(b"ab") == {"__is_value": True, "type": "bytes", "value": "YWI="}
    assert data_of({1: 2}) == {"__is_value": True, "type": "dict", "value": [[1, 2]]}


def read(text: str | dict[str, Any], serializer: BaseSerializer | None = None) -> Any:
    """What is read from data, as another program wrote it."""
    text = text if isinstance(text, str) else json.dumps(text)
    return (serializer or JsonSerializer()).deserialize(text)


def llama(value: dict[str, Any], name: str) -> dict[str, Any]:
    """How LlamaIndex Workflows 2.26 writes a model."""
    return {"__is_pydantic": True, "value": value, "qualified_name": name}


def test_llamaindex_models_are_read():
    value = {"n": 1, "docs": [{"text": "a", "score": 2.0}], "_data": {"y": 2}}
    back = read(llama(value, f"{HERE}.Found"))
    assert same(back, Found(n=1, docs=[Doc(text="a", score=2.0)], y=2))


def test_llamaindex_events_become_those_of_this_library():
    back = read({"e": [llama({"result": 3}, "workflows.events.StopEvent")]})
    assert same(back["e"][0], StopEvent(result=3))
    strict = JsonSerializer(allowed_types=[])
    data = llama({"_data": {"q": 1}}, "workflows.events.StartEvent")
    assert same(read(data, strict), StartEvent(q=1))


def test_llamaindex_names_of_nested_classes_are_read_where_they_are_allowed():
    data = llama({"n": 4}, f"{HERE}.Nested")
    assert same(
        read(data, JsonSerializer(allowed_types=[Outer.Nested])), Outer.Nested(n=4)
    )
    assert same(
        read(data, JsonSerializer().with_types(Outer.Nested)), Outer.Nested(n=4)
    )


def test_a_short_name_that_two_allowed_classes_have_is_read_as_neither():
    class Other:
        class Nested(BaseModel):
            n: int = 0

    both = JsonSerializer(allowed_types=[Outer.Nested, Other.Nested])
    with pytest.raises(ValueSerdeError, match="Nested"):
        read(llama({"n": 4}, f"{HERE}.Nested"), both)


def test_llamaindex_failures_are_read_with_their_exceptions():
    error = {"exception_type": "builtins.KeyError", "exception_message": "k"}
    value = {
        "step_name": "a",
        "input_event": llama({"_data": {"q": 1}}, "workflows.events.StartEvent"),
        "exception": error,
        "attempts": 2,
        "elapsed_seconds": 0.5,
        "failed_at": "2026-01-02T03:04:05+00:00",
    }
    back = read(llama(value, "workflows.events.StepFailedEvent"))
    assert type(back) is StepFailedEvent
    assert same(back.input_event, StartEvent(q=1))
    assert isinstance(back.exception, Exception) and back.attempts == 2


def test_llamaindex_components_are_read():
    data = {
        "__is_component": True,
        "value": {"k": 3},
        "qualified_name": f"{HERE}.Component",
    }
    assert read(data).k == 3


def test_json_of_other_programs_is_read_as_it_is():
    assert read('{"a": [1, NaN], "b": {"__is_enum": false}}')["b"] == {
        "__is_enum": False
    }


# ---- which classes come back ---------------------------------------------------


def local_event():
    class Local(Event):
        n: int

    return Local


def test_a_class_defined_in_a_function_comes_back_where_it_is_allowed():
    kind = local_event()
    event = kind(n=1)
    assert type(again(event, JsonSerializer(allowed_types=[kind]))) is kind
    assert type(again(event, JsonSerializer().with_types(kind))) is kind
    with pytest.raises(ValueSerdeError, match="allowed_types="):
        again(event)


def test_a_class_allowed_by_name_is_imported():
    name = "xml.sax.handler.ErrorHandler"
    serializer = JsonSerializer(allowed_types=[name, f"{HERE}.Outer.Nested"])
    assert same(again(Outer.Nested(n=2), serializer), Outer.Nested(n=2))
    sys.modules.pop("xml.sax.handler", None)
    with pytest.raises(ValueSerdeError, match="no class that __is_pydantic"):
        read(llama({}, name), serializer)
    assert "xml.sax.handler" in sys.modules


def test_a_class_that_is_not_allowed_is_named_with_those_that_are():
    serializer = JsonSerializer(allowed_types=[Doc, "shop.Order"])
    with pytest.raises(ValueSerdeError) as caught:
        again({"a": [Titled(text="t")]}, serializer)
    message = str(caught.value)
    assert f"{HERE}.Titled" in message and "['a'][0]" in message
    assert f"{HERE}.Doc" in message and "shop.Order" in message
    assert "allowed_types=[Titled" in message and "with_types(Titled)" in message
    assert caught.value.path == "['a'][0]"


def test_events_of_the_engine_and_its_state_need_not_be_allowed():
    serializer = JsonSerializer(allowed_types=[])
    assert same(again(StopEvent(result=1), serializer), StopEvent(result=1))
    assert same(again(DictState(a=1), serializer), DictState(a=1))


def test_classes_that_an_annotation_names_need_not_be_allowed():
    event = Found(n=1, docs=[Doc(text="a")])
    assert same(again(event, JsonSerializer(allowed_types=[Found])), event)
    with pytest.raises(ValueSerdeError, match=r"Doc at \.anything"):
        again(Found(n=1, anything=Doc(text="a")), JsonSerializer(allowed_types=[Found]))


def test_an_annotation_decides_between_definitions_of_one_name(monkeypatch):
    module = types.ModuleType("cell_of_models")
    monkeypatch.setitem(sys.modules, "cell_of_models", module)

    def define():
        space = {"__name__": "cell_of_models", "BaseModel": BaseModel}
        exec("class Page(BaseModel):\n    n: int", space)
        module.Page = space["Page"]
        return module.Page

    first = define()

    class Uses(Event):
        page: first  # type: ignore[valid-type]

    define()
    back = again(Uses(page=first(n=1)), JsonSerializer(allowed_types=[Uses]))
    assert type(back.page) is first


@pytest.mark.parametrize("name", ["tests_never_loaded.Model", "json.tool.Model"])
def test_nothing_is_imported_because_data_says_so(name):
    module = name.rpartition(".")[0]
    sys.modules.pop(module, None)
    with pytest.raises(ValueSerdeError, match="Import the module first"):
        read(llama({}, name))
    assert module not in sys.modules


def test_a_lazy_module_is_not_made_to_import(monkeypatch):
    module = types.ModuleType("lazy_module")
    module.__getattr__ = lambda name: pytest.fail(f"asked for {name}")
    monkeypatch.setitem(sys.modules, "lazy_module", module)
    with pytest.raises(ValueSerdeError, match=r"lazy_module\.Model"):
        read(llama({}, "lazy_module.Model"))


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("__is_pydantic", "os.system"),
        ("__is_pydantic", "builtins.eval"),
        ("__is_pydantic", "builtins.dict"),
        ("__is_pydantic", f"{HERE}.Point"),
        ("__is_component", f"{HERE}.Doc"),
        ("__is_component", "pathlib.Path"),
        ("__is_dataclass", f"{HERE}.Doc"),
        ("__is_dataclass", "subprocess.Popen"),
        ("__is_enum", f"{HERE}.Doc"),
        ("__is_enum", "builtins.int"),
    ],
)
def test_only_a_class_of_the_tagged_kind_is_built(tag, name):
    with pytest.raises(ValueSerdeError, match=name.rpartition(".")[2]):
        read({tag: True, "value": {"args": ["true"]}, "qualified_name": name})


@pytest.mark.parametrize("name", ["os.system", "subprocess.Popen", "builtins.eval"])
def test_no_other_callable_is_built_as_an_exception(name):
    data = {"message": "m", "args": ["true"], "state": None}
    back = read({"__is_exception": True, "value": data, "qualified_name": name})
    assert type(back) is UnreconstructedException


def test_two_allowed_classes_of_one_name_are_refused():
    one, other = local_event(), local_event()
    with pytest.raises(ValueSerdeError, match="Local"):
        JsonSerializer(allowed_types=[one, other])
    with pytest.raises(ValueError, match="Local"):
        JsonSerializer().with_types(one, other)
    JsonSerializer(allowed_types=[one, one]).with_types(one)


@pytest.mark.parametrize("wrong", [list[int], 3, Any, None])
def test_what_is_no_class_cannot_be_allowed(wrong):
    with pytest.raises(TypeError, match="allowed types: classes"):
        JsonSerializer(allowed_types=[wrong])


def test_an_event_whose_cell_ran_again_is_the_newest(monkeypatch):
    module = types.ModuleType("cell_of_events")
    monkeypatch.setitem(sys.modules, "cell_of_events", module)

    def define():
        space = {"__name__": "cell_of_events", "Event": Event}
        exec("class Ping(Event):\n    n: int = 0", space)
        module.Ping = space["Ping"]
        return module.Ping

    first, second = define(), define()
    text = JsonSerializer().serialize(first(n=3))
    for serializer in (
        JsonSerializer(),
        JsonSerializer().with_types(first),
        JsonSerializer().with_types(first, second),
        JsonSerializer(allowed_types=[second, first]),
    ):
        back = serializer.deserialize(text)
        assert type(back) is second and back.n == 3


def test_with_types_adds_and_leaves_the_first_as_it_was():
    kind = local_event()
    first = JsonSerializer(allowed_types=[Doc])
    more = first.with_types(kind)
    assert type(again(kind(n=1), more)) is kind
    assert same(again(Doc(text="a"), more), Doc(text="a"))
    with pytest.raises(ValueSerdeError):
        again(kind(n=1), first)


def test_with_types_keeps_the_kind_of_serializer():
    assert type(PickleSerializer().with_types(Doc)) is PickleSerializer


def test_with_types_comes_before_what_is_loaded():
    class Doc(BaseModel):
        text: str

    Doc.__qualname__ = "Doc"
    data = llama({"text": "a"}, f"{HERE}.Doc")
    assert type(read(data, JsonSerializer().with_types(Doc))) is Doc


def test_a_generic_model_comes_back_where_it_is_allowed():
    value = Box[int](held=1)
    back = again(value, JsonSerializer(allowed_types=[Box[int]]))
    assert type(back) is Box[int] and back.held == 1


# ---- what is refused -----------------------------------------------------------


def cyclic_list():
    value: list[Any] = [1]
    value.append({"me": value})
    return value


def cyclic_model():
    value = Tree()
    value.free = [value]
    return value


def deep(levels: int, wrap=lambda v: [v]) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = wrap(value)
    return value


class Region(tzinfo):
    def utcoffset(self, dt):
        return None if dt is None else timedelta(hours=1)

    def dst(self, dt):
        return None


class Text(str):
    pass


@pytest.mark.parametrize(
    ("value", "path", "named"),
    [
        (Opaque(), "", "Opaque"),
        (DictState(docs=[1, 2, 3, Found(n=1, embedding=Opaque())]), None, "Opaque"),
        ({"a": {1: (0, Opaque())}}, None, "Opaque"),
        (StopEvent(result=[Opaque()]), ".result[0]", "Opaque"),
        (Point(1.0, {Opaque}), ".y[0]", "builtins.type"),
        ([defaultdict(list)], "[0]", "defaultdict"),
        ([Counter("a")], "[0]", "Counter"),
        ([Text("a")], "[0]", "Text"),
        (lambda: None, "", "function"),
        (datetime(2026, 1, 1, tzinfo=Region()), None, "Region"),
        (cyclic_list(), "[1]['me']", "contains itself"),
        (cyclic_model(), ".free[0]", "contains itself"),
        (deep(10_000), None, "too deep"),
        (deep(10_000, lambda v: {"a": v}), None, "too deep"),
        (deep(500, lambda v: Tree.model_construct(free=v)), None, "too deep"),
    ],
)
def test_a_value_without_form_is_refused_with_its_place(value, path, named):
    with pytest.raises(ContextSerdeError) as caught:
        JsonSerializer().serialize(value)
    error = caught.value
    assert isinstance(error, ValueError) and isinstance(error, StepwellError)
    assert named in str(error) and error.hint and "PickleSerializer" in error.hint
    if path is not None:
        assert error.path == path
    assert error.path in str(error)


def test_the_place_reads_like_python():
    state = DictState(docs=[0, 0, 0, StartEvent(embedding=Opaque())])
    with pytest.raises(ValueSerdeError, match="Opaque") as caught:
        JsonSerializer().serialize(state)
    assert caught.value.path == ".docs[3].embedding"
    assert caught.value.kind is Opaque


def test_a_method_of_the_user_that_fails_is_told_with_its_place():
    class Broken(Component):
        def to_dict(self):
            raise OSError("disk on fire")

    with pytest.raises(ValueSerdeError, match=r"Broken.*\[0\].*disk on fire"):
        JsonSerializer().serialize([Broken(1)])


def test_a_dataclass_with_more_than_its_fields_is_refused():
    value = Point(1.0)
    value.stray = 1
    with pytest.raises(ValueSerdeError, match="stray"):
        JsonSerializer().serialize(value)


KINDS = [
    lambda v: [v],
    lambda v: (v,),
    lambda v: {1: v},
    lambda v: {"a": v},
    lambda v: Tree(free=v),
    lambda v: Point(1.0, v),
    lambda v: StopEvent(result=v),
    lambda v: deque([v], 1),
]


@pytest.mark.parametrize("wrap", KINDS)
def test_what_could_be_written_can_be_read(wrap):
    levels = next(
        n
        for n in range(200, 0, -1)
        if not _fails(JsonSerializer().serialize, deep(n, wrap))
    )
    assert levels >= 30
    assert same(again(deep(levels, wrap)), deep(levels, wrap))


def _fails(function, value):
    try:
        function(value)
    except ValueSerdeError:
        return True
    return False


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        (None, "not JSON"),
        ("[" * 100_000, "too deep"),
        ('{"a":' * 100_000, "too deep"),
        ("gASVBQ==", "PickleSerializer"),
        ({"__is_pydantic": True}, "qualified_name"),
        ({"__is_pydantic": True, "value": {}, "qualified_name": 3}, "qualified_name"),
        ({"__is_enum": True, "value": 1, "qualified_name": "a.B", "x": 1}, "__is_enum"),
        ({"__is_value": True, "type": "tuple"}, "'value' and 'type'"),
        ({"__is_value": True, "type": "socket", "value": 1}, "socket"),
        ({"__is_value": True, "type": "UUID", "value": "x"}, "UUID"),
        ({"__is_value": True, "type": "set", "value": [[]]}, "set"),
        ({"__is_value": True, "type": "bytes", "value": "§"}, "bytes"),
        ({"__is_value": True, "type": "dict", "value": [1]}, "dict"),
        (llama([1], f"{HERE}.Doc"), "Doc"),
        (llama({}, "nodots"), "nodots"),
        (llama({}, ""), "is in no module"),
        (llama({}, f"{HERE}.local_event.<locals>.Local"), "allowed_types="),
        (
            {"__is_enum": True, "value": "PINK", "qualified_name": f"{HERE}.Color"},
            "PINK",
        ),
        (
            {
                "__is_dataclass": True,
                "value": {"z": 1},
                "qualified_name": f"{HERE}.Point",
            },
            "z",
        ),
        (
            {"__is_exception": True, "value": {}, "qualified_name": "builtins.E"},
            "message",
        ),
    ],
)
def test_malformed_text_is_refused(text, told):
    text = json.dumps(text) if isinstance(text, dict) else text
    for error in (ValueError, ContextSerdeError):
        with pytest.raises(error) as caught:
            JsonSerializer().deserialize(text)
        assert told in str(caught.value)
        assert caught.value.hint


def test_a_model_that_refuses_its_fields_names_itself_them_and_the_reason():
    data = {"a": [llama({"n": "many", "docs": [{}]}, f"{HERE}.Found")]}
    with pytest.raises(ValueSerdeError) as caught:
        read(data)
    message = str(caught.value)
    assert f"{HERE}.Found" in message
    assert "['a'][0].n: Input should be a valid integer" in message
    assert "['a'][0].docs.0.text: Field required" in message


def test_an_error_of_a_validator_is_told():
    class Picky(BaseModel):
        n: int = 0

        @field_validator("n")
        @classmethod
        def never(cls, value):
            raise RuntimeError("out of order")

    picky = Picky.model_construct(n=1)
    with pytest.raises(ValueSerdeError, match=r"Picky.*out of order"):
        again(picky, JsonSerializer(allowed_types=[Picky]))


# ---- what pydantic writes ------------------------------------------------------


class Links(Event):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    url: AnyUrl = AnyUrl("https://example.org/")
    hosts: list[IPv4Address] = Field(default_factory=list)
    counts: Counter[str] = Field(default_factory=Counter)
    groups: defaultdict[str, list[int]] = Field(
        default_factory=lambda: defaultdict(list)
    )


def test_declared_fields_that_pydantic_can_write_come_back():
    event = Links(hosts=[IPv4Address("10.0.0.1")], counts=Counter("aab"))
    event.groups["x"].append(1)
    back = again(event)
    assert back == event
    assert type(back.url) is type(event.url) and type(back.counts) is Counter
    assert back.groups["new"] == []


def test_a_class_with_a_pydantic_serializer_comes_back():
    class Holds(Event):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        one: Opaque
        many: list[Annotated[Opaque, PlainSerializer(lambda v: v.n)]]

        @field_serializer("one")
        def dump_one(self, value):
            return value.n

        @field_validator("one", mode="before")
        @classmethod
        def load_one(cls, value):
            return Opaque(value) if isinstance(value, int) else value

        @field_validator("many", mode="before")
        @classmethod
        def load_many(cls, value):
            return [Opaque(v) if isinstance(v, int) else v for v in value]

    event = Holds(one=Opaque(1), many=[Opaque(2)])
    assert same(again(event, JsonSerializer(allowed_types=[Holds])), event)


def test_a_serializer_declared_for_a_base_class_covers_its_subclasses():
    class Sub(Opaque):
        pass

    class Holds(Event):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        one: Annotated[Opaque, PlainSerializer(lambda v: v.n)]

        @field_validator("one", mode="before")
        @classmethod
        def load_one(cls, value):
            return Opaque(value) if isinstance(value, int) else value

    back = again(Holds(one=Sub(4)), JsonSerializer(allowed_types=[Holds]))
    assert type(back.one) is Opaque and back.one.n == 4


def test_what_pydantic_would_guess_is_refused():
    class Free(Event):
        items: dict[str, Any]

    items = {"model": Doc(text="a"), "groups": defaultdict(list)}
    with pytest.raises(ValueSerdeError, match="defaultdict") as caught:
        JsonSerializer().serialize(Free(items=items))
    assert caught.value.path == ".items['groups']"


def test_what_pydantic_would_write_but_not_read_is_refused():
    with pytest.raises(ValueSerdeError, match="IPv4Address") as caught:
        JsonSerializer().serialize(Found(n=1, anything=[IPv4Address("10.0.0.1")]))
    assert caught.value.path == ".anything[0]"


def test_a_masked_secret_is_refused():
    class Login(Event):
        password: SecretStr

    with pytest.raises(ValueSerdeError, match=r"SecretStr at \.password"):
        JsonSerializer().serialize(Login(password="p"))


# ---- pickles -------------------------------------------------------------------


def test_what_has_no_form_in_json_is_pickled():
    value = {"a": [Opaque(4)], "p": partial(int, base=2), "s": PurePosixPath("x")}
    text = PickleSerializer().serialize(value)
    back = PickleSerializer().deserialize(text)
    assert back["a"] == [Opaque(4)] and back["p"]("11") == 3
    assert pickle.loads(base64.b64decode(text))["a"] == [Opaque(4)]


def test_what_has_a_form_in_json_is_not_pickled():
    event = Found(n=1)
    assert PickleSerializer().serialize(event) == JsonSerializer().serialize(event)


def test_pickled_events_and_cycles_come_back():
    event = StopEvent(result=Opaque(3), more=1)
    back = again(event, PickleSerializer())
    assert back.result == Opaque(3) and back.more == 1
    cycle = again(cyclic_list(), PickleSerializer())
    assert cycle[1]["me"] is cycle


@pytest.mark.parametrize("text", ["true", "null", "NaN", "1234", '"gAAA"', "[]"])
def test_plain_json_is_never_taken_for_a_pickle(text, monkeypatch):
    monkeypatch.setattr(pickle, "loads", lambda _: pytest.fail("unpickled"))
    PickleSerializer().deserialize(text)


def test_every_protocol_of_pickle_is_known_by_its_form():
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        text = base64.b64encode(pickle.dumps(Opaque(1), protocol)).decode()
        assert PickleSerializer().deserialize(text) == Opaque(1)


def test_the_json_serializer_never_unpickles(monkeypatch):
    text = PickleSerializer().serialize(Opaque())
    monkeypatch.setattr(pickle, "loads", lambda _: pytest.fail("unpickled"))
    with pytest.raises(ValueSerdeError, match="PickleSerializer"):
        JsonSerializer().deserialize(text)


def test_what_can_be_neither_json_nor_a_pickle_is_refused():
    with pytest.raises(ValueSerdeError, match="pickled") as caught:
        PickleSerializer().serialize({"f": [lambda: None]})
    assert caught.value.path == "['f'][0]"
    with pytest.raises(ValueError, match="pickle"):
        PickleSerializer().deserialize("gASVBQ==")


def test_the_older_name_is_the_same_class():
    assert JsonPickleSerializer is PickleSerializer
    assert issubclass(PickleSerializer, JsonSerializer)
