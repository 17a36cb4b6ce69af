"""Recordings and event logs as a media worker leaves them, for tests of what comes after a call."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import redis
import soundfile as sf

from shared.contracts import CallEvent, encode
from shared.keys import Keys

T0_NS = 1_700_000_000_000_000_000
MS = 1_000_000


def stereo_wav(path: Path, seconds: float = 2.0, rate_hz: int = 8_000) -> np.ndarray:
    """A stereo WAV: 440 Hz left, 660 Hz right; gives the samples."""
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    left, right = (np.sin(2 * np.pi * f * t) * 9_000 for f in (440.0, 660.0))
    samples = np.stack([left, right], axis=1).astype(np.int16)
    sf.write(str(path), samples, rate_hz, subtype="PCM_16")
    return samples


def event(kind: str, at_ms: float, call_id: str = "c1", /, **data: object) -> CallEvent:
    return CallEvent(
        call_id=call_id, kind=kind, at_ns=T0_NS + int(at_ms * MS), by="media-0.aa", data=dict(data)
    )


def agent_call(call_id: str = "c1") -> list[CallEvent]:
    """A greeting, a question, an answer that is interrupted."""
    return [
        event(
            "call.opened",
            -400,
            call_id,
            tenant="acme",
            room_id="r1",
            session_id="s1",
            app="agent",
            agent="demo",
        ),
        event("call.answered", 0, call_id),
        event("agent.segment", 20, call_id, turn=0, segment=0, text="Hello."),
        event("agent.heard", 900, call_id, turn=0, text="Hello.", interrupted=False),
        event("speech.started", 1_000, call_id, turn=1, barge_in=False),
        event("transcript", 1_700, call_id, turn=1, kind="speculative", text="billing"),
        event("transcript", 1_900, call_id, turn=1, kind="final", text="billing please"),
        event("agent.segment", 1_950, call_id, turn=1, segment=0, text="Your bill is nine."),
        event("turn.latency", 2_100, call_id, turn=1, voice_to_voice_ms=612.5),
        event("speech.started", 2_400, call_id, turn=2, barge_in=True),
        event("agent.heard", 2_650, call_id, turn=1, text="Your bill", interrupted=True),
        event("call.ended", 3_000, call_id, reason="bye", duration_ms=3_000),
    ]


def write_log(client: redis.Redis, prefix: str, call_id: str, events: Sequence[CallEvent]) -> str:
    """Puts events into a call's log; gives its key."""
    key = Keys(prefix).events(call_id)
    for item in events:
        client.xadd(key, {b"m": encode(item)})
    return key
