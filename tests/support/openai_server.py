"""An OpenAI-compatible server with faults on demand, real HTTP on a loopback port.

The fault is the model's name: `ok`, `500`, `429`, `hang` (headers, then nothing), `silent` (not even headers), `stall`
(three tokens, then nothing), `cut` (three tokens, then the connection breaks), `unfinished` (ends without saying so),
`junk`, `error` (an error object in the stream), `empty`, `bye` (calls the tool end_call), `slow` (a token per 50 ms).
Speech: `ok` (pcm), `wav`, `stereo`, and the same faults. What was asked is kept in `requests`.
"""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import web

SPEECH_HZ = 24_000
TONE_HZ = 440


@dataclass
class OpenAiServer:
    """The server; `base_url` is what an engine is configured with."""

    base_url: str = ""
    reply: str = "I heard you. Thank you for saying that. Is there anything else?"
    requests: list[dict[str, Any]] = field(default_factory=list)
    open_streams: int = 0
    connections: set[int] = field(default_factory=set)
    """Distinct connections that requests came on."""
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await self._note(request)
        model = body["model"]
        if model in {"500", "429"}:
            return web.json_response({"error": {"message": "no"}}, status=int(model))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        self.open_streams += 1
        try:
            if model == "silent":
                await self.released.wait()
            await response.prepare(request)
            await self._tokens(request, response, model)
        finally:
            self.open_streams -= 1
        return response

    async def _tokens(self, request: web.Request, response: web.StreamResponse, model: str) -> None:
        await response.write(b": a comment\n\n" + _event({"delta": {"role": "assistant"}}))
        if model == "hang":
            await self.released.wait()
        words = [] if model in {"empty", "bye"} else self.reply.split(" ")
        for number, word in enumerate(words):
            if number == 3:
                await self._fault(request, response, model)
            await response.write(_event({"delta": {"content": f"{word} "}}))
            await asyncio.sleep(0.05 if model == "slow" else 0)
        if model == "bye":
            call = {"index": 0, "function": {"name": "end_call", "arguments": "{}"}}
            await response.write(_event({"delta": {"tool_calls": [call]}}))
        if model != "unfinished":
            await response.write(_event({"delta": {}, "finish_reason": "stop"}) + b"data: [DONE]\n\n")

    async def _fault(self, request: web.Request, response: web.StreamResponse, model: str) -> None:
        if model == "stall":
            await self.released.wait()
        elif model == "cut" and request.transport:
            request.transport.abort()
        elif model == "junk":
            await response.write(b"data: {junk\n\n")
        elif model == "error":
            await response.write(b'data: {"error": {"message": "overloaded"}}\n\n')

    async def speech(self, request: web.Request) -> web.StreamResponse:
        body = await self._note(request)
        model = body["model"]
        if model in {"500", "429"}:
            return web.json_response({"error": {"message": "no"}}, status=int(model))
        pcm = self._pcm(body["input"])
        if model in {"wav", "stereo"}:
            pcm = _wav_header(len(pcm), channels=2 if model == "stereo" else 1) + pcm
        response = web.StreamResponse()
        await response.prepare(request)
        for at in range(0, len(pcm), 4_801):  # odd, so that samples are split
            if at and model == "cut" and request.transport:
                request.transport.abort()
                return response
            if model == "hang" or (at and model == "stall"):
                await self.released.wait()
            await response.write(pcm[at : at + 4_801])
        return response

    def _pcm(self, text: str) -> bytes:
        """A loud tone, 0.3 s a word."""
        seconds = 0.3 * len(text.split())
        at = np.arange(int(seconds * SPEECH_HZ)) / SPEECH_HZ
        return (np.sin(2 * np.pi * TONE_HZ * at) * 32_000).astype("<i2").tobytes()

    async def _note(self, request: web.Request) -> dict[str, Any]:
        body: dict[str, Any] = await request.json()
        self.requests.append(body | {"authorization": request.headers.get("Authorization", "")})
        self.connections.add(id(request.transport))
        return body


def _event(choice: dict[str, Any]) -> bytes:
    chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, "finish_reason": None, **choice}]}
    return f"data: {json.dumps(chunk)}\n\n".encode()


def _wav_header(data_bytes: int, channels: int) -> bytes:
    block = 2 * channels
    riff = struct.pack("<4sI4s4sI", b"RIFF", 36 + data_bytes, b"WAVE", b"fmt ", 16)
    form = struct.pack("<HHIIHH", 1, channels, SPEECH_HZ, SPEECH_HZ * block, block, 16)
    return riff + form + struct.pack("<4sI", b"data", data_bytes)


@asynccontextmanager
async def openai_server() -> AsyncIterator[OpenAiServer]:
    """Serves until the block is left."""
    server = OpenAiServer()
    app = web.Application()
    app.add_routes(
        [web.post("/v1/chat/completions", server.chat), web.post("/v1/audio/speech", server.speech)]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        server.released.set()
        await runner.cleanup()
