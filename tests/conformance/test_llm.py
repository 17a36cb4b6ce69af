"""What every LLM engine must do; the openai one talks to a real HTTP server with faults."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from aiworker.core.agent import Intent, Script
from aiworker.core.effects import Act
from aiworker.core.failover import HttpRefused, StreamCut
from aiworker.core.history import ChatMessage
from aiworker.llm.openai import OpenAiEngine
from aiworker.llm.port import LlmEngine, StreamOptions
from aiworker.llm.script import ScriptEngine
from shared.errors import EngineError, EngineTimeout
from tests.support.openai_server import OpenAiServer, openai_server

pytestmark = pytest.mark.conformance

MESSAGES = [
    ChatMessage("system", "Be kind."),
    ChatMessage("user", "first"),
    ChatMessage("assistant", "yes"),
    ChatMessage("user", "I said hello"),
]
SCRIPT = Script(
    intents=[
        Intent(name="hello", keywords=["hello"], reply=["Good day to you. How are you?"]),
        Intent(name="bye", keywords=["bye"], reply=["So long."], hangup=True),
    ],
    otherwise=["What was that?"],
)
SHORT = StreamOptions(first_token_ms=150, stall_ms=150)


@pytest.fixture
async def server() -> AsyncIterator[OpenAiServer]:
    async with openai_server() as found:
        yield found


@pytest.fixture(params=["script", "openai"])
async def engine(request: pytest.FixtureRequest, server: OpenAiServer) -> AsyncIterator[LlmEngine]:
    found: LlmEngine = (
        ScriptEngine(SCRIPT) if request.param == "script" else OpenAiEngine(server.base_url, "ok")
    )
    yield found
    await found.close()


async def collected(engine: LlmEngine, options: StreamOptions | None = None) -> list[str | Act]:
    async with aclosing(engine.stream(MESSAGES, options or StreamOptions())) as items:
        return [item async for item in items]


async def test_reply_comes_as_several_tokens_when_asked(engine: LlmEngine) -> None:
    items = await collected(engine)
    assert len(items) > 3
    assert all(isinstance(item, str) and item for item in items)
    assert len("".join(str(item) for item in items).split()) >= 6


async def test_streams_do_not_mix_when_two_run_at_once(engine: LlmEngine) -> None:
    alone = "".join(str(item) for item in await collected(engine))
    async with aclosing(engine.stream(MESSAGES, StreamOptions())) as one:
        async with aclosing(engine.stream(MESSAGES, StreamOptions())) as two:
            first = [str(await anext(one)), str(await anext(two))]
            rest_two = [str(item) async for item in two]
        rest_one = [str(item) async for item in one]
    assert first[0] + "".join(rest_one) == alone
    assert first[1] + "".join(rest_two) == alone


async def test_engine_serves_again_when_a_stream_was_left(engine: LlmEngine) -> None:
    async with aclosing(engine.stream(MESSAGES, StreamOptions())) as items:
        await anext(items)
    assert len(await collected(engine)) > 3


async def test_engine_has_a_label(engine: LlmEngine) -> None:
    assert engine.name in {"script", "openai"}


async def test_hangup_is_an_act_when_engine_wants_to_end(server: OpenAiServer) -> None:
    remote = OpenAiEngine(server.base_url, "bye")
    script = ScriptEngine(
        Script(intents=[Intent(name="x", keywords=["hello"], reply=["So long."], hangup=True)])
    )
    for engine, options in ((remote, StreamOptions(may_hang_up=True)), (script, StreamOptions())):
        assert (await collected(engine, options))[-1] == Act("hangup")
    assert server.requests[-1]["tools"][0]["function"]["name"] == "end_call"
    await remote.close()


@pytest.mark.parametrize(
    ("model", "error", "before"),
    [
        ("500", HttpRefused, 0),
        ("429", HttpRefused, 0),
        ("silent", EngineTimeout, 0),
        ("hang", EngineTimeout, 0),
        ("stall", EngineTimeout, 3),
        ("cut", StreamCut, 3),
        ("junk", StreamCut, 3),
        ("error", EngineError, 3),
    ],
)
async def test_failure_is_an_engine_error_when_provider_is_bad(
    server: OpenAiServer, model: str, error: type[EngineError], before: int
) -> None:
    engine = OpenAiEngine(server.base_url, model)
    seen: list[str | Act] = []
    with pytest.raises(error):
        await _collect(engine, seen)
    assert len(seen) == before
    await engine.close()


async def _collect(engine: LlmEngine, into: list[str | Act]) -> None:
    async with aclosing(engine.stream(MESSAGES, SHORT)) as items:
        async for item in items:
            into.append(item)  # noqa: PERF401  what came before the failure counts


async def test_stream_is_cut_when_it_ends_without_saying_so(server: OpenAiServer) -> None:
    engine = OpenAiEngine(server.base_url, "unfinished")
    with pytest.raises(StreamCut):
        await collected(engine)
    await engine.close()


async def test_nothing_listens_is_an_engine_error() -> None:
    engine = OpenAiEngine("http://127.0.0.1:9/v1", "ok")
    with pytest.raises(EngineError):
        await collected(engine)
    await engine.close()


async def test_request_is_closed_when_stream_is_left(server: OpenAiServer) -> None:
    engine = OpenAiEngine(server.base_url, "slow")
    server.reply = "word " * 10_000
    async with aclosing(engine.stream(MESSAGES, StreamOptions())) as items:
        await anext(items)
        assert server.open_streams == 1
    await _until_closed(server)
    await engine.close()


async def _until_closed(server: OpenAiServer) -> None:
    import asyncio  # noqa: PLC0415  only this waits

    async with asyncio.timeout(5):
        while server.open_streams:
            await asyncio.sleep(0.01)


async def test_connection_is_kept_when_turns_follow_each_other(server: OpenAiServer) -> None:
    engine = OpenAiEngine(server.base_url, "ok", options={"temperature": 0.2})
    for _ in range(4):
        await collected(engine)
    assert len(server.connections) == 1
    assert server.requests[0]["temperature"] == 0.2
    assert server.requests[0]["messages"][0] == {"role": "system", "content": "Be kind."}
    await engine.close()


async def test_key_is_sent_when_its_variable_is_set(
    server: OpenAiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "secret")
    engine = OpenAiEngine(server.base_url, "ok", "A_KEY")
    await collected(engine)
    assert server.requests[0]["authorization"] == "Bearer secret"
    await engine.close()
