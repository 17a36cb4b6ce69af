"""The OpenAI-compatible chat engine against a server that writes any bytes: framing, odd chunks, what is asked."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from aiworker.core.effects import Act
from aiworker.core.failover import HttpRefused, StreamCut, reason_of
from aiworker.core.history import ChatMessage
from aiworker.llm.openai import OpenAiEngine
from aiworker.llm.port import StreamOptions
from shared.errors import EngineError, EngineTimeout
from tests.support.openai_server import openai_server
from tests.support.waiting import eventually

pytestmark = pytest.mark.conformance

MESSAGES = [ChatMessage("user", "hello")]
DONE = b"data: [DONE]\n\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def raw_server(*parts: bytes) -> AsyncIterator[str]:
    """Answers every request with these writes and closes; gives the base URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        await reader.readexactly(length)
        for part in parts:
            writer.write(part)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/"
    finally:
        server.close()


def chunk(**delta: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n"


async def read(base_url: str, options: StreamOptions | None = None) -> list[str | Act]:
    engine = OpenAiEngine(base_url, "m")
    try:
        async with aclosing(engine.stream(MESSAGES, options or StreamOptions())) as items:
            return [item async for item in items]
    finally:
        await engine.close()


@pytest.mark.parametrize(
    "parts",
    [
        [chunk(content="one "), chunk(content="two"), DONE],
        [b"".join([chunk(content="one "), chunk(content="two"), DONE])],
        [bytes([byte]) for byte in chunk(content="one ") + chunk(content="two") + DONE],  # byte by byte
        [b'data:{"choices":[{"delta":{"content":"one two"}}]}\r\n\r\ndata:[DONE]\r\n\r\n'],  # CRLF, no space
        [b": keep-alive\n\n", b"event: message\nid: 7\n", chunk(content="one two"), DONE],
        [
            chunk(content="one two"),
            b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
        ],  # no [DONE]
        [chunk(role="assistant", content=""), chunk(content=None), chunk(content="one two"), DONE],
        [b'data: {"choices": []}\n\n', chunk(content="one two"), b'data: {"usage": {"n": 1}}\n\n', DONE],
        [chunk(content="one two"), DONE, chunk(content=" and more")],  # nothing after the end counts
    ],
)
async def test_text_is_the_same_however_the_stream_is_written(parts: list[bytes]) -> None:
    async with raw_server(HEAD, *parts) as url:
        assert "".join(str(item) for item in await read(url)) == "one two"


@pytest.mark.parametrize(
    "bad",
    [
        b"data: {junk\n\n", b"data: 7\n\n", b"data: []\n\n", b'data: {"choices": ["x"]}\n\n', b'data: {"choices": 5}\n\n',
        b'data: {"choices": [{"delta": "text"}]}\n\n', b'data: {"choices": [{"delta": {"tool_calls": [3]}}]}\n\n', b"",
    ],
)  # fmt: skip
async def test_stream_that_is_no_chat_or_ends_early_is_cut(bad: bytes) -> None:
    async with raw_server(HEAD, chunk(content="one"), bad) as url:
        with pytest.raises(StreamCut) as caught:
            await read(url)
    assert reason_of(caught.value) == "cut"


async def test_error_of_the_provider_inside_the_stream_is_told_in_its_words() -> None:
    async with raw_server(HEAD, b'data: {"error": {"message": "overloaded"}}\n\n') as url:
        with pytest.raises(EngineError, match="overloaded"):
            await read(url)


async def test_half_of_a_surrogate_pair_does_not_break_the_message_to_the_speaker() -> None:
    lone = b'data: {"choices":[{"delta":{"content":"hi \\ud83d"}}]}\n\n'
    whole = b'data: {"choices":[{"delta":{"content":"\\ud83d\\ude00"}}]}\n\n'
    async with raw_server(HEAD, lone, whole, DONE) as url:
        items = await read(url)
    assert items == ["hi \N{REPLACEMENT CHARACTER}", "\N{GRINNING FACE}"]
    assert "".join(str(item) for item in items).encode()


async def test_line_without_end_is_cut_and_not_kept_in_memory() -> None:
    async with raw_server(HEAD, b"data: " + b"x" * (3 << 20)) as url:
        with pytest.raises(StreamCut):
            await read(url)


async def test_hanging_up_is_an_act_between_texts() -> None:
    tool = chunk(tool_calls=[{"function": {"name": "end_call", "arguments": "{}"}}])
    other = chunk(tool_calls=[{"function": {"name": "sing"}}, {"function": None}])
    async with raw_server(HEAD, chunk(content="bye"), other, tool, DONE) as url:
        assert await read(url, StreamOptions(may_hang_up=True)) == ["bye", Act("hangup")]


async def test_connection_that_is_refused_is_an_engine_error() -> None:
    with pytest.raises(EngineError):
        await read("http://127.0.0.1:1/v1")


async def test_request_carries_model_history_options_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sesame")
    async with openai_server() as server:
        engine = OpenAiEngine(server.base_url, "ok", "SOME_KEY", {"temperature": 0.5, "model": "not this"})
        async with aclosing(engine.stream(MESSAGES, StreamOptions())) as items:
            assert [item async for item in items]
        await engine.close()
        [asked] = server.requests
    assert (asked["model"], asked["temperature"], asked["stream"]) == ("ok", 0.5, True)
    assert asked["messages"] == [{"role": "user", "content": "hello"}]
    assert asked["authorization"] == "Bearer sesame"
    assert "tools" not in asked


async def test_tool_to_hang_up_is_offered_only_where_it_is_allowed() -> None:
    async with openai_server() as server:
        assert await read(server.base_url, StreamOptions(may_hang_up=True))
        assert server.requests[0]["tools"][0]["function"]["name"] == "end_call"


async def test_turns_share_one_connection() -> None:
    async with openai_server() as server:
        engine = OpenAiEngine(server.base_url, "ok")
        for _ in range(3):
            async with aclosing(engine.stream(MESSAGES, StreamOptions())) as items:
                assert [item async for item in items]
        await engine.close()
        assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("model", "error", "reason"),
    [
        ("silent", EngineTimeout, "timeout"), ("hang", EngineTimeout, "timeout"), ("stall", EngineTimeout, "timeout"),
        ("500", HttpRefused, "http"), ("429", HttpRefused, "http"),
        ("cut", StreamCut, "cut"), ("unfinished", StreamCut, "cut"),
    ],
)  # fmt: skip
async def test_failure_has_its_own_kind_and_the_next_turn_works(
    model: str, error: type[EngineError], reason: str
) -> None:
    short = StreamOptions(first_token_ms=150, stall_ms=150)
    async with openai_server() as server:
        engine = OpenAiEngine(server.base_url, model)
        for _ in range(2):
            with pytest.raises(error) as caught:
                async with aclosing(engine.stream(MESSAGES, short)) as items:
                    assert [item async for item in items]
            assert reason_of(caught.value) == reason
        await engine.close()


async def test_listener_that_leaves_stops_the_providers_work() -> None:
    async with openai_server() as server:
        engine = OpenAiEngine(server.base_url, "slow")
        async with aclosing(engine.stream(MESSAGES, StreamOptions())) as items:
            await anext(items)
            assert server.open_streams == 1
        await eventually(lambda: server.open_streams == 0, 5)
        await engine.close()
