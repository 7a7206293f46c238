"""What a run asks people: a question, the class of its answer, answers prepared.

Which questions are open is kept in `waits`; who is asked, and how, is a viewer's
business. Nothing here waits.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from stepwell.errors import WorkflowArgumentError, WorkflowRuntimeError, did_you_mean
from stepwell.events import Event, HumanResponseEvent

__all__ = ["Answers", "Question", "answer_class"]

# Fields of a question that say what is asked, the first of them that holds text; and
# fields that say how to answer.
_PROMPTS = ("prompt", "question", "prefix", "message", "msg")
_CHOICES = ("choices", "options")
_ABOUT = frozenset({*_PROMPTS, *_CHOICES, "default", "answer_within", "response"})
_NONE: Any = object()
# Names of fields that say which question it is: `id`, `order_id`, `orderId`.
_WORD = re.compile(r"[A-Z]*[a-z0-9]+|[A-Z]+")
_IS_ID = re.compile(r"(?i:id)|.*(_(?i:id)|[a-z0-9]I[dD])")


class Question:
    """Something a run has asked, as long as it has no answer.

    Attributes:
        event: The event that asks.
        step: Name of the step that asked; empty where it came from outside.
        call_id: The call that asked, 0 for none.
        workflow: Name of the workflow.
        answer_class: The event class that answers it.
        requirements: Values that fields of the answer must have.
        asked_at: Seconds since the run began.
        due: Until when there is time to answer, likewise; None for ever.
        wait_id: Number of the wait that asked; 0 where no step waits.
    """

    __slots__ = (
        "answer_class",
        "asked_at",
        "call_id",
        "due",
        "event",
        "requirements",
        "step",
        "wait_id",
        "workflow",
    )

    def __init__(
        self,
        event: Event,
        answer_class: type[Event],
        *,
        step: str = "",
        call_id: int = 0,
        workflow: str = "",
        asked_at: float = 0.0,
        requirements: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        wait_id: int = 0,
    ) -> None:
        self.event = event
        self.answer_class = answer_class
        self.step = step
        self.call_id = call_id
        self.workflow = workflow
        self.asked_at = asked_at
        self.requirements = requirements or {}
        self.wait_id = wait_id
        times = [t for t in (timeout, self.answer_within) if t is not None]
        self.due = asked_at + min(times) if times else None

    @property
    def answer_within(self) -> float | None:
        """How many seconds the event gives people; None for no end."""
        given = self._field("answer_within")
        is_number = isinstance(given, int | float) and not isinstance(given, bool)
        return float(given) if is_number and given > 0 else None

    @property
    def prompt(self) -> str:
        """What is asked, in the event's own words where it has any."""
        for name in _PROMPTS:
            words = self._field(name)
            if isinstance(words, str) and words.strip():
                return words
        hows = _ABOUT.difference(_PROMPTS)
        shown = {k: v for k, v in Event.items(self.event) if k not in hows}
        fields = ", ".join(f"{key}={_shown(value)}" for key, value in shown.items())
        return f"{type(self.event).__name__}({fields})"

    @property
    def choices(self) -> list[Any]:
        """The answers to choose from; empty where everything may be answered."""
        for name in _CHOICES:
            given = self._field(name)
            if isinstance(given, Sequence | set | frozenset) and given:
                return [] if isinstance(given, str) else list(given)
        return []

    @property
    def model(self) -> type[BaseModel]:
        """The class whose fields a person fills in."""
        return getattr(type(self.event), "answered_by", None) or self.answer_class

    @property
    def given(self) -> dict[str, Any]:
        """Values of the answer that nobody has to fill in.

        What the waiting step requires, and what names the question: fields that it
        shares with its answer and that are an `id`, such as `order_id` or `orderId`.
        """
        ids = {
            name: value
            for name, value in Event.items(self.event)
            if name in self.model.model_fields and _IS_ID.fullmatch(name)
        }
        return {**ids, **self.requirements}

    @property
    def offered(self) -> dict[str, Any]:
        """Values to begin with: other fields that it shares with its answer."""
        fields = self.model.model_fields.keys() - self.given.keys()
        given = Event.items(self.event)
        return {k: v for k, v in given if k in fields and k not in _ABOUT}

    def _field(self, name: str) -> Any:
        """A field of the event, which may have fields by the names of its methods."""
        return Event.get(self.event, name)

    def asked_again(self) -> Question:
        """The same question, asked at the beginning of a run."""
        kind = self.answer_class
        return Question(
            self.event, kind, step=self.step, workflow=self.workflow, call_id=0
        )

    def answer(self, value: Any) -> Event:
        """The event that answers it.

        Args:
            value: An event; a mapping with the answer's fields; or, where it has but
                one field to fill in, or declares none, the value of that. One that
                declares none keeps it as `response`.

        Raises:
            ValidationError: The values do not fit the fields; a `ValueError`.
            WorkflowArgumentError: It is another event, or no mapping and there are
                several fields.
        """
        kind, model = self.answer_class, self.model
        if isinstance(value, Event):
            if isinstance(value, kind):
                return value
            raise WorkflowArgumentError(
                f"{type(self.event).__name__} is answered by {kind.__name__}, not by "
                f"{type(value).__name__}.",
                event=type(value).__name__,
            )
        if not isinstance(value, model):
            value = self._fields(value)
            if issubclass(model, kind):
                return model(**_by_alias(model, value))
            value = model(**_by_alias(model, value))
        if not kind.model_fields:
            return kind(**self.requirements, response=value)
        return kind(**_by_alias(kind, {**value.__dict__, **self.requirements}))

    def _fields(self, value: Any) -> dict[str, Any]:
        fields = self.model.model_fields
        if isinstance(value, Mapping):
            return {**self.offered, **value, **self.given}
        if not fields:
            return {"response": value, **self.given}
        free = [name for name in fields if name not in self.given]
        needed = [n for n in free if n not in self.offered] or free
        required = [name for name in needed if fields[name].is_required()] or needed
        if len(required) == 1:
            return {**self.offered, required[0]: value, **self.given}
        raise WorkflowArgumentError(
            f"the answer to {type(self.event).__name__} has several fields: "
            f"{', '.join(free)}.",
            hint=f"Give them by name: {{{free[0]!r}: …}}.",
            event=self.answer_class.__name__,
        )

    def __repr__(self) -> str:
        """One line for people."""
        return f"<Question {self.prompt!r}, answered by {self.answer_class.__name__}>"


def _by_alias(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of fields by the names under which a class takes them."""
    fields = model.model_fields
    names = {name: fields[name].validation_alias for name in values if name in fields}
    return {
        alias if isinstance(alias := names.get(name), str) else name: value
        for name, value in values.items()
    }


def _shown(value: object) -> str:
    """A value in at most 200 letters, whatever it is."""
    try:
        text = repr(value)
    except Exception:  # of the user's own __repr__
        return f"<{type(value).__name__}>"
    return text if len(text) <= 200 else text[:199] + "…"


def answer_class(
    asking: type[Event], heard: Sequence[type[HumanResponseEvent]]
) -> type[Event]:
    """The class that answers a question for which no step waits.

    Args:
        asking: The class of the question.
        heard: The classes of answers that steps take.
    """
    named = getattr(asking, "answered_by", None)
    if named is not None and issubclass(named, Event):
        found: type[Event] = named
        return found
    if not heard:
        return HumanResponseEvent

    def kinship(kind: type[Event]) -> tuple[int, int]:
        """How alike the two names are: `AskName`, `Name`; `SendCall`, `SendReply`."""
        ours, theirs = asking.__name__, kind.__name__
        shared = set(_WORD.findall(ours)) & set(_WORD.findall(theirs))
        pairs = enumerate(zip(ours, theirs, strict=False))
        return len(shared - {"Event"}), next((i for i, (a, b) in pairs if a != b), 0)

    return max(heard, key=kinship)  # the first of equal ones


class Answers:
    """Answers prepared for the questions of a run.

    Args:
        given: A list of answers, given in turn; or a mapping from questions (their
            class, its name, or what they ask) to an answer each; or a function from
            the event that asks to the answer, `async` or not. What an answer may be is
            said in `Question.answer`.

    Raises:
        WorkflowArgumentError: It is none of these.
    """

    __slots__ = ("_by_name", "_find", "_turn")

    def __init__(self, given: Any) -> None:
        self._find: Callable[[Event], Any] | None = None
        self._by_name: Mapping[Any, Any] = {}
        self._turn = iter(())
        if isinstance(given, Mapping):
            names = {getattr(key, "__name__", key): v for key, v in given.items()}
            self._by_name = names
        elif callable(given) and not isinstance(given, type):
            self._find = given
        elif isinstance(given, Sequence) and not isinstance(given, str):
            self._turn = iter(list(given))
        else:
            raise WorkflowArgumentError(
                f"answers= takes a list, a mapping or a function, not {given!r}.",
                hint='Write answers=["yes", 3], or answers={ApproveEvent: "yes"}.',
            )

    async def to(self, question: Question) -> Event:
        """The event that answers a question.

        Raises:
            WorkflowRuntimeError: There is no answer to it, or one that does not fit, or
                the function that was to answer failed.
        """
        asking = type(question.event).__name__
        try:
            value = self._value(question)
            if inspect.isawaitable(value):
                value = await value
        except Exception as error:
            raise WorkflowRuntimeError(
                f"{asking} asks {question.prompt!r}, and the function in answers= "
                f"raised {type(error).__name__}: {error}",
                workflow=question.workflow,
                step=question.step,
                event=asking,
            ) from error
        if value is _NONE:
            guess = did_you_mean(asking, [str(name) for name in self._by_name])
            raise WorkflowRuntimeError(
                f"{asking} asks {question.prompt!r}, and answers= has none for it."
                + guess,
                workflow=question.workflow,
                step=question.step,
                event=asking,
            )
        try:
            return question.answer(value)
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()
            )
            raise WorkflowRuntimeError(
                f"{asking} asks {question.prompt!r}, and the answer prepared does not "
                f"fit {question.answer_class.__name__}: {wrong}.",
                workflow=question.workflow,
                step=question.step,
                event=asking,
            ) from error

    def _value(self, question: Question) -> Any:
        if self._find is not None:
            return self._find(question.event)
        for kind in type(question.event).__mro__:
            if kind.__name__ in self._by_name:
                found = self._by_name[kind.__name__]
                return found(question.event) if _is_function(found) else found
        found = self._by_name.get(question.prompt, _NONE)
        if found is _NONE:
            return next(self._turn, _NONE)
        return found(question.event) if _is_function(found) else found


def _is_function(value: Any) -> bool:
    return callable(value) and not isinstance(value, type)
