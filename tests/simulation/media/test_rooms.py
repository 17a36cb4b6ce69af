"""Rooms in virtual time, through every codec: narrow and wide members, a hundred people, what all of them hear."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from mediaworker.core.engine import Engine
from mediaworker.core.legs import Samples
from mediaworker.core.playing.media_source import Pcm, Tone
from shared.contracts import RtpEndpoint, ToneStep
from tests.support.coded_caller import KINDS, CodedCaller, hand_over_long
from tests.support.engine_caller import HOST, PORT, TICK_NS

pytestmark = pytest.mark.simulation


def tone(hz: float, rate_hz: int, seconds: float, amplitude: float = 6_000) -> Samples:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz)).astype(np.int16)


def level(pcm: Samples, hz: float, rate_hz: int) -> float:
    """Amplitude of one frequency."""
    turn = np.exp(-2j * np.pi * hz * np.arange(len(pcm)) / rate_hz)
    return float(2 * np.abs(np.mean(pcm * turn)))


@dataclass
class Party:
    """People of one room, each with a codec and a voice."""

    kinds: list[str]
    callers: list[CodedCaller] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = Engine(max(4, len(self.kinds)), seed=1, phases=1)
        for number, kind in enumerate(self.kinds):
            self.callers.append(
                CodedCaller(self.engine, KINDS[kind], port=PORT + 2 * number, room=0, ssrc=77 + number)
            )
        self.now_ns = 0

    def talk(self, voices: dict[int, Samples], ticks: int) -> None:
        """Everyone sends every 20 ms: their voice, or silence."""
        sounds = {
            number: voices.get(number, np.zeros(caller.rate_hz // 50 * ticks, np.int16))
            for number, caller in enumerate(self.callers)
        }
        packets = {number: self.callers[number].packets(sound) for number, sound in sounds.items()}
        for at in range(ticks):
            for number, caller in enumerate(self.callers):
                hand_over_long(self.engine, caller.row, packets[number][at], self.now_ns, port=caller.port)
            self.now_ns += TICK_NS
            result = self.engine.tick(self.now_ns)
            loose = self.engine.loose()
            for caller in self.callers:
                caller.results.append(result)
                if not self.engine.rows.loose[caller.row]:
                    caller.sent.append(self.engine.packets[caller.row].tobytes())
                caller.sent += [data for row, data in loose if row == caller.row]

    def heard(self, number: int) -> Samples:
        """The last half second that a phone plays."""
        caller = self.callers[number]
        return caller.heard()[-caller.rate_hz // 2 :]


MIXED = ["PCMU", "G722", "OPUS", "PCMA", "L16/16000"]


def test_everyone_hears_everyone_else_at_the_rate_of_their_phone() -> None:
    party = Party(MIXED)
    tones = [500.0, 700.0, 1_100.0, 1_300.0, 1_700.0]
    voices = {
        number: tone(tones[number], caller.rate_hz, 2.0, 3_000) for number, caller in enumerate(party.callers)
    }
    party.talk(voices, 100)
    for listener, caller in enumerate(party.callers):
        heard = party.heard(listener)
        for talker, hz in enumerate(tones):
            loud = level(heard, hz, caller.rate_hz)
            if talker == listener:
                assert loud < 150, f"{MIXED[listener]} hears itself"
            else:
                assert 2_300 < loud < 3_600, f"{MIXED[listener]} hears {MIXED[talker]}"


def test_what_only_wide_phones_can_say_is_heard_on_wide_phones_and_folds_nowhere() -> None:
    party = Party(MIXED)
    party.talk({1: tone(6_000, 16_000, 2.0)}, 100)
    assert level(party.heard(4), 6_000, 16_000) > 4_500
    for narrow in (0, 3):
        heard = party.heard(narrow).astype(int)
        assert np.sqrt(np.mean(np.square(heard))) < 60, "6 kHz is not 2 kHz"


def test_announcements_and_whispers_reach_phones_of_both_kinds() -> None:
    party = Party(MIXED)
    engine, rows = party.engine, party.engine.rows
    steady = ToneStep(ms=1_000, frequencies_hz=[800.0], level_dbm0=-10.0)
    engine.lines.playback.add(engine.lines.of_room(0, "foreground"), Tone([steady], 0, 16_000), frame=320)
    whisperer, confidant = party.callers[0].row, party.callers[1].row
    rows.whisper_to[whisperer] = confidant
    engine.take_part(whisperer)
    party.talk({0: tone(500, 8_000, 2.0)}, 100)
    for number, caller in enumerate(party.callers):
        heard = party.heard(number)
        assert level(heard, 800, caller.rate_hz) == pytest.approx(32_767 * 10 ** (-13.14 / 20), rel=0.15)
        assert (level(heard, 500, caller.rate_hz) > 4_500) == (number == 1)


def test_a_wide_phone_that_leaves_or_joins_changes_nothing_for_the_others() -> None:
    party = Party(["PCMU", "PCMA", "G722"])
    party.talk({0: tone(500, 8_000, 1.0)}, 50)
    party.engine.close(party.callers.pop().row)
    party.talk({0: tone(500, 8_000, 1.0)}, 50)
    joined = CodedCaller(party.engine, KINDS["OPUS"], port=PORT + 40, room=0, ssrc=99)
    party.callers.append(joined)
    party.talk({0: tone(500, 8_000, 2.0)}, 100)
    for number, rate_hz in ((1, 8_000), (2, 16_000)):
        assert 4_500 < level(party.heard(number), 500, rate_hz) < 7_000


def test_a_reply_and_music_are_heard_on_a_wide_phone_at_its_rate() -> None:
    party = Party(["L16/16000"])
    engine, row = party.engine, party.callers[0].row
    assert engine.rate_hz(row) == 16_000
    engine.queue(row, 0, 0, tone(6_000, 16_000, 1.0), last=True)
    engine.lines.playback.add(
        engine.lines.of_leg(row, "background"), Pcm(tone(3_000, 16_000, 2.0)), frame=320
    )
    party.talk({}, 40)
    heard = party.heard(0)
    assert level(heard, 6_000, 16_000) > 5_500
    assert level(heard, 3_000, 16_000) > 5_500
    assert np.sqrt(np.mean(np.square(engine.rows.sent_pcm[row].astype(int)))) == pytest.approx(
        4_243, rel=0.1
    ), "at 8 kHz there is the music only"
    party.talk({}, 80)
    assert not party.heard(0)[-1_600:].any()
    assert not engine.rows.sent_pcm[row].any()


def test_a_reply_goes_on_when_the_phone_changes_its_codec() -> None:
    party = Party(["PCMU"])
    caller, engine = party.callers[0], party.engine
    engine.queue(caller.row, 1, 0, tone(1_000, 8_000, 2.0), last=True)
    party.talk({}, 50)
    caller.sent.clear()
    engine.update(caller.row, _remote(caller), KINDS["L16/16000"])
    caller.speak(KINDS["L16/16000"])
    party.talk({}, 45)
    assert level(party.heard(0), 1_000, 16_000) == pytest.approx(6_000, rel=0.05)
    party.talk({}, 10)
    ends = [event for result in caller.results for event in result.playout if not event.started]
    assert [event.heard.samples for event in ends] == [32_000], "samples of the leg's rate now"
    assert not engine.playing(caller.row)


def _remote(caller: CodedCaller) -> RtpEndpoint:
    return RtpEndpoint(host=HOST, rtp_port=caller.port)


def test_a_hundred_people_hear_the_one_who_talks_and_little_noise() -> None:
    random = np.random.default_rng(5)
    party = Party(["PCMU"] * 100)
    noise = {n: random.normal(0, 60, 8_000).astype(np.int16) for n in range(100)}
    party.talk(noise, 50)
    # Noise of 100 is 20 dB above that of one; eight are let through, which is 9.
    quiet = np.sqrt(np.mean(np.square(party.heard(3).astype(float))))
    assert quiet < 60 * 8**0.5 * 1.4
    party.talk(noise | {7: tone(1_000, 8_000, 1.0)}, 50)
    for listener in (0, 50, 99):
        assert level(party.heard(listener), 1_000, 8_000) > 5_500
    assert level(party.heard(7), 1_000, 8_000) < 100


def test_twelve_people_shouting_at_once_do_not_clip() -> None:
    random = np.random.default_rng(6)
    party = Party(["PCMU"] * 12)
    party.talk(
        {n: np.clip(random.normal(0, 9_000, 8_000), -32_000, 32_000).astype(np.int16) for n in range(12)}, 50
    )
    heard = party.engine.rows.sent_pcm[party.callers[0].row].astype(int)
    assert np.abs(heard).max() <= 32_767
    loudest = party.heard(0).astype(int)
    assert np.mean(np.abs(loudest) >= 32_000) < 0.01, "µ-law's highest step is reached now and then only"
