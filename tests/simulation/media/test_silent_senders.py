"""Senders who say nothing when they are silent, with comfort noise and without; packets of other lengths than 20 ms."""

import numpy as np
import pytest

from mediaworker.core.engine import Engine
from mediaworker.core.inbound.pace import ALIVE_FRAMES
from tests.support.engine_caller import Caller, leg_setup, rtp, tone

pytestmark = pytest.mark.simulation

SILENCE = 100
"""Ticks of a pause: 2 s, more than the ring holds."""


def speaking() -> Caller:
    caller = Caller(Engine(2, seed=1, phases=1), leg_setup(detect_speech=True))
    caller.say(tone(300, 160 * 100))
    return caller


def delay(caller: Caller) -> int:
    """Of the frame just heard, above the least, in ms."""
    rows, row = caller.engine.rows, caller.row
    return int(caller.now_ns - int(rows.last_good[row]) * 20_000_000 - int(rows.least_ns[row])) // 1_000_000


def pause(caller: Caller, *, noise: int | None) -> list[np.ndarray]:
    """What is heard while the sender is silent; his clock goes on."""
    if noise is not None:
        caller.arrive(rtp(caller.seq, caller.stamp, bytes([noise]), ssrc=caller.ssrc, kind=13))
        caller.seq += 1
    caller.tick(SILENCE)
    caller.stamp += 160 * SILENCE
    return caller.caller[-SILENCE:]


@pytest.mark.parametrize("noise", [None, 45])
def test_the_delay_is_the_same_after_a_pause_and_nothing_is_lost(noise: int | None):
    caller = speaking()
    before, lost = delay(caller), caller.engine.rows.lost_frames[caller.row]
    pause(caller, noise=noise)
    caller.say(tone(300, 160 * 50))
    rows = caller.engine.rows
    assert abs(delay(caller) - before) <= 20
    assert rows.lost_frames[caller.row] == lost
    assert rows.late[caller.row] == 0
    assert rows.silent_sender[caller.row]
    assert caller.engine.stats(caller.row).concealed <= 2
    heard = [float(np.abs(frame.astype(int)).max()) for frame in caller.caller[-45:]]
    assert min(heard) > 7_000


def test_comfort_noise_is_heard_at_its_level_and_nothing_is_made_up():
    caller = speaking()
    concealed = caller.engine.rows.concealed[caller.row]
    frames = pause(caller, noise=45)
    level = 20 * np.log10(np.sqrt(np.mean(np.concatenate(frames[5:]).astype(float) ** 2)) / 32_768)
    assert level == pytest.approx(-45, abs=1)
    assert caller.engine.rows.concealed[caller.row] == concealed


def test_without_comfort_noise_a_pause_is_silence_and_ends_the_utterance():
    caller = speaking()
    frames = pause(caller, noise=None)
    assert not np.concatenate(frames[6:]).any()
    assert "END" in [event.kind.name for result in caller.results for event in result.speech]


@pytest.mark.parametrize("size", [80, 240, 320, 480])
def test_packets_of_any_length_are_heard_without_a_hole(size: int):
    caller = Caller(Engine(2, seed=1, phases=1), leg_setup())
    words = tone(250, 480 * 100)
    caller.say(words, size=size)
    stats = caller.engine.stats(caller.row)
    assert (stats.lost_in, stats.late_in) == (0, 0)
    assert stats.concealed <= 6
    heard = np.concatenate(caller.caller[30:-10])
    assert np.abs(np.diff(heard.astype(int))).max() <= np.abs(np.diff(words.astype(int))).max() * 1.4
    assert np.abs(heard.reshape(-1, 160).astype(int)).max(axis=1).min() > 6_000


@pytest.mark.parametrize("size", [80, 160, 240])
def test_pauses_of_a_sender_of_any_packets_are_no_losses_and_end_utterances(size: int):
    rng = np.random.default_rng(8)
    caller = Caller(Engine(2, seed=1, phases=1), leg_setup(detect_speech=True))
    sent: list[tuple[int, bytes]] = []
    time_ms = 0
    for _ in range(10):
        for place in range(0, 480 * 20, size):
            data = caller.packet(tone(300, size, start=place))
            sent.append((int((time_ms + place / 8 + rng.uniform(0, 45)) * 1_000_000), data))
        time_ms += 480 * 20 // 8 + 800
        caller.stamp += 800 * 8
    sent.sort()
    while sent:
        while sent and sent[0][0] <= caller.now_ns + 20_000_000:
            arrived_ns, data = sent.pop(0)
            caller.arrive(data, arrived_ns)
        caller.tick()
    caller.tick(100)
    rows, row = caller.engine.rows, caller.row
    assert rows.reordered[row] > 0
    assert rows.lost_frames[row] <= rows.late[row] + 3
    # The last pause is not over, and lasts a second as far as anybody knows.
    assert rows.concealed[row] <= ALIVE_FRAMES + rows.late[row] + 20
    assert rows.silent_sender[row]
    # All but the first: until then he may have been cut off.
    assert [event.kind.name for result in caller.results for event in result.speech].count("END") == 9
