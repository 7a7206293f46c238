"""Questions as forms: which fields, and what their values become."""

import enum
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr, field_validator

from stepwell import (
    HumanResponseEvent,
    InputRequiredEvent,
    Question,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)
from stepwell.notebook.forms import form_of


class Tone(enum.Enum):
    WARM = "warm"
    DRY = "dry"


class Item(BaseModel):
    name: str


class Everything(HumanResponseEvent):
    name: str = Field(title="Your name", description="as in your passport")
    notes: str = Field(json_schema_extra={"format": "textarea"})
    age: Annotated[int, Field(ge=0)]
    weight: float | None = None
    tone: Tone = Tone.DRY
    size: Literal["S", "M"]
    agreed: bool
    secret: SecretStr = SecretStr("")
    items: list[Item] = Field(default_factory=list)


def asked(event, answer=HumanResponseEvent, **more):
    return Question(event, answer, **more)


def fields_of(event, answer=HumanResponseEvent, **more):
    return {f.name: f for f in form_of(asked(event, answer, **more)).fields}


def test_each_field_of_the_answer_is_filled_in_as_its_type_asks_for():
    fields = fields_of(InputRequiredEvent(), Everything)
    assert {name: field.kind for name, field in fields.items()} == {
        "name": "text",
        "notes": "long text",
        "age": "number",
        "weight": "number",
        "tone": "choice",
        "size": "choice",
        "agreed": "yes/no",
        "secret": "secret",
        "items": "json",
    }
    assert (fields["name"].label, fields["name"].help) == (
        "Your name",
        "as in your passport",
    )
    assert fields["size"].choices == (("S", "S"), ("M", "M"))
    assert fields["tone"].default is Tone.DRY
    assert not fields["weight"].required


def test_an_answer_that_declares_no_field_is_one_text():
    (field,) = form_of(asked(InputRequiredEvent(prefix="Name?"))).fields
    assert (field.name, field.kind) == ("response", "text")
    event, wrong = form_of(asked(InputRequiredEvent())).read({"response": "Ada"})
    assert (event.response, wrong) == ("Ada", {})


@pytest.mark.parametrize(
    ("default", "kind"),
    [(True, "yes/no"), (3, "number"), ("a\nb", "long text"), ("short", "text")],
)
def test_the_default_says_what_is_asked_for(default, kind):
    (field,) = form_of(asked(InputRequiredEvent(default=default))).fields
    assert (field.kind, field.default) == (kind, default)


def test_choices_of_the_question_are_chosen_from_and_few_are_buttons():
    form = form_of(asked(InputRequiredEvent(choices=["red", "green"])))
    assert form.buttons == (("red", "red"), ("green", "green"))
    many = form_of(asked(InputRequiredEvent(options=list(range(20)))))
    assert many.buttons == ()
    assert many.fields[0].choices[3] == ("3", 3)
    event, _ = many.read({"response": 3})
    assert event.response == 3


def test_what_the_question_settles_is_not_asked():
    class Answer(HumanResponseEvent):
        order_id: int
        user: str
        text: str

    question = InputRequiredEvent(order_id=7, text="draft")
    fields = fields_of(question, Answer, requirements={"user": "Ada"})
    assert list(fields) == ["text"]
    assert fields["text"].default == "draft"
    form = form_of(asked(question, Answer, requirements={"user": "Ada"}))
    event, _ = form.read({"text": "better"})
    assert event.to_dict() == {"order_id": 7, "user": "Ada", "text": "better"}


def test_wrong_values_are_told_of_by_field_and_nothing_is_sent():
    form = form_of(asked(InputRequiredEvent(), Everything))
    values = {
        "name": "",
        "notes": "x",
        "age": "-1",
        "weight": "heavy",
        "tone": Tone.WARM,
        "size": "XL",
        "agreed": True,
        "items": '[{"nam": 1}]',
    }
    event, wrong = form.read(values)
    assert event is None
    assert set(wrong) == {"name"}
    event, wrong = form.read({**values, "name": "Ada"})
    assert event is None
    assert set(wrong) == {"age", "weight", "size", "items"}
    assert "greater than or equal to 0" in wrong["age"]
    good = {
        "name": "A",
        "age": "3",
        "weight": "",
        "size": "S",
        "items": '[{"name": "x"}]',
    }
    event, wrong = form.read({**values, **good})
    assert wrong == {}
    assert (event.age, event.weight, event.items) == (3, None, [Item(name="x")])


def test_text_that_looks_like_a_number_stays_text():
    class Answer(HumanResponseEvent):
        code: str

    event, wrong = form_of(asked(InputRequiredEvent(), Answer)).read({"code": "007"})
    assert (event.code, wrong) == ("007", {})


async def test_a_forms_event_answers_a_real_run():
    class Flow(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> InputRequiredEvent:
            return InputRequiredEvent(prompt="Sure?", default=True)

        @step
        async def take(self, ev: HumanResponseEvent) -> StopEvent:
            return StopEvent(result=ev.response)

    handler = Flow().run()
    async for _ in handler.stream_events():
        break
    form = form_of(handler.questions[0])
    assert form.buttons == (("Yes", True), ("No", False))
    event, _ = form.read({"response": False})
    handler.send_event(event)
    assert await handler is False


class Filled(HumanResponseEvent):
    name: str = Field(alias="userName")
    tags: list[str] = Field(default=["a"])
    item: Item = Item(name="x")
    secret: SecretStr = SecretStr("hidden")
    day: date = date(2026, 1, 2)
    price: Decimal = Decimal("1.50")
    note: str | None = "x" * 100
    story: str = "y" * 100


def test_defaults_are_shown_as_somebody_would_type_them():
    fields = fields_of(InputRequiredEvent(), Filled)
    typed = {name: field.typed for name, field in fields.items() if name != "name"}
    assert typed == {
        "tags": '["a"]',
        "item": '{"name":"x"}',
        "secret": "",
        "day": "2026-01-02",
        "price": "1.50",
        "note": "x" * 100,
        "story": "y" * 100,
    }


def test_what_is_sent_as_it_was_shown_is_what_was_meant():
    form = form_of(asked(InputRequiredEvent(), Filled))
    values = {field.name: field.typed for field in form.fields}
    event, wrong = form.read({**values, "name": "Ada"})
    assert wrong == {}
    assert event == Filled(userName="Ada")
    assert event.secret.get_secret_value() == "hidden"


def test_a_field_is_known_by_its_alias_to_the_class_alone():
    form = form_of(asked(InputRequiredEvent(), Filled))
    _, wrong = form.read({"name": 5})
    assert list(wrong) == ["name"]


def test_emptied_text_is_empty_and_none_where_that_may_be():
    form = form_of(asked(InputRequiredEvent(), Filled))
    event, _ = form.read({"name": "Ada", "note": "", "story": ""})
    assert (event.note, event.story) == (None, "")


def test_none_may_be_chosen_and_equal_choices_stand_there_once():
    event = InputRequiredEvent(choices=[None, "a", "a", 1], default="gone")
    form = form_of(asked(event))
    assert [label for label, _ in form.buttons] == ["None", "a", "1"]
    chosen, wrong = form.read({"response": form.buttons[0][1]})
    assert (chosen.response, wrong) == (None, {})
    assert form.read({"response": None}) == (None, {"response": "is to be filled in"})


def test_whatever_a_validator_raises_is_said_in_the_form():
    class Checked(HumanResponseEvent):
        name: str

        @field_validator("name")
        @classmethod
        def check(cls, name):
            raise KeyError(name)

    form = form_of(asked(InputRequiredEvent(), Checked))
    assert form.read({"name": "Ada"}) == (None, {"": "'Ada'"})


def test_a_prompt_of_two_megabytes_is_shown_in_brief():
    form = form_of(asked(InputRequiredEvent(prompt="x" * 2_000_000)))
    assert len(form.prompt) < 10_000


def test_a_question_is_worded_whatever_its_fields_are():
    class Rude:
        def __repr__(self):
            raise RuntimeError("no")

    fields = {"__annotations__": {"items": list}}
    kind = type("Order", (InputRequiredEvent,), fields)
    event = kind(items=[1], prompt=42, rude=Rude(), text="x" * 2_000_000)
    words = form_of(asked(event)).question.prompt
    assert words.startswith("Order(items=[1], prompt=42, rude=<Rude>, text='xxx")
    assert len(words) < 300
