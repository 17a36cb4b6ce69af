"""Opening and ending calls: every answer once, everything given back once (I1)."""

import gc
import itertools
import tracemalloc

import pytest

from mediaworker.core.calls import exchange
from mediaworker.core.calls.effects import Count, Drain, EndAll, Failed, PortFreed, Released
from mediaworker.core.calls.exchange import ACK_LIMIT_NS, ANSWERS_KEPT
from mediaworker.core.legs import LegLost, Speech
from shared.contracts import (
    MediaAnswer,
    MediaClose,
    MediaEnded,
    MediaFormat,
    MediaStart,
    MediaUpdate,
    PcmToMedia,
    ReplyFrame,
    RtpEndpoint,
    SttDetach,
)
from tests.support.exchange_bench import Bench, frames, notes, opening, sent

pytestmark = pytest.mark.unit

PCMU = MediaFormat(codec="PCMU", payload_type=0)


def close(call_id: str = "c1", msg_id: str = "close") -> MediaClose:
    return MediaClose(msg_id=msg_id, reply_to="front.1", call_id=call_id, reason="bye")


def update(host: str, msg_id: str = "u") -> MediaUpdate:
    remote = RtpEndpoint(host=host, rtp_port=41_000)
    return MediaUpdate(msg_id=msg_id, reply_to="front.1", call_id="c1", remote=remote, format=PCMU)


def answer(effects: list[object]) -> tuple[bool, str]:
    (found,) = sent(effects, MediaAnswer, "front.1")
    return found.ok, found.reason


def test_an_opened_call_is_answered_after_its_ports_are_bound() -> None:
    bench = Bench()
    assert answer(bench.do(opening())) == (True, "")
    assert list(bench.wire.bound.values()) == [20_000]


def test_a_repeated_request_is_answered_again_without_acting_again() -> None:
    bench = Bench()
    bench.do(opening())
    assert answer(bench.do(opening())) == (True, "")
    assert answer(bench.do(opening(msg_id="another"))) == (True, "")
    assert len(bench.exchange) == len(bench.wire.bound) == 1
    bench.do(close())
    assert answer(bench.do(close())) == (True, "")
    assert answer(bench.do(opening())) == (True, ""), "as it was answered then"
    assert len(bench.exchange) == 0


def test_a_repeated_close_with_the_same_name_does_not_end_the_next_call() -> None:
    bench = Bench()
    start = MediaStart(msg_id="s", reply_to="front.1", call_id="c1")
    bench.do(opening())
    bench.do(start)
    assert answer(bench.do(start)) == (True, "")
    assert len(notes(bench.effects, "call.answered")) == 1
    bench.do(MediaStart(msg_id="s2", reply_to="front.1", call_id="c1"))
    assert len(notes(bench.effects, "call.answered")) == 1


def test_a_port_of_a_stranger_is_refused_and_put_away() -> None:
    bench = Bench()
    bench.wire.strangers.add(20_000)
    effects = bench.do(opening())
    assert answer(effects) == (False, "port_busy")
    assert PortFreed("c1", 20_000, busy=True) in effects
    assert bench.engine.snapshot().totals["legs"] == 0
    bench.wire.strangers.clear()
    assert answer(bench.do(opening(msg_id="again"))) == (True, "")


def test_a_full_worker_refuses() -> None:
    bench = Bench(capacity=1)
    bench.open("c1")
    effects = bench.do(opening("c2", port=20_002))
    assert answer(effects) == (False, "full")
    assert PortFreed("c2", 20_002, busy=False) in effects


@pytest.mark.parametrize(
    "bad",
    [
        {"remote": RtpEndpoint(host="not an address", rtp_port=1)},
        {"remote": RtpEndpoint(host="192.0.2.1", rtp_port=4_000, rtcp_port=70_000)},
        {"media_cidrs": ["1.2.3.4/99"]},
    ],
)
def test_a_leg_that_cannot_be_is_refused(bad: dict[str, object]) -> None:
    bench = Bench()
    assert answer(bench.do(opening(**bad))) == (False, "bad_request")
    assert len(bench.exchange) == 0
    assert bench.engine.snapshot().totals["legs"] == 0


def test_unknown_calls_are_answered() -> None:
    bench = Bench()
    assert answer(bench.do(MediaStart(msg_id="s", reply_to="front.1", call_id="x"))) == (
        False,
        "unknown_call",
    )
    assert answer(bench.do(update("127.0.0.1"))) == (False, "unknown_call")
    assert answer(bench.do(close("x"))) == (True, ""), "a leg that is gone is closed"


def test_an_update_moves_the_leg_and_a_bad_one_is_refused() -> None:
    bench = Bench()
    bench.open()
    assert answer(bench.do(update("127.0.0.9", "u1"))) == (True, "")
    assert answer(bench.do(update("nowhere", "u2"))) == (False, "bad_request")
    assert len(bench.exchange) == 1


def test_closing_gives_everything_back_once() -> None:
    bench = Bench()
    row = bench.open(record=True)
    assert bench.tape.begun == {row: "c1"}
    effects = bench.do(close())
    assert [e for e in effects if isinstance(e, Released)] == [Released(row, "c1", 20_000, recorded=True)]
    assert bench.wire.bound == {}
    assert bench.tape.finished == ["c1"]
    assert bench.engine.snapshot().totals["legs"] == 0
    again = bench.do(close(msg_id="again"))
    assert [type(e) for e in again] == [type(sent(again, MediaAnswer) and again[0])]
    assert sent(bench.effects, MediaEnded) == [], "the front knows, it asked"


@pytest.mark.parametrize("reason", ["rtp_timeout", "rtp_never"])
def test_a_lost_leg_ends_its_call_and_tells_the_front(reason: str) -> None:
    bench = Bench()
    row = bench.open()
    effects = bench.found(lost=[LegLost(row, reason)])  # type: ignore[arg-type]
    (ended,) = sent(effects, MediaEnded, "front.1")
    assert (ended.call_id, ended.reason) == ("c1", reason)
    assert [e for e in effects if isinstance(e, Released)] == [Released(row, "c1", 20_000, recorded=False)]
    assert notes(effects, "call.ended")[0]["reason"] == reason
    assert sent(effects, SttDetach) != []


def test_events_of_a_row_without_a_call_are_passed_over() -> None:
    bench = Bench()
    assert bench.found(lost=[LegLost(3, "rtp_never")]) == []


def test_a_call_that_is_too_old_is_ended() -> None:
    bench = Bench(max_call_s=100)
    bench.open()
    bench.now_ns += 100 * 10**9
    bench.exchange.each_second(bench.now_ns)
    assert len(bench.exchange) == 1
    bench.exchange.each_second(bench.now_ns + 1)
    (ended,) = sent(bench.exchange.take(), MediaEnded)
    assert ended.reason == "max_duration"


def test_a_call_that_nobody_acknowledged_is_ended() -> None:
    bench = Bench()
    bench.open("waits", start=False)
    bench.open("runs", port=20_002)
    bench.exchange.each_second(bench.now_ns + ACK_LIMIT_NS + 1)
    (ended,) = sent(bench.exchange.take(), MediaEnded)
    assert (ended.call_id, ended.reason) == ("waits", "no_ack")


def test_a_draining_worker_takes_callers_only_into_rooms_that_live_on_it() -> None:
    bench = Bench()
    bench.open("c1", "conference", room_id="r")
    bench.do(Drain())
    assert answer(bench.do(opening("c2", "conference", port=20_002, room_id="r"))) == (True, "")
    assert answer(bench.do(opening("c3", "conference", port=20_004, room_id="other"))) == (False, "draining")
    assert answer(bench.do(opening("c4", "echo", port=20_006, room_id="r", tenant="else"))) == (
        False,
        "draining",
    )


def test_participants_of_a_room_share_it_and_others_do_not() -> None:
    bench = Bench()
    rooms = bench.engine.rows.room
    a = bench.open("a", "conference", room_id="r")
    b = bench.open("b", "conference", port=20_002, room_id="r")
    c = bench.open("c", "conference", port=20_004, room_id="r", tenant="other")
    d = bench.open("d", "echo", port=20_006, room_id="r")
    assert rooms[a] == rooms[b] >= 0
    assert rooms[c] not in {rooms[a], -1}
    assert rooms[d] == -1
    assert bench.engine.rows.echo[d]


def test_ending_all_ends_all() -> None:
    bench = Bench()
    for number in range(3):
        bench.open(f"c{number}", port=20_000 + 2 * number)
    effects = bench.do(EndAll("drain"))
    assert {ended.reason for ended in sent(effects, MediaEnded)} == {"drain"}
    assert len(bench.exchange) == 0
    assert bench.wire.bound == {}
    assert answer(bench.do(opening("late", port=20_010))) == (False, "draining")


def test_audio_for_nobody_and_at_another_rate_is_counted() -> None:
    bench = Bench()
    assert bench.reply(0, call_id="gone") == [Count("voicefarm_bus_dropped", ("late",))]
    bench.open()
    assert bench.do(PcmToMedia(rate_hz=24_000, frames=[])) == [Count("voicefarm_bus_dropped", ("refused",))]


def test_a_message_for_another_role_is_counted() -> None:
    bench = Bench()
    assert bench.do(SttDetach(call_id="c")) == [Count("voicefarm_bus_dropped", ("unknown",))]


def test_answers_are_remembered_within_a_bound() -> None:
    bench = Bench()
    for number in range(ANSWERS_KEPT + 5):
        bench.do(close("x", f"m{number}"))
    assert len(bench.exchange._answers) == ANSWERS_KEPT


# --- the border of a call (I9)


def broken_audio(call_id: str) -> PcmToMedia:
    """A frame that no code of ours foresees: its audio is no bytes."""
    return PcmToMedia(rate_hz=8_000, frames=[ReplyFrame(call_id, 0, 0, 0, None, last=True)])  # type: ignore[arg-type]


def test_what_goes_wrong_in_a_call_ends_it_and_no_neighbour() -> None:
    bench = Bench()
    row = bench.open("c1", record=True)
    bench.open("c2", port=20_002)
    effects = bench.do(broken_audio("c1"))
    (failed,) = [effect for effect in effects if isinstance(effect, Failed)]
    assert failed.call_id == "c1"
    assert isinstance(failed.error, TypeError)
    (ended,) = sent(effects, MediaEnded, "front.1")
    assert (ended.call_id, ended.reason) == ("c1", "error")
    assert [e for e in effects if isinstance(e, Released)] == [Released(row, "c1", 20_000, recorded=True)]
    assert list(bench.wire.bound.values()) == [20_002]
    assert bench.tape.finished == ["c1"]
    assert bench.exchange.call("c2") is not None
    assert bench.reply(0, call_id="c2") == [], "the neighbour is played"


def test_what_goes_wrong_with_a_frame_of_speech_ends_its_call_and_no_neighbour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    rows = [bench.open(f"c{n}", kind="transcribe", port=20_000 + 2 * n) for n in range(3)]
    for row in rows:
        bench.speech(row, Speech.ONSET)
    bench.tick(2, inside=tuple(rows))
    broken = bench.exchange.call("c1")
    assert broken is not None
    monkeypatch.setattr(broken._utterance, "_pcm", None)
    effects = bench.tick(1, inside=tuple(rows))
    assert [effect.call_id for effect in effects if isinstance(effect, Failed)] == ["c1"]
    (ended,) = sent(effects, MediaEnded, "front.1")
    assert (ended.call_id, ended.reason) == ("c1", "error")
    assert [frame.call_id for frame in frames(effects)] == ["c0", "c2"]


def test_frames_of_a_caller_follow_whatever_happens_to_the_call_between_them() -> None:
    bench = Bench()
    row = bench.open(kind="transcribe")
    bench.speech(row, Speech.ONSET)
    first = frames(bench.tick(3, inside=(row,)))
    bench.speech(row, Speech.PAUSE)
    bench.speech(row, Speech.END)
    assert not frames(bench.tick(2, inside=(row,)))
    bench.speech(row, Speech.ONSET)
    second = frames(bench.tick(2, inside=(row,)))
    assert {frame.turn for frame in second} == {first[0].turn + 1}
    begin = second[0].offset
    assert [frame.offset - begin for frame in second] == [0, 160]


def test_a_call_that_breaks_again_while_it_ends_is_gone_all_the_same() -> None:
    bench = Bench()
    bench.open("c1")
    call = bench.exchange.call("c1")
    assert call is not None
    call.started_ns = None  # type: ignore[assignment]  # closing subtracts it
    effects = bench.do(close("c1"))
    assert [effect.call_id for effect in effects if isinstance(effect, Failed)] == ["c1"]
    assert len(bench.exchange) == 0
    assert bench.wire.bound == {}
    assert bench.tick(2) == []


# --- calls by the thousand


def live_through(bench: Bench, number: int) -> None:
    """One call of everything: heard, answered, interrupted by its end."""
    call_id = f"many-{number}"
    row = bench.open(call_id, port=20_000 + 2 * (number % 100), record=True)
    bench.speech(row, Speech.ONSET, inside=True)
    bench.speech(row, Speech.END)
    bench.reply(1, ms=40, last=False, call_id=call_id)
    bench.tick()
    bench.do(close(call_id, f"close-{number}"))
    bench.engine.rtcp_out(0)
    bench.tape.finished.clear()
    bench.effects.clear()


def held_after(bench: Bench, numbers: range) -> int:
    """Octets in use when these calls are over."""
    for number in numbers:
        live_through(bench, number)
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_calls_that_are_over_leave_nothing_in_memory_but_their_last_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exchange, "ANSWERS_KEPT", 300)  # the full number takes long to fill
    bench = Bench()
    tracemalloc.start()
    try:
        for number in range(150):
            live_through(bench, number)
        rounds = [held_after(bench, range(first, first + 300)) for first in range(10_000, 11_200, 300)]
    finally:
        tracemalloc.stop()
    grown = [after - before for before, after in itertools.pairwise(rounds)]
    # Other threads of this process may take memory in one of them; a call that leaves something does so in each.
    assert min(grown) < 300 * 48, "less than the smallest object per call"
