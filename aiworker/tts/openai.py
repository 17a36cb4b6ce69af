"""Any OpenAI-compatible speech endpoint (OpenAI, Kokoro-FastAPI, speaches, ...), streamed with aiohttp.

Asks for `pcm`, which the API defines as 24 kHz 16-bit mono without a header; a server that answers with WAV anyway is
believed what its header says. Audio is resampled as it arrives. It must not retry.
"""

import asyncio
import os
import struct
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import numpy as np
import soxr

from aiworker.core.failover import HttpRefused, StreamCut
from aiworker.core.frames import Samples
from aiworker.tts.port import Sentence
from shared.errors import EngineTimeout

_PCM_HZ = 24_000
_CONNECT_S = 2.0
_HEADER_BYTES = 44
_LOWEST_HZ, _HIGHEST_HZ = 4_000, 192_000
_READ_BYTES = 16_384


class OpenAiSpeech:
    """One endpoint and model."""

    name = "openai"
    parallel = 16

    def __init__(
        self, base_url: str, model: str, voice: str, api_key_env: str = "", *, first_audio_s: float = 3.0
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/audio/speech"
        self._model = model
        self._voice = voice
        self._key_env = api_key_env
        self._first_audio_s = first_audio_s
        self._session: aiohttp.ClientSession | None = None

    async def load(self) -> None:
        self._client()

    async def synthesise(self, sentence: Sentence) -> AsyncGenerator[Samples, None]:
        body = {"model": self._model, "input": sentence.text, "voice": sentence.voice or self._voice}
        try:
            async with asyncio.timeout(self._first_audio_s):
                response = await self._client().post(
                    self._url, json={**body, "response_format": "pcm"}, headers=self._headers()
                )
            async with response:
                if response.status != 200:
                    raise HttpRefused(f"{self._url}: HTTP {response.status}: {(await response.text())[:200]}")
                decoder = _Decoder(sentence.rate_hz)
                while data := await self._read(response):
                    audio = decoder.feed(data)
                    if audio.size:
                        yield audio
                yield decoder.finish()
        except TimeoutError as error:
            raise EngineTimeout(f"{self._url}: nothing for {self._first_audio_s} s") from error
        except aiohttp.ClientError as error:
            raise StreamCut(f"{self._url}: {error}") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        async with asyncio.timeout(self._first_audio_s):
            return await response.content.read(_READ_BYTES)

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self._key_env, "") if self._key_env else ""
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=75),
                timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_S, sock_connect=_CONNECT_S),
            )
        return self._session


class _Decoder:
    """Bytes of the response in, audio at the wanted rate out."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._head = b""
        self._odd = b""
        self._resampler: Any = None

    def feed(self, data: bytes) -> Samples:
        if self._resampler is None:
            self._head += data
            if len(self._head) < _HEADER_BYTES:
                return np.zeros(0, np.int16)
            data = self._start(self._head)
        return self._resample(data, last=False)

    def finish(self) -> Samples:
        data = self._start(self._head) if self._resampler is None else b""
        return self._resample(data, last=True)

    def _start(self, head: bytes) -> bytes:
        from_hz, data = _format(head)
        self._resampler = soxr.ResampleStream(from_hz, self._rate_hz, 1, dtype="int16", quality="HQ")
        return data

    def _resample(self, data: bytes, *, last: bool) -> Samples:
        data = self._odd + data
        whole = len(data) // 2 * 2
        self._odd = data[whole:]
        audio: Samples = self._resampler.resample_chunk(np.frombuffer(data[:whole], "<i2"), last=last)
        return audio


def _format(head: bytes) -> tuple[int, bytes]:
    """Sample rate and first audio of a response that begins with `head`. Raises StreamCut for what cannot be played."""
    if head[:4] != b"RIFF":
        return _PCM_HZ, head
    at = head.find(b"data")
    if len(head) < _HEADER_BYTES or at < 0:
        raise StreamCut("a WAV response with a header that is cut or too long")
    kind, channels, rate_hz = struct.unpack_from("<HHI", head, 20)
    bits = struct.unpack_from("<H", head, 34)[0]
    if (kind, channels, bits) != (1, 1, 16) or not _LOWEST_HZ <= rate_hz <= _HIGHEST_HZ:
        raise StreamCut(
            f"a WAV response of kind {kind}, {channels} channels, {bits} bits, {rate_hz} Hz; mono 16-bit PCM is needed"
        )
    return rate_hz, head[at + 8 :]
