"""The calls of a run for other programs: JSON text, and tables of pandas."""

import asyncio
import json
import sys

import pytest

from stepwell import (
    Context,
    Event,
    MissingExtraError,
    RunRecord,
    StartEvent,
    StepwellError,
    StopEvent,
    Workflow,
    retry_policy,
    step,
    stop_after_attempt,
    wait_none,
)


class Part(Event):
    number: int


class Parts(Workflow):
    @step
    async def split(self, ev: StartEvent) -> list[Part]:
        return [Part(number=i) for i in range(3)]

    @step(retry_policy=retry_policy(wait=wait_none(), stop=stop_after_attempt(2)))
    async def cut(self, ev: Part, ctx: Context) -> StopEvent | None:
        ctx.count(prompt_tokens=ev.number, cost=float("nan"))
        if ev.number == 1 and not (await ctx.store.get("failed", default=False)):
            await ctx.store.set("failed", True)
            raise ValueError("not yet")
        return StopEvent(result="whole") if ev.number == 2 else None


async def record_of(kind: type[Workflow]) -> RunRecord:
    handler = kind().run()
    await handler
    return handler.record


async def test_json_holds_every_call_with_its_attributes():
    record = await record_of(Parts)
    told = json.loads(record.to_json())
    assert told["version"] == 1
    assert told["dropped_calls"] == told["dropped_events"] == 0
    assert [call["call_id"] for call in told["calls"]] == [c.call_id for c in record]
    first = next(iter(record)).to_dict()
    del told["calls"][0]["duration"]
    assert told["calls"][0] == {**first, "outputs": list(first["outputs"])}


async def test_json_has_null_where_there_is_no_number():
    text = (await record_of(Parts)).to_json()

    def refuse(word: str) -> None:
        raise AssertionError(word)

    told = json.loads(text, parse_constant=refuse)
    assert told["calls"][1]["counts"]["cost"] is None


async def test_json_can_be_written_for_people():
    assert "\n  " in (await record_of(Parts)).to_json(indent=2)


async def test_a_table_has_a_row_for_every_attempt():
    record = await record_of(Parts)
    frame = record.to_pandas()
    assert len(frame) == len(record)
    assert list(frame.index) == [call.call_id for call in record]
    assert frame.index.name == "call_id"
    retried = frame[frame.status == "retrying"]
    assert list(retried.error) == ["ValueError: not yet"]


async def test_the_columns_of_a_table_are_typed():
    frame = (await record_of(Parts)).to_pandas()
    types = {name: str(dtype) for name, dtype in frame.dtypes.items()}
    assert types["step"].startswith("string")
    assert types["outputs"].startswith("string")
    assert types["started"] == types["ended"] == types["duration"] == "float64"
    assert types["worker"] == types["caused_by"] == "Int64"
    assert types["attempt"] == "int64"
    assert frame.outputs.iloc[0] == "Part, Part, Part"
    assert frame.caused_by.isna().iloc[0]
    assert (frame.duration.dropna() >= 0).all()


async def test_every_counted_amount_is_a_column_of_its_own():
    frame = (await record_of(Parts)).to_pandas()
    assert str(frame.prompt_tokens.dtype) == "float64"
    assert frame.prompt_tokens.isna().iloc[0]
    assert set(frame.prompt_tokens.dropna()) == {0.0, 1.0, 2.0}


async def test_an_amount_never_takes_the_place_of_a_column():
    class Greedy(Workflow):
        @step
        async def go(self, ev: StartEvent, ctx: Context) -> StopEvent:
            ctx.count(attempt=7.0, call_id=8.0)
            return StopEvent()

    frame = (await record_of(Greedy)).to_pandas()
    assert frame.attempt.iloc[0] == 1
    assert frame.attempt_counted.iloc[0] == 7.0
    assert frame.call_id_counted.iloc[0] == 8.0


async def test_a_run_that_goes_on_has_a_table_too():
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Workflow):
        @step
        async def wait(self, ev: StartEvent) -> StopEvent:
            begun.set()
            await go_on.wait()
            return StopEvent()

    handler = Slow().run()
    await begun.wait()
    frame = handler.record.to_pandas()
    assert list(frame.status) == ["running"]
    assert frame.duration.isna().all()
    assert json.loads(handler.record.to_json())["calls"][0]["ended"] is None
    go_on.set()
    await handler


def test_an_empty_record_is_an_empty_table():
    frame = RunRecord().to_pandas()
    assert frame.empty
    assert "duration" in frame.columns


async def test_without_pandas_the_error_names_the_extra(monkeypatch):
    record = await record_of(Parts)
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.delitem(sys.modules, "stepwell.pandas", raising=False)
    with pytest.raises(MissingExtraError, match=r'pip install "stepwell\[pandas\]"'):
        record.to_pandas()
    assert issubclass(MissingExtraError, StepwellError)
