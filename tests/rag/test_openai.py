"""OpenAI against a real server on this machine, by the real client."""

import asyncio
import gc
import pickle
import subprocess
import sys
import textwrap
import threading
import warnings

import pytest

from rag.model_server import chat, failure, hang, raw, reply, stream
from stepwell.rag import (
    ChatMessage,
    InvalidOptionError,
    MissingAPIKeyError,
    ModelServerError,
    ModelTimeoutError,
    OpenAI,
    Settings,
    Usage,
)

pytest.importorskip("openai")


def model(server, **options):
    return OpenAI("m", api_base=server.url, max_retries=0, **options)


def test_a_prompt_is_answered_either_way(server):
    llm = model(server)
    answer = llm.complete("hi")
    assert str(answer) == answer.text == "You asked: hi"
    assert answer.usage == Usage(prompt_tokens=7, completion_tokens=3, total_tokens=10)
    assert str(asyncio.run(llm.acomplete("hi"))) == "You asked: hi"


async def test_blocking_methods_work_where_a_loop_runs(server):
    llm = model(server)
    assert str(llm.complete("hi")) == "You asked: hi"
    assert list(llm.stream_complete("hi"))[-1].text == "You asked: hi"


def test_a_conversation_is_answered_either_way(server):
    llm = model(server, system_prompt="Be brief.")
    messages = [ChatMessage(content="a"), ChatMessage(role="assistant", content="b")]
    assert llm.chat(messages).message.role == "assistant"
    assert str(asyncio.run(llm.achat(messages))) == "You asked: b"
    assert [m["role"] for m in server.requests[0][1]["messages"]] == [
        "system",
        "user",
        "assistant",
    ]


def test_only_what_is_set_is_sent(server):
    model(server).complete("hi")
    assert set(server.requests[0][1]) == {"model", "messages"}
    model(
        server, temperature=0.0, max_tokens=9, additional_kwargs={"seed": 1}
    ).complete("hi", stop=["x"])
    body = server.requests[1][1]
    assert (body["temperature"], body["max_tokens"]) == (0.0, 9)
    assert (body["seed"], body["stop"]) == (1, ["x"])


def test_a_stream_gives_pieces_the_whole_so_far_and_the_usage(server):
    pieces = list(model(server).stream_complete("hi"))
    assert [piece.delta for piece in pieces[:3]] == ["You ", "asked: ", "hi"]
    assert pieces[-1].text == "You asked: hi"
    assert pieces[-1].usage.total_tokens == 8


@pytest.mark.parametrize("awaited_first", [True, False])
def test_an_asynchronous_stream_may_be_awaited_first_or_not(server, awaited_first):
    async def read():
        pieces = model(server).astream_complete("hi")
        if awaited_first:
            pieces = await pieces
        return [piece.delta async for piece in pieces if piece.delta]

    assert asyncio.run(read()) == ["You ", "asked: ", "hi"]


def test_a_stream_may_be_left_early(server):
    async def read():
        async with model(server).astream_complete("hi") as pieces:
            async for piece in pieces:
                return piece.text

    assert asyncio.run(read()) == "You "


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_server_that_will_not_count_is_asked_again_without(server, asynchronous):
    server.then(failure(400, "unknown field stream_options"))
    llm = model(server)

    async def read():
        return [piece.text async for piece in llm.astream_complete("hi")]

    texts = (
        asyncio.run(read())
        if asynchronous
        else [piece.text for piece in llm.stream_complete("hi")]
    )
    assert texts[-1] == "You asked: hi"
    assert "stream_options" not in server.requests[1][1]


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_stream_cut_off_keeps_what_had_come(server, asynchronous):
    server.then(stream(["The first ", "half"], cut=True))
    llm = model(server)
    seen = []

    async def read():
        async for piece in llm.astream_complete("hi"):
            seen.append(piece.text)

    with pytest.raises(ModelServerError, match="broke off after 14 char") as caught:
        if asynchronous:
            asyncio.run(read())
        else:
            seen += [p.text for p in llm.stream_complete("hi")]
    assert caught.value.partial_text == "The first half"
    if asynchronous:
        assert seen[-1] == "The first half"


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "Check the key: OPENAI_API_KEY or api_key=."),
        (403, "The key may not use this model."),
        (404, "Check model= and api_base=."),
        (400, "The server refused the request."),
        (429, "Too many requests, or no quota left: wait 7 s, or check the plan."),
        (500, "The server failed; try again later."),
    ],
)
@pytest.mark.parametrize("method", ["complete", "acomplete", "stream", "astream"])
def test_a_refusal_is_one_clear_error(server, status, advice, method):
    # Twice, since a stream is asked for again without the count after a 400.
    no = failure(status, "It did not work.", {"Retry-After": "7"})
    server.then(no, no)
    llm = model(server)

    async def astream():
        async for _ in llm.astream_complete("hi"):
            pass

    call = {
        "complete": lambda: llm.complete("hi"),
        "acomplete": lambda: asyncio.run(llm.acomplete("hi")),
        "stream": lambda: list(llm.stream_complete("hi")),
        "astream": lambda: asyncio.run(astream()),
    }[method]
    with pytest.raises(ModelServerError) as caught:
        call()
    assert str(caught.value) == (
        f"m at {server.url} answered {status}: It did not work. {advice}"
    )
    assert (caught.value.status, caught.value.retry_after) == (status, 7.0)
    assert caught.value.model == "m"


def test_the_server_is_given_the_pause_it_asks_for_and_then_asked_again(server):
    server.then(failure(429, "slow down", {"Retry-After-Ms": "1"}), chat("ok"))
    llm = OpenAI("m", api_base=server.url, max_retries=1)
    assert str(llm.complete("hi")) == "ok"
    assert len(server.requests) == 2


def test_a_page_that_is_not_json_is_one_clear_error(server):
    server.then(reply(200, {"detail": "hello"}))
    with pytest.raises(ModelServerError, match="with /v1 at its end"):
        model(server).complete("hi")


@pytest.mark.parametrize("asynchronous", [True, False])
def test_an_answer_that_is_no_json_is_one_clear_error(server, asynchronous):
    server.then(raw(b'{"id": "1", "choices": [{"mess'))
    llm = model(server)
    with pytest.raises(ModelServerError, match="sent what is no JSON: Unterminated"):
        asyncio.run(llm.acomplete("hi")) if asynchronous else llm.complete("hi")


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_stream_with_broken_json_keeps_what_had_come(server, asynchronous):
    server.then(stream(["Half", b'data: {"id": \n\n']))
    llm = model(server)

    async def read():
        return [piece async for piece in llm.astream_complete("hi")]

    with pytest.raises(ModelServerError, match="no JSON") as caught:
        asyncio.run(read()) if asynchronous else list(llm.stream_complete("hi"))
    assert caught.value.partial_text == "Half"


@pytest.mark.parametrize("asynchronous", [True, False])
def test_an_error_told_within_a_stream_keeps_what_had_come(server, asynchronous):
    told = b'data: {"error": {"message": "The model is overloaded."}}\n\n'
    server.then(stream(["Half", told]))
    llm = model(server)

    async def read():
        return [piece async for piece in llm.astream_complete("hi")]

    with pytest.raises(ModelServerError, match=r"The model is overloaded\.") as caught:
        asyncio.run(read()) if asynchronous else list(llm.stream_complete("hi"))
    assert caught.value.partial_text == "Half"


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_stream_that_falls_silent_is_a_timeout_that_keeps_what_had_come(
    server, asynchronous
):
    release = threading.Event()
    server.then(stream(["Half"], stall=release))
    llm = model(server, timeout=0.2)

    async def read():
        return [piece async for piece in llm.astream_complete("hi")]

    try:
        with pytest.raises(ModelTimeoutError, match=r"silent for 0\.2 s after 4") as no:
            asyncio.run(read()) if asynchronous else list(llm.stream_complete("hi"))
    finally:
        release.set()
    assert no.value.partial_text == "Half"


def test_no_quota_is_told_apart_from_too_many_requests(server):
    error = {"message": "You exceeded your quota.", "code": "insufficient_quota"}
    server.then(reply(429, {"error": error}))
    with pytest.raises(ModelServerError, match="no quota left: check its plan") as no:
        model(server).complete("hi")
    assert no.value.status == 429


def test_a_prompt_that_is_too_long_says_what_to_send_less_of(server):
    error = {"message": "Too long.", "code": "context_length_exceeded"}
    server.then(reply(400, {"error": error}))
    with pytest.raises(ModelServerError, match=r"fewer or shorter passages"):
        model(server).complete("hi")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(400, {"detail": "no such model"}), "400: no such model. The"),
        (reply(400, {"error": "no such model"}), "400: no such model. The"),
        (raw(b"no such model", "text/plain", 400), "400: no such model. The"),
        (raw(b"<html>nginx", "text/html", 502), "502. The server failed"),
    ],
)
def test_what_other_servers_say_is_quoted(server, answer, said):
    server.then(answer)
    with pytest.raises(ModelServerError) as caught:
        model(server).complete("hi")
    assert said in str(caught.value)


def test_fields_that_only_some_servers_know_are_sent(server):
    llm = model(server, additional_kwargs={"top_k": 5, "seed": 1})
    llm.complete("hi", min_p=0.1)
    asyncio.run(llm.acomplete("hi"))
    bodies = [body for _, body in server.requests]
    assert bodies[0] | {"messages": 0} == {
        "model": "m",
        "messages": 0,
        "top_k": 5,
        "seed": 1,
        "min_p": 0.1,
    }
    assert bodies[1]["top_k"] == 5


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_conversation_is_streamed_either_way(server, asynchronous):
    llm = model(server)
    said = [ChatMessage(content="hi")]

    async def read():
        return [piece async for piece in llm.astream_chat(said)]

    pieces = asyncio.run(read()) if asynchronous else list(llm.stream_chat(said))
    assert [piece.delta for piece in pieces[:3]] == ["You ", "asked: ", "hi"]
    assert pieces[-1].message == ChatMessage(role="assistant", content="You asked: hi")


def test_a_server_that_says_nothing_is_a_timeout(server):
    release = threading.Event()
    server.then(hang(release))
    try:
        with pytest.raises(ModelTimeoutError, match=r"within 0\.05 s \(1 tries\)"):
            model(server, timeout=0.05).complete("hi")
    finally:
        release.set()
    assert issubclass(ModelTimeoutError, TimeoutError)


def test_a_server_that_is_not_there_is_one_clear_error(server):
    server.close()
    with pytest.raises(ModelServerError, match="could not be reached") as caught:
        model(server).complete("hi")
    assert caught.value.status is None


def test_without_a_key_nothing_happens_until_a_call():
    Settings.llm = OpenAI(model="gpt-4o-mini")
    with pytest.raises(MissingAPIKeyError) as caught:
        Settings.llm.complete("hi")
    with pytest.raises(MissingAPIKeyError):
        asyncio.run(Settings.llm.acomplete("hi"))
    message = str(caught.value)
    for way_out in ("OPENAI_API_KEY", "api_key=", "api_base=", "Ollama", "unset"):
        assert way_out in message
    assert caught.value.variable == "OPENAI_API_KEY"


def test_the_key_goes_to_the_server_and_a_server_of_ones_own_needs_none(
    server, monkeypatch
):
    model(server, api_key="k-1").complete("hi")
    model(server).complete("hi")
    monkeypatch.setenv("OPENAI_API_KEY", "k-2")
    model(server, default_headers={"X-Team": "docs"}).complete("hi")
    sent = [headers["authorization"] for headers in server.headers]
    assert sent == ["Bearer k-1", "Bearer not-needed", "Bearer k-2"]
    assert server.headers[2]["x-team"] == "docs"


def test_the_address_may_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    assert str(OpenAI("m").complete("hi")) == "You asked: hi"


def test_a_model_without_a_name_is_refused():
    with pytest.raises(InvalidOptionError, match="must name a model"):
        OpenAI("")


def test_a_model_can_travel_and_never_shows_its_key(server):
    llm = model(server, api_key="secret")
    llm.complete("hi")
    there = pickle.loads(pickle.dumps(llm))
    assert str(there.complete("hi")) == "You asked: hi"
    assert "secret" not in repr(there) + repr(there.endpoint)


def test_one_model_serves_several_event_loops_and_leaves_nothing_open(server):
    # In a process of its own, where every unclosed socket is an error.
    code = f"""
        import asyncio, gc, threading
        from stepwell.rag import OpenAI
        llm = OpenAI("m", api_base={server.url!r}, max_retries=0)
        async def main():
            return str(await llm.acomplete("hi"))
        for _ in range(3):
            assert asyncio.run(main()) == "You asked: hi"
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(asyncio.run(main())))
            for _ in range(3)
        ]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert found == ["You asked: hi"] * 3
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(main()) == "You asked: hi"
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        gc.collect()
        print("done")
    """
    options = ["-X", "dev", "-W", "error::ResourceWarning"]
    done = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "done", done.stderr
    assert "ResourceWarning" not in done.stderr
    assert "never retrieved" not in done.stderr


def test_a_model_that_is_let_go_closes_its_connections(server):
    for _ in range(10):
        llm = model(server)
        llm.complete("hi")
        # What refers to itself is collected in an order that nobody knows.
        llm.__dict__["itself"] = [llm]
        del llm
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        gc.collect()
    assert [str(each.message) for each in seen] == []
