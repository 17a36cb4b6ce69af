"""The gateway against aiortp's sessions: what one says the other hears, both ways, for every static payload type."""

import asyncio
from collections.abc import Callable

import aiortp
import numpy as np
import pytest

from mediaworker.gateway import RtpGateway, RtpLeg
from tests.support.farm import rtp_block

pytestmark = pytest.mark.peers

SECONDS = 1.5


def tone(hz: float, rate_hz: int, seconds: float) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return (8_000 * np.sin(2 * np.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz)).astype(np.int16)


def strongest(pcm: np.ndarray[tuple[int], np.dtype[np.int16]], rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * rate_hz / len(pcm))


async def take(leg: RtpLeg, wanted: Callable[[list[np.ndarray]], bool]) -> np.ndarray:
    """Frames until there are enough loud ones."""
    heard: list[np.ndarray] = []
    async with asyncio.timeout(20):
        async for frame in leg.frames():
            if np.abs(frame.pcm.astype(int)).max() > 1_000:
                heard.append(frame.pcm)
            if wanted(heard):
                break
    return np.concatenate(heard)


@pytest.mark.parametrize(
    ("payload_type", "clock_rate", "their_hz", "our_hz", "hz"),
    [(0, 8_000, 8_000, 8_000, 1_000.0), (8, 8_000, 8_000, 8_000, 700.0), (9, 8_000, 16_000, 16_000, 5_000.0)],
)
async def test_audio_passes_both_ways(
    payload_type: int, clock_rate: int, their_hz: int, our_hz: int, hz: float
) -> None:
    first = int(rtp_block(8).split("-")[0])
    heard: list[bytes] = []
    async with RtpGateway(ports=f"{first}-{first + 3}") as gateway:
        peer = await aiortp.RTPSession.create(
            ("127.0.0.1", first + 4), ("127.0.0.1", first), payload_type, clock_rate=clock_rate
        )
        peer.on_audio = lambda pcm, _timestamp: heard.append(pcm)
        try:
            leg = await gateway.start(
                local_port=first, remote=("127.0.0.1", first + 4), payload_type=payload_type
            )
            assert leg.rate_hz == our_hz
            talking = asyncio.create_task(
                _talk(peer, tone(hz, their_hz, 30), their_hz // 50, clock_rate // 50)
            )
            await leg.send(tone(hz, our_hz, SECONDS))
            ours = await take(leg, lambda frames: len(frames) >= 50)
            talking.cancel()
            async with asyncio.timeout(20):
                while _loud(heard) < 50:
                    await asyncio.sleep(0.05)
        finally:
            await peer.close()
    assert abs(strongest(ours[our_hz // 4 :], our_hz) - hz) < 10
    theirs = np.concatenate([np.frombuffer(pcm, np.int16) for pcm in heard if _is_loud(pcm)])
    assert abs(strongest(theirs[their_hz // 4 :], their_hz) - hz) < 10


def _is_loud(pcm: bytes) -> bool:
    return bool(np.abs(np.frombuffer(pcm, np.int16).astype(int)).max() > 1_000)


def _loud(heard: list[bytes]) -> int:
    return sum(map(_is_loud, heard))


async def _talk(peer: aiortp.RTPSession, pcm: np.ndarray, size: int, step: int) -> None:
    """A frame every 20 ms; the clock of G.722 counts half its samples (RFC 3551 section 4.5.2)."""
    due = asyncio.get_running_loop().time()
    for number in range(len(pcm) // size):
        peer.send_audio_pcm(pcm[number * size : (number + 1) * size].tobytes(), number * step)
        due += 0.02
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
