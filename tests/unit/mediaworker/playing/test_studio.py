"""Playing, mixing and recording by message, on a real exchange and engine: what is sent to the legs, and what is told."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from mediaworker.core.calls.effects import Count, Effect, Failed, Note, Released
from mediaworker.core.calls.exchange import Exchange, Limits
from mediaworker.core.playing.studio import Loaded
from shared.contracts import (
    MediaAnswer,
    MediaClose,
    MediaEnded,
    MediaFormat,
    MediaMix,
    MediaPlay,
    MediaPlayControl,
    MediaPlayed,
    MediaRecord,
    MediaSource,
    MediaUpdate,
    RtpEndpoint,
    ToneStep,
)
from tests.support.exchange_bench import Bench, notes, opening, sent

pytestmark = pytest.mark.unit


@dataclass
class MemoryLibrary:
    """Files in memory: `files` by path, in pieces of 1,000 samples; the others are not there."""

    files: dict[str, np.ndarray[tuple[int], np.dtype[np.int16]]] = field(default_factory=dict)
    whole: bool = False
    open_now: dict[int, np.ndarray[tuple[int], np.dtype[np.int16]]] = field(default_factory=dict)
    opened: list[tuple[str, int, int]] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    done: list[Loaded] = field(default_factory=list)

    def open(self, stream: int, path: str, rate_hz: int, loops: int) -> None:
        self.opened.append((path, rate_hz, loops))
        if path not in self.files:
            self.done.append(Loaded(stream, np.zeros(0, np.int16), problem="not_found"))
        elif self.whole:
            self.done.append(Loaded(stream, self.files[path], last=True, whole=True))
        else:
            self.open_now[stream] = np.tile(self.files[path], loops or 1_000)
            self.more(stream)

    def more(self, stream: int) -> None:
        rest = self.open_now[stream]
        piece, self.open_now[stream] = rest[:1_000], rest[1_000:]
        self.done.append(Loaded(stream, piece, last=not len(self.open_now[stream])))

    def close(self, stream: int) -> None:
        self.closed.append(stream)

    def take(self) -> list[Loaded]:
        done, self.done = self.done, []
        return done


class Stage(Bench):
    """A bench with a library, and short words for what is asked."""

    def __init__(self, capacity: int = 6) -> None:
        super().__init__(capacity)
        self.library = MemoryLibrary()
        limits = Limits(media_id="media.1", max_call_ns=10**15)
        self.exchange = Exchange(self.engine, self.wire, self.tape, limits, self.library)
        self.asked = 0

    def ask(self, kind: type[Any], **fields: Any) -> str:
        """The reason of the answer; "" is a yes."""
        self.asked += 1
        fields = {"msg_id": f"m{self.asked}", "reply_to": "api.1"} | fields
        answers = sent(self.do(kind(**fields)), MediaAnswer, "api.1")
        assert [answer.msg_id for answer in answers] == [fields["msg_id"]]
        assert answers[0].ok == (not answers[0].reason)
        return answers[0].reason

    def play(self, play_id: str = "p", *, value: int = 100, samples: int = 160, **fields: Any) -> str:
        """Constant PCM for call c1, unless other fields are given."""
        source = fields.pop("source", None) or MediaSource(
            kind="pcm", pcm=np.full(samples, value, np.int16).tobytes()
        )
        where = {} if "room_id" in fields else {"call_id": "c1"}
        return self.ask(MediaPlay, **({"play_id": play_id, "source": source} | where | fields))

    def control(self, action: str, **fields: Any) -> str:
        where = {} if "room_id" in fields else {"call_id": "c1"}
        return self.ask(MediaPlayControl, **({"action": action} | where | fields))

    def heard(self, row: int, ticks: int = 1) -> list[int]:
        """What a leg is sent."""
        frames = []
        for _ in range(ticks):
            self.tick()
            frames += self.engine.rows.sent_pcm[row].tolist()
        return frames

    def conference(self, *call_ids: str) -> list[int]:
        """Rows of calls in one room."""
        return [
            self.open(call_id, "conference", port=20_000 + 2 * n, room_id="r")
            for n, call_id in enumerate(call_ids)
        ]

    def told(self, effects: list[Effect] | None = None) -> list[tuple[str, str, int, int]]:
        """What became of it all: (what, play or mark, samples, position)."""
        return [
            (m.what, m.mark or m.play_id, m.samples, m.position_samples)
            for m in sent(self.effects if effects is None else effects, MediaPlayed, "api.1")
        ]


def test_plays_follow_each_other_without_a_gap_and_marks_are_told_where_they_are():
    stage = Stage()
    row = stage.open(kind="echo", options={"mode": "after_silence"})
    stage.play("a", value=100, samples=250)
    stage.control("mark", mark="between")
    stage.play("b", value=-50, samples=100)
    assert stage.heard(row, 3) == [100] * 250 + [-50] * 100 + [0] * 130
    assert stage.told() == [
        ("started", "a", 0, 0),
        ("finished", "a", 250, 250), ("mark", "between", 0, 250),
        ("started", "b", 0, 250), ("finished", "b", 100, 350),
    ]  # fmt: skip
    assert [note["what"] for note in notes(stage.effects, "play")] == [what for what, *_ in stage.told()]


def test_a_pause_keeps_its_place_to_the_sample():
    stage = Stage()
    row = stage.open(kind="echo", options={"mode": "after_silence"})
    stage.play("a", samples=500)
    stage.tick(2)
    stage.control("pause")
    assert stage.heard(row, 3) == [0] * 480
    stage.control("resume")
    assert stage.heard(row, 2) == [100] * 180 + [0] * 140
    assert stage.told() == [
        ("started", "a", 0, 0), ("paused", "a", 320, 320), ("resumed", "a", 320, 320), ("finished", "a", 500, 500),
    ]  # fmt: skip


def test_flushing_tells_how_much_was_heard_of_each():
    stage = Stage()
    row = stage.open(kind="echo", options={"mode": "after_silence"})
    for name in "abc":
        stage.play(name, samples=400)
    stage.tick()
    assert stage.control("flush", play_id="b") == ""
    stage.tick()
    assert stage.control("flush") == ""
    assert stage.heard(row) == [0] * 160
    assert stage.told() == [
        ("started", "a", 0, 0), ("flushed", "b", 0, 160), ("flushed", "a", 320, 320), ("flushed", "c", 0, 320),
    ]  # fmt: skip


def test_skipping_goes_on_with_the_next():
    stage = Stage()
    row = stage.open(kind="echo", options={"mode": "after_silence"})
    stage.play("a", value=1, samples=8_000)
    stage.play("b", value=2, samples=160)
    stage.tick()
    assert stage.control("skip") == ""
    assert stage.heard(row) == [2] * 160
    assert stage.control("skip") == "unknown_play"


def test_a_gain_is_applied_and_loops_are_counted():
    stage = Stage()
    row = stage.open(kind="echo", options={"mode": "after_silence"})
    stage.play(value=1_000, samples=100, loops=3, gain_db=-20.0)
    assert stage.heard(row, 2) == [100] * 300 + [0] * 20
    assert stage.told()[-1] == ("finished", "p", 300, 300)


def test_what_is_played_is_added_to_what_is_heard_anyway():
    stage = Stage()
    row = stage.open(kind="echo", options={"mode": "after_silence"})
    stage.play("voice", value=1_000, samples=160)
    stage.play("music", value=30, samples=800, line="background", duck_db=0.0)
    assert stage.heard(row, 2) == [1_030] * 160 + [30] * 160


def test_the_background_is_ducked_under_the_agent():
    stage = Stage()
    row = stage.open()
    stage.play("music", value=10_000, samples=160, loops=0, line="background", duck_db=40.0)
    assert set(stage.heard(row)) == {10_000}
    stage.reply(0, ms=200)
    under = np.array(stage.heard(row, 10))
    assert np.all(under[5 * 160 :] == 1_000 + 100)
    assert np.abs(np.diff(under[160:])).max() < 30, "ramps, no steps"
    after = stage.heard(row, 60)
    assert set(after[-160:]) == {10_000}


def test_music_that_begins_under_the_agent_is_soft_from_its_first_sample_and_later_music_loud():
    stage = Stage()
    row = stage.open()
    stage.reply(0, ms=200)
    stage.play("music", value=10_000, samples=800, line="background", duck_db=40.0)
    assert set(stage.heard(row, 5)) == {1_000 + 100}
    stage.tick(10)
    stage.play("more", value=10_000, samples=160, line="background")
    assert set(stage.heard(row)) == {10_000}


def test_replies_keep_their_turn_and_what_was_heard_beside_the_music():
    stage = Stage()
    row = stage.open()
    stage.play("music", value=10, samples=160, loops=0, line="background")
    stage.reply(0, ms=100)
    stage.tick(2)
    assert stage.engine.heard(row).samples == 320
    assert stage.engine.flush(row).samples == 320
    assert stage.engine.lines.playback.ready(np.array([stage.engine.lines.of_leg(row, "background")])).all()


# --- files


def test_a_file_is_read_at_the_leg_s_rate_and_asked_for_bit_by_bit():
    stage = Stage()
    row = stage.open(kind="echo", options={"mode": "after_silence"})
    song = np.arange(1, 20_001).astype(np.int16)
    stage.library.files["a/song.wav"] = song
    assert stage.play(source=MediaSource(kind="file", path="a/song.wav")) == ""
    assert stage.library.opened == [("a/song.wav", 8_000, 1)]
    stage.tick()
    heard = [value for value in stage.heard(row, 130) if value]
    assert heard == song.tolist()
    assert stage.told() == [("started", "p", 0, 0), ("finished", "p", 20_000, 20_000)]
    assert len(stage.library.closed) == 1


def test_never_much_more_than_a_second_of_a_file_is_waiting():
    stage = Stage()
    stage.open(kind="echo", options={"mode": "after_silence"})
    stage.library.files["long.wav"] = np.ones(400_000, np.int16)
    stage.play(source=MediaSource(kind="file", path="long.wav"))
    stage.tick(100)
    (rest,) = stage.library.open_now.values()
    assert 100 * 160 < 400_000 - len(rest) < 100 * 160 + 14_000


def test_a_short_file_comes_whole_and_is_looped_here():
    stage = Stage()
    row = stage.open(kind="echo", options={"mode": "after_silence"})
    stage.library.whole = True
    stage.library.files["beep.wav"] = np.full(70, 9, np.int16)
    stage.play(source=MediaSource(kind="file", path="beep.wav"), loops=3)
    stage.tick()
    assert stage.heard(row, 3) == [9] * 210 + [0] * 270


def test_a_file_that_is_not_there_fails_and_the_next_thing_is_played():
    stage = Stage()
    row = stage.open(kind="echo", options={"mode": "after_silence"})
    stage.play("gone", source=MediaSource(kind="file", path="gone.wav"))
    stage.play("next", value=4, samples=160)
    stage.tick()
    assert stage.heard(row) == [4] * 160
    failed = sent(stage.effects, MediaPlayed)[0]
    assert (failed.what, failed.play_id, failed.reason) == ("failed", "gone", "not_found")
    assert [what for what, *_ in stage.told()] == ["failed", "started", "finished"]


def test_without_a_library_no_file_is_there():
    bench = Bench()
    bench.open(kind="echo")
    source = MediaSource(kind="file", path="a.wav")
    bench.do(MediaPlay(msg_id="m", reply_to="api.1", call_id="c1", play_id="p", source=source))
    bench.tick(2)
    assert sent(bench.effects, MediaPlayed)[0].reason == "not_found"


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.wav", "a/../../x.wav", "", "a\\..\\x.wav", "a\0.wav"])
def test_a_path_that_leads_elsewhere_is_refused_at_once(path: str):
    stage = Stage()
    stage.open(kind="echo")
    assert stage.play(source=MediaSource(kind="file", path=path)) == "bad_request"
    assert stage.library.opened == []


@pytest.mark.parametrize(
    "fields",
    [
        {"source": MediaSource(kind="pcm")},
        {"source": MediaSource(kind="pcm", pcm=b"abc")},
        {"source": MediaSource(kind="pcm", pcm=b"ab", rate_hz=44_100)},
        {"source": MediaSource(kind="pcm", pcm=bytes(400_000))},
        {"source": MediaSource(kind="silence")},
        {"source": MediaSource(kind="tone")},
        {"source": MediaSource(kind="tone", steps=[ToneStep(ms=0)])},
        {"source": MediaSource(kind="tone", steps=[ToneStep(ms=10, frequencies_hz=[4_000.0])])},
        {"source": MediaSource(kind="tone", steps=[ToneStep(ms=10, frequencies_hz=[float("nan")])])},
        {"source": MediaSource(kind="tone", steps=[ToneStep(ms=10, frequencies_hz=[440.0] * 9)])},
        {"source": MediaSource(kind="tone", steps=[ToneStep(ms=10, level_dbm0=4.0)])},
        {"source": MediaSource(kind="tone", steps=[ToneStep(ms=10)] * 65)},
        {"loops": -1},
        {"loops": -1, "source": MediaSource(kind="file", path="a.wav")},
        {"source": MediaSource(kind="tone", steps=[ToneStep(ms=9)])},
        {"loops": 2_000_000},
        {"gain_db": 21.0},
        {"gain_db": float("nan")},
        {"duck_db": -1.0},
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(fields: dict[str, Any]):
    stage = Stage()
    row = stage.open(kind="echo")
    assert stage.play(**fields) == "bad_request"
    assert not stage.engine.lines
    assert stage.heard(row) == [0] * 160


def test_a_tone_and_a_silence_are_played_as_long_as_they_are():
    stage = Stage()
    row = stage.open(kind="echo", options={"mode": "after_silence"})
    stage.play("s", source=MediaSource(kind="silence", ms=30))
    stage.play("t", source=MediaSource(kind="tone", steps=[ToneStep(ms=100, frequencies_hz=[1_000.0])]))
    heard = np.array(stage.heard(row, 7))
    assert np.all(heard[:240] == 0)
    assert 3_500 < np.abs(heard[300:1_000]).max() < 3_700, "-16 dBm0"
    assert np.all(heard[240 + 800 :] == 0)
    assert stage.told()[-1] == ("finished", "t", 800, 1_040)


def test_a_queue_is_bounded():
    stage = Stage()
    stage.open(kind="echo")
    reasons = [stage.play(f"p{n}") for n in range(300)]
    assert set(reasons) == {"", "full"}
    assert reasons.index("full") == 256


def test_unknown_calls_rooms_and_plays_are_refused():
    stage = Stage()
    stage.open("c2", kind="echo")
    assert stage.play() == "unknown_call"
    assert stage.play(room_id="nowhere", tenant="acme") == "unknown_room"
    assert stage.play(room_id="room-c2", tenant="acme") == "unknown_room", "an echo is in no room of ours"
    assert stage.control("flush", call_id="c2", play_id="x") == "unknown_play"
    assert stage.ask(MediaMix, call_id="c9", mute=True) == "unknown_call"
    assert stage.ask(MediaRecord, call_id="c9", action="start") == "unknown_call"


def test_a_request_that_comes_twice_is_answered_twice_and_done_once():
    stage = Stage()
    stage.open(kind="echo")
    source = MediaSource(kind="pcm", pcm=bytes(320))
    message = MediaPlay(msg_id="same", reply_to="api.1", call_id="c1", play_id="p", source=source)
    answers = sent(stage.do(message) + stage.do(message), MediaAnswer)
    assert [answer.ok for answer in answers] == [True, True]
    stage.tick(3)
    assert [what for what, *_ in stage.told()] == ["started", "finished"]


def test_the_end_of_a_call_flushes_what_was_playing_and_its_row_starts_afresh():
    stage = Stage()
    row = stage.open(kind="echo", options={"mode": "after_silence"})
    stage.play("a", samples=8_000, loops=0)
    stage.play("b", samples=8_000, line="background")
    stage.control("pause", line="background")
    stage.tick(3)
    stage.do(MediaClose(msg_id="x", reply_to="front.1", call_id="c1", reason="bye"))
    assert stage.open("c2", kind="echo", options={"mode": "after_silence"}, port=20_002) == row
    assert stage.heard(row) == [0] * 160
    assert ("flushed", "a", 480, 480) in stage.told()
    assert ("flushed", "b", 0, 0) in stage.told()
    stage.play("c", value=3, samples=160, call_id="c2", line="background")
    assert stage.heard(row) == [3] * 160
    assert not stage.exchange._studio._plays


def test_what_a_wide_call_s_end_cut_off_is_told_before_its_end_and_in_its_own_samples():
    stage = Stage()
    stage.open(
        kind="echo", options={"mode": "after_silence"}, format=MediaFormat(codec="G722", payload_type=9)
    )
    stage.play("a", samples=8_000)
    stage.tick(3)
    effects = stage.do(closing())
    kinds = [effect.kind for effect in effects if isinstance(effect, Note)]
    assert kinds == ["play", "call.ended"]
    (played,) = sent(effects, MediaPlayed, "api.1")
    assert (played.what, played.samples, played.rate_hz) == ("flushed", 960, 16_000)
    assert Count("voicefarm_play", ("flushed",)) in effects


def failing_studio(stage: Stage) -> None:
    def fail(*_: object, **__: object) -> int:
        raise KeyError("a mistake of ours")

    stage.engine.lines.playback.add = fail  # type: ignore[method-assign]


def test_a_request_that_fails_unforeseen_ends_its_own_call_only():
    stage = Stage()
    stage.open("c1", kind="echo")
    stage.open("c2", kind="echo", port=20_002)
    failing_studio(stage)
    assert stage.play() == "error"
    assert [message.reason for message in sent(stage.effects, MediaEnded)] == ["error"]
    assert [effect.call_id for effect in stage.effects if isinstance(effect, Failed)] == ["c1"]
    assert stage.exchange.call("c1") is None
    assert stage.exchange.call("c2") is not None


def test_a_request_about_a_room_that_fails_unforeseen_ends_nobody():
    stage = Stage()
    stage.conference("a", "b")
    failing_studio(stage)
    assert stage.play(room_id="r", tenant="acme") == "error"
    assert len(stage.exchange) == 2


def test_a_leg_that_is_held_hears_what_is_played_when_it_is_back():
    stage = Stage()
    row = stage.open(kind="echo", options={"mode": "after_silence"})
    stage.play("a", samples=160)
    remote = RtpEndpoint(host="127.0.0.1", rtp_port=40_000)
    held = MediaFormat(codec="PCMU", payload_type=0, direction="recvonly")
    back = MediaFormat(codec="PCMU", payload_type=0)
    stage.do(MediaUpdate(msg_id="h", reply_to="front.1", call_id="c1", remote=remote, format=held))
    assert stage.heard(row, 3) == [0] * 480
    stage.do(MediaUpdate(msg_id="b", reply_to="front.1", call_id="c1", remote=remote, format=back))
    assert stage.heard(row) == [100] * 160


# --- rooms


def test_an_announcement_is_heard_by_all_and_what_is_played_to_one_by_one():
    stage = Stage()
    rows = stage.conference("a", "b", "c")
    stage.play("all", value=500, samples=8_000, room_id="r", tenant="acme")
    stage.play("one", value=20, samples=8_000, call_id="b", room_id="")
    stage.tick(3)
    assert stage.engine.rows.sent_pcm[rows].max(axis=1).tolist() == [500, 520, 500]
    rate = {m.rate_hz for m in sent(stage.effects, MediaPlayed) if m.play_id == "all"}
    assert rate == {16_000}


def speak(stage: Stage, values: dict[int, int]) -> None:
    """The engine hears packets; here what was decoded is set, as the mix finds it."""
    rows = stage.engine.rows
    original = stage.engine._sound.play

    def play(phase: int, span: slice, now_ns: int) -> Any:
        found = original(phase, span, now_ns)
        for row, value in values.items():
            rows.caller_pcm[row] = value
        return found

    stage.engine._sound.play = play  # type: ignore[method-assign]


def test_muted_deaf_and_gain_do_what_they_say():
    stage = Stage()
    a, b, c = stage.conference("a", "b", "c")
    speak(stage, {a: 100, b: 200, c: 400})
    stage.tick()
    heard = lambda: (stage.tick(2), stage.engine.rows.sent_pcm[[a, b, c], -1].tolist())[1]  # noqa: E731
    assert heard() == [600, 500, 300]
    assert stage.ask(MediaMix, call_id="a", mute=True) == ""
    assert heard() == [600, 400, 200]
    assert stage.ask(MediaMix, call_id="a", mute=False, gain_db=6.0206) == ""
    assert heard() == [600, 600, 400]
    assert stage.ask(MediaMix, call_id="c", deaf=True) == ""
    assert heard() == [600, 600, 0]
    assert stage.ask(MediaMix, call_id="c", deaf=False, whisper_to="b") == ""
    assert heard() == [200, 600, 400]
    assert stage.ask(MediaMix, call_id="c", whisper_to="") == ""
    assert heard() == [600, 600, 400]
    assert notes(stage.effects, "mix")[1] == {"gain_db": 6.0206, "mute": False}


@pytest.mark.parametrize(
    "fields", [{"gain_db": 30.0}, {"whisper_to": "a"}, {"whisper_to": "x"}, {"whisper_to": "e"}]
)
def test_a_mix_that_cannot_be_is_refused(fields: dict[str, Any]):
    stage = Stage()
    stage.conference("a", "b")
    stage.open("e", "echo", port=20_010)
    assert stage.ask(MediaMix, call_id="a", **fields) in {"bad_request", "unknown_call"}
    assert notes(stage.effects, "mix") == []


def test_who_becomes_deaf_or_hears_again_does_so_within_a_frame_without_a_step():
    stage = Stage()
    a, b = stage.conference("a", "b")
    speak(stage, {a: 8_000, b: 0})
    assert stage.heard(b, 2)[-1] == 8_000
    stage.ask(MediaMix, call_id="b", deaf=True)
    wave = stage.heard(b, 3)
    assert wave[159:] == [0] * (320 + 1)
    stage.ask(MediaMix, call_id="b", deaf=False)
    back = stage.heard(b, 3)
    assert back[159:] == [8_000] * (320 + 1)
    assert np.abs(np.diff([8_000, *wave, *back])).max() <= 50


def test_what_a_voice_was_before_it_was_wide_is_not_heard_when_it_is_narrow_again():
    stage = Stage()
    narrow, wide = MediaFormat(codec="PCMU", payload_type=0), MediaFormat(codec="G722", payload_type=9)
    a = stage.open("a", "conference", port=20_000, room_id="r", format=wide)
    b = stage.open("b", "conference", port=20_002, room_id="r", format=narrow)
    speak(stage, {b: 8_000})
    stage.tick(2)
    remote = RtpEndpoint(host="127.0.0.1", rtp_port=40_000)
    stage.engine.update(b, remote, wide)
    stage.tick(2)
    stage.engine.update(b, remote, narrow)
    speak(stage, {b: 0})
    stage.tick()
    assert not np.any(stage.engine.rows.sent_wide[a])


def test_a_mix_is_carried_out_whole_or_not_at_all():
    stage = Stage()
    a, b = stage.conference("a", "b")
    speak(stage, {a: 100, b: 200})
    assert stage.ask(MediaMix, call_id="a", gain_db=20.0, whisper_to="nobody") == "unknown_call"
    stage.open("c", "conference", port=20_010, room_id="r")
    assert stage.heard(b, 2)[-1] == 100


def test_nobody_overhears_a_whisper_whose_confidant_left():
    stage = Stage()
    a, b, c = stage.conference("a", "b", "c")
    speak(stage, {a: 100})
    stage.ask(MediaMix, call_id="a", whisper_to="b")
    stage.do(MediaClose(msg_id="x", reply_to="front.1", call_id="b", reason="bye"))
    late = stage.open("d", "conference", port=20_020, room_id="r")
    assert late == b
    stage.tick(2)
    assert stage.engine.rows.sent_pcm[[late, c], 0].tolist() == [0, 0]


def test_a_room_that_empties_takes_its_announcement_along():
    stage = Stage()
    stage.conference("a")
    stage.play("all", value=500, samples=8_000, loops=0, room_id="r", tenant="acme")
    stage.tick(2)
    stage.do(MediaClose(msg_id="x", reply_to="front.1", call_id="a", reason="bye"))
    (row,) = stage.conference("b")
    assert stage.heard(row) == [0] * 160
    assert stage.told()[-1][:2] == ("flushed", "all")


# --- recordings


def test_a_recording_begins_pauses_goes_on_and_ends_by_message():
    stage = Stage()
    row = stage.open(kind="echo")
    ask = lambda action: stage.ask(MediaRecord, call_id="c1", action=action)  # noqa: E731
    assert [ask("pause"), ask("resume"), ask("stop")] == ["no_recording"] * 3
    assert ask("start") == ""
    assert stage.engine.tick(stage.now_ns).record_rows.tolist() == [row]
    assert stage.tape.begun == {row: "c1"}
    assert ask("pause") == ""
    assert stage.tape.paused == {row}
    assert ask("pause") == ""
    assert ask("resume") == ""
    assert stage.tape.paused == set()
    assert ask("start") == ""
    assert ask("stop") == ""
    assert stage.tape.finished == ["c1"]
    assert stage.engine.tick(stage.now_ns).record_rows.tolist() == []
    assert ask("start") == "recorded"
    assert ask("resume") == ""
    assert stage.tape.begun == {}
    kinds = ["recording.started", "recording.paused", "recording.resumed", "recording.stopped"]
    assert [len(notes(stage.effects, kind)) for kind in kinds] == [1, 1, 1, 1]
    released = [e for e in stage.do(closing()) if isinstance(e, Released)]
    assert released[0].recorded
    assert stage.tape.finished == ["c1"]


def test_a_start_does_not_undo_a_pause():
    """Who only wants to be sure that the call is recorded knows nothing of the card number."""
    stage = Stage()
    row = stage.open(kind="echo")
    for action in ("start", "pause", "start"):
        assert stage.ask(MediaRecord, call_id="c1", action=action) == ""
    assert stage.tape.paused == {row}


def closing() -> MediaClose:
    return MediaClose(msg_id="bye", reply_to="front.1", call_id="c1", reason="bye")


@pytest.mark.parametrize("record", [True, False])
def test_a_call_says_at_its_end_whether_it_was_recorded(*, record: bool):
    stage = Stage()
    stage.do(opening("c1", "echo", record=record))
    released = [effect for effect in stage.do(closing()) if isinstance(effect, Released)]
    assert released[0].recorded is record
    assert stage.tape.finished == ["c1"] * record


# --- music while one holds


def held(stage: Stage, call_id: str, *, on: bool) -> None:
    stage.asked += 1
    direction = "recvonly" if on else "sendrecv"
    stage.do(MediaUpdate(
        msg_id=f"u{stage.asked}", reply_to="front.1", call_id=call_id,
        remote=RtpEndpoint(host="127.0.0.1", rtp_port=40_000),
        format=MediaFormat(codec="PCMU", payload_type=0, direction=direction),
    ))  # fmt: skip


def duet(*call_ids: str, music: object = "music.wav") -> tuple[Stage, list[int]]:
    stage = Stage()
    stage.library.whole = True
    stage.library.files["music.wav"] = np.full(70, 9, np.int16)
    rows = [
        stage.open(call_id, "conference", port=20_000 + 2 * n, room_id="r", options={"hold_music": music})
        for n, call_id in enumerate(call_ids)
    ]
    return stage, rows


def test_the_other_of_two_hears_music_while_one_holds_where_that_was_asked_for():
    stage, (a, b) = duet("a", "b")
    held(stage, "a", on=True)
    held(stage, "a", on=True)
    stage.tick()
    assert set(stage.heard(b, 3)) == {9}
    assert not stage.engine.rows.sent_pcm[a].any(), "who holds us is sent nothing"
    held(stage, "a", on=False)
    assert stage.heard(b, 2) == [0] * 320
    assert stage.told() == []


@pytest.mark.parametrize(
    ("calls", "music"),
    [(("a", "b", "c"), "music.wav"), (("a",), "music.wav"), (("a", "b"), None), (("a", "b"), "../x")],
)
def test_nobody_hears_music_who_should_not(calls: tuple[str, ...], music: object):
    stage, rows = duet(*calls, music=music)
    held(stage, "a", on=True)
    stage.tick(2)
    assert not stage.engine.rows.sent_pcm[rows].any()
    held(stage, "a", on=False)


@pytest.mark.parametrize("who", ["a", "b"])
def test_music_ends_with_either_call(who: str):
    stage, (_, b) = duet("a", "b")
    held(stage, "a", on=True)
    stage.tick(3)
    stage.do(MediaClose(msg_id="x", reply_to="front.1", call_id=who, reason="bye"))
    stage.tick(2)
    if who == "a":
        assert stage.heard(b) == [0] * 160
    assert not stage.engine.lines
    assert not stage.exchange._studio._plays
    stage.do(MediaClose(msg_id="y", reply_to="front.1", call_id="a", reason="bye"))
    assert not stage.exchange._studio._holding
