"""A call whose codec changes with a re-INVITE, from narrowband to wideband and back: heard on both sides, one call."""

import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.events import call_events
from tests.support.farm import farm
from tests.support.phone import address, level_at, tone
from tests.support.waiting import eventually
from tests.support.wide_phone import WIDE_HZ, WidePhone, sequence_gaps

pytestmark = pytest.mark.process

HIGH_HZ = 5_500


def high_tone(seconds: float) -> np.ndarray:
    at = np.arange(int(seconds * WIDE_HZ)) / WIDE_HZ
    return (9_000 * np.sin(2 * np.pi * HIGH_HZ * at)).astype(np.int16)


def hears(phone: WidePhone, hz: float, since: float = 0.0) -> bool:
    last = phone.heard(since)[-4_000:]
    return len(last) == 4_000 and level_at(last, hz) > 0.9


def share_at(pcm: np.ndarray, hz: float) -> float:
    power = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm)))) ** 2 if len(pcm) > WIDE_HZ // 4 else np.zeros(1)
    near = np.abs(np.fft.rfftfreq(2 * (len(power) - 1) or 1, 1 / WIDE_HZ) - hz) < 30
    return float(power[near].sum() / power.sum()) if power.sum() > 1e9 else 0.0


async def test_echo_goes_on_through_a_change_to_wideband_and_back(tmp_path: Path) -> None:
    with farm(tmp_path) as running:
        phone = WidePhone(address(running.sip))
        await phone.open()
        try:
            answer = await phone.call("echo")
            assert answer.status == 200
            call_id = answer.one("x-call-id")
            phone.play(tone(700, 6))
            await eventually(lambda: hears(phone, 700), 10)

            answer = await phone.change(wide=True)
            assert answer.status == 200
            assert "a=rtpmap:97 L16/16000" in answer.body
            changed = time.monotonic()
            phone.play_wide(high_tone(6))
            await eventually(lambda: share_at(phone.heard_wide(changed)[-8_000:], HIGH_HZ) > 0.9, 10)

            answer = await phone.change(wide=False)
            assert answer.status == 200
            back = time.monotonic()
            phone.play(tone(1_100, 6))
            await eventually(lambda: hears(phone, 1_100, back), 10)
            with running.redis() as client:
                updates = [event.data["codec"] for event in call_events(client, call_id, "call.updated")]
            assert updates == ["L16", "PCMU"]
            assert (await phone.bye()).status == 200
        finally:
            phone.close()
    # Another clock is another stream (RFC 7160): three of them, and none has a hole.
    streams = list(dict.fromkeys(packet.ssrc for packet in phone.packets))
    assert len(streams) == 3
    assert [sequence_gaps(phone, ssrc) for ssrc in streams] == [0, 0, 0]
    assert {packet.payload_type for packet in phone.packets if packet.ssrc == streams[1]} == {97}
