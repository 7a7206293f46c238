"""What calls of models cost: by a `with` block, and in the record of a run."""

import asyncio
import doctest

import pytest

from rag.model_server import chat, failure, stream
from stepwell import Context, StartEvent, StopEvent, Workflow, step
from stepwell.rag import (
    InvalidOptionError,
    ModelServerError,
    OpenAI,
    OpenAIEmbedding,
    Usage,
    count_usage,
    track_usage,
    usage,
)
from stepwell.rag.steps import step_here

pytest.importorskip("openai")


def test_the_example_is_true():
    assert doctest.testmod(usage) == (0, 3)


def model(server, name="m"):
    return OpenAI(name, api_base=server.url, max_retries=0)


def test_calls_in_a_block_are_counted(server):
    llm = model(server)
    llm.complete("before")
    with track_usage() as used:
        llm.complete("one")
        asyncio.run(llm.acomplete("two"))
        list(llm.stream_complete("three"))
    llm.complete("after")
    assert (used.calls, used.prompt_tokens, used.completion_tokens) == (3, 19, 9)
    assert used.total_tokens == 28
    assert repr(used) == "3 calls, 19 tokens in, 9 tokens out"


@pytest.mark.parametrize("asynchronous", [True, False])
def test_embeddings_are_counted_apart_from_several_requests_at_once(
    server, asynchronous
):
    model = OpenAIEmbedding("e", api_base=server.url, embed_batch_size=1)
    with track_usage() as used:
        if asynchronous:
            asyncio.run(model.aget_text_embedding_batch(["a", "b", "c"]))
        else:
            model.get_text_embedding_batch(["a", "b", "c"])
    assert (used.calls, used.embedding_tokens, used.prompt_tokens) == (3, 3, 0)


async def test_tasks_and_threads_started_in_a_block_count_in_it(server):
    llm = model(server)
    with track_usage() as used:
        await asyncio.gather(llm.acomplete("a"), asyncio.to_thread(llm.complete, "b"))
    assert used.calls == 2


def test_blocks_may_stand_in_each_other(server):
    llm = model(server)
    with track_usage() as outer:
        llm.complete("a")
        with track_usage() as inner:
            llm.complete("b")
    assert (outer.calls, inner.calls) == (2, 1)


async def test_blocks_side_by_side_do_not_see_each_other(server):
    llm = model(server)

    async def count(times):
        with track_usage() as used:
            for _ in range(times):
                await llm.acomplete("x")
        return used.calls

    assert await asyncio.gather(count(1), count(2)) == [1, 2]


def test_prices_are_those_that_are_given(server):
    server.then(chat("x", usage=(1_000_000, 500_000)))
    with track_usage(prices={"m": (0.15, 0.60)}) as used:
        model(server).complete("x")
        assert used.cost == pytest.approx(0.45)
        model(server, "other").complete("x")
    assert used.cost is None
    assert used.by_model["m"].total_tokens == 1_500_000
    assert track_usage().__enter__().cost is None


def test_a_price_that_is_none_is_refused():
    with (
        pytest.raises(InvalidOptionError, match="must be"),
        track_usage(prices={"m": 0.15}),
    ):
        pass


def test_a_server_that_does_not_count_is_told_of(server):
    server.then(chat("x", usage=None), stream(["x"], usage=None))
    with track_usage() as used:
        answer = model(server).complete("x")
        list(model(server).stream_complete("x"))
    assert answer.usage is None
    assert (used.calls, used.uncounted_calls) == (2, 2)
    assert repr(used) == "2 calls, 2 not counted by the server"


def test_a_call_that_is_refused_costs_nothing(server):
    server.then(failure(500, "no"))
    with track_usage() as used, pytest.raises(ModelServerError):
        model(server).complete("x")
    assert used.calls == 0


async def test_a_stream_that_is_left_early_counts_as_a_call(server):
    with track_usage() as used:
        async with model(server).astream_complete("x") as pieces:
            async for _ in pieces:
                break
    assert (used.calls, used.uncounted_calls) == (1, 1)


class Asking(Workflow):
    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await ev.how())


async def counts(how):
    handler = Asking().run(how=how)
    await handler
    [call] = handler.record
    return dict(call.counts)


async def test_a_step_that_calls_a_model_has_its_tokens_in_the_record(server):
    llm = model(server)

    async def how():
        await llm.acomplete("a")
        await asyncio.to_thread(llm.complete, "b")
        return [piece.text async for piece in llm.astream_complete("c")]

    assert await counts(how) == {"prompt_tokens": 19, "completion_tokens": 9}


async def test_a_step_that_embeds_has_those_tokens_in_the_record(server):
    embed = OpenAIEmbedding("e", api_base=server.url, embed_batch_size=1)
    assert await counts(lambda: embed.aget_text_embedding_batch(["a", "b"])) == {
        "embedding_tokens": 2
    }


async def test_a_step_has_the_cost_where_there_is_a_price(server):
    async def how():
        with track_usage(prices={"m": (1.0, 2.0)}):
            await model(server).acomplete("a")

    assert (await counts(how))["cost"] == pytest.approx((7 + 2 * 3) / 1_000_000)


async def test_a_model_of_ones_own_counts_by_a_call():
    async def how():
        count_usage("mine", Usage(prompt_tokens=1, completion_tokens=2))

    assert await counts(how) == {"prompt_tokens": 1, "completion_tokens": 2}


def test_outside_of_steps_there_is_none():
    assert step_here() is None
