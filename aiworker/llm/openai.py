"""Any OpenAI-compatible chat endpoint (OpenAI, vLLM, Ollama, llama.cpp server, ...), streamed with aiohttp.

One session per engine: connections are kept alive, so a turn costs no handshake (aiohttp: 24 us of CPU per token at 100
streams, FACTS section 5). Server-sent events as in the HTML Living Standard section 9.2; the stream is whole when
`[DONE]` or a finish_reason was seen, and cut otherwise. It must not retry: the chain decides who is next.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from aiworker.core.effects import Act
from aiworker.core.failover import HttpRefused, StreamCut
from aiworker.core.history import ChatMessage
from aiworker.llm.port import StreamOptions
from shared.errors import EngineError, EngineTimeout

_CONNECT_S = 2.0
_LINE_MAX_BYTES = 1 << 20
_HANG_UP = "end_call"
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": _HANG_UP,
            "description": "End the phone call after what you have said. Use it when the caller says goodbye.",
            "parameters": {"type": "object", "properties": {}},
        },
    }
]


class OpenAiEngine:
    """One endpoint and model."""

    name = "openai"

    def __init__(
        self, base_url: str, model: str, api_key_env: str = "", options: dict[str, Any] | None = None
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._model = model
        self._key_env = api_key_env
        self._options = options or {}
        self._session: aiohttp.ClientSession | None = None

    async def stream(
        self, messages: list[ChatMessage], options: StreamOptions
    ) -> AsyncGenerator[str | Act, None]:
        deltas = self._deltas(messages, options)
        wait_ms = options.first_token_ms
        async with aclosing(deltas):
            while True:
                try:
                    async with asyncio.timeout(wait_ms / 1_000):
                        item = await anext(deltas)
                except StopAsyncIteration:
                    return
                except TimeoutError as error:
                    raise EngineTimeout(f"{self._url}: nothing for {wait_ms} ms") from error
                except aiohttp.ClientError as error:
                    raise StreamCut(f"{self._url}: {error}") from error
                yield item
                wait_ms = options.stall_ms

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _deltas(
        self, messages: list[ChatMessage], options: StreamOptions
    ) -> AsyncGenerator[str | Act, None]:
        """What the endpoint sends, without deadlines; only items with content."""
        body = self._body(messages, options)
        async with self._client().post(self._url, json=body, headers=self._headers()) as response:
            if response.status != 200:
                detail = (await response.text())[:200]
                raise HttpRefused(f"{self._url}: HTTP {response.status}: {detail}")
            whole = False
            async for chunk in _events(response):
                if chunk is None:
                    return
                items, finished = _read(chunk)
                for item in items:
                    yield item
                whole = whole or finished
            if not whole:
                raise StreamCut(f"{self._url}: the stream ended in the middle")

    def _body(self, messages: list[ChatMessage], options: StreamOptions) -> dict[str, Any]:
        said = [{"role": message.role, "content": message.content} for message in messages]
        body = {**self._options, "model": self._model, "messages": said, "stream": True}
        if options.may_hang_up:
            body["tools"] = _TOOLS
        return body

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self._key_env, "") if self._key_env else ""
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=75),
                timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_S, sock_connect=_CONNECT_S),
                read_bufsize=_LINE_MAX_BYTES,
            )
        return self._session


async def _events(response: aiohttp.ClientResponse) -> AsyncGenerator[dict[str, Any] | None, None]:
    """The data of each server-sent event; None for `[DONE]`."""
    try:
        async for raw in response.content:
            line = raw.strip()
            if line.startswith(b"data:"):
                data = line[5:].strip()
                yield None if data == b"[DONE]" else _parsed(data)
    except (ValueError, HttpProcessingError) as error:  # a line longer than the buffer
        raise StreamCut(f"not an event stream: {error}") from error


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except ValueError as error:
        raise StreamCut(f"not JSON in the stream: {data[:80]!r}") from error
    if not isinstance(chunk, dict):
        raise StreamCut(f"not an object in the stream: {data[:80]!r}")
    if chunk.get("error"):
        raise EngineError(f"the provider says: {str(chunk['error'])[:200]}")
    return chunk


def _read(chunk: dict[str, Any]) -> tuple[list[str | Act], bool]:
    """What a chunk gives, and whether it is the last one. Raises StreamCut for JSON that is no chunk of a chat."""
    try:
        return _items(chunk), _finished(chunk)
    except (AttributeError, TypeError) as error:
        raise StreamCut(f"not a chunk of a chat: {str(chunk)[:80]}") from error


def _items(chunk: dict[str, Any]) -> list[str | Act]:
    items: list[str | Act] = []
    for choice in chunk.get("choices") or []:
        delta = choice.get("delta") or {}
        if delta.get("content"):
            items.append(_sendable(str(delta["content"])))
        names = [(call.get("function") or {}).get("name") for call in delta.get("tool_calls") or []]
        if _HANG_UP in names:
            items.append(Act("hangup"))
    return items


def _sendable(text: str) -> str:
    """Half of a surrogate pair, which JSON may escape alone and UTF-8 cannot carry, becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _finished(chunk: dict[str, Any]) -> bool:
    return any(choice.get("finish_reason") for choice in chunk.get("choices") or [])
