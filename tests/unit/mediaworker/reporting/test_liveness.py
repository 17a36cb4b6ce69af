import numpy as np
import pytest

from mediaworker.core.legs import QualityEvent
from mediaworker.core.reporting.liveness import (
    AUDIBLE,
    HOLD_TIMEOUT_NS,
    MUTE_START_NS,
    MUTE_TIMEOUT_NS,
    SILENT_PAUSE_NS,
    Watch,
)
from mediaworker.core.rows import Rows
from shared.units import NS_PER_S as S

pytestmark = pytest.mark.unit

SPAN = slice(0, 1)


class Leg:
    """One started row that sends and receives, with a packet at 0 s unless `heard` is off."""

    def __init__(self, *, heard: bool = True, rtcp_proves_life: bool = True, **columns: object) -> None:
        self.rows = Rows(1, 1)
        self.rows.take(0)
        rows = self.rows
        rows.started[0] = rows.sends[0] = rows.receives[0] = True
        rows.watched_ns[0] = 0
        if heard:
            rows.received[0], rows.arrived_ns[0], rows.audible[0] = 1, 0, True
        for name, value in columns.items():
            getattr(rows, name)[0] = value
        self.watch = Watch(rows, timeout_s=30, never_s=20, one_way_s=5, rtcp_proves_life=rtcp_proves_life)

    def lost_at(self, now_ns: int) -> list[str]:
        return [gone.reason for gone in self.watch.lost(SPAN, now_ns)]

    def events(self, now_ns: int) -> list[tuple[str, str, object]]:
        return [
            (event.direction, event.state, event.data["cause"]) for event in self.watch.one_way(SPAN, now_ns)
        ]


def test_packets_that_stopped_end_a_leg_once():
    leg = Leg()
    assert leg.lost_at(30 * S) == []
    assert leg.lost_at(30 * S + 1) == ["rtp_timeout"]
    assert leg.lost_at(40 * S) == []


def test_packets_that_never_came_end_it_sooner():
    leg = Leg(heard=False)
    assert (leg.lost_at(20 * S), leg.lost_at(20 * S + 1)) == ([], ["rtp_never"])


def test_a_leg_not_started_is_not_watched():
    assert Leg(started=False).lost_at(1_000 * S) == []


@pytest.mark.parametrize(("column", "limit_ns"), [("sends", HOLD_TIMEOUT_NS), ("receives", MUTE_TIMEOUT_NS)])
def test_hold_is_long(column: str, limit_ns: int):
    leg = Leg(**{column: False})
    assert (leg.lost_at(limit_ns), leg.lost_at(limit_ns + 1)) == ([], ["rtp_timeout"])


def test_reports_of_a_leg_that_once_sent_prove_that_it_lives():
    leg = Leg(rtcp_arrived_ns=25 * S)
    assert (leg.lost_at(55 * S), leg.lost_at(55 * S + 1)) == ([], ["rtp_timeout"])
    assert Leg(rtcp_arrived_ns=25 * S, rtcp_proves_life=False).lost_at(31 * S) == ["rtp_timeout"]


def test_reports_alone_do_not_keep_a_leg_for_ever():
    leg = Leg(rtcp_arrived_ns=HOLD_TIMEOUT_NS)
    assert (leg.lost_at(HOLD_TIMEOUT_NS), leg.lost_at(HOLD_TIMEOUT_NS + 1)) == ([], ["rtp_timeout"])


def test_reports_of_a_leg_that_never_sent_prove_nothing():
    assert Leg(heard=False, rtcp_arrived_ns=19 * S).lost_at(21 * S) == ["rtp_never"]


def test_a_sender_of_comfort_noise_may_pause_longer():
    leg = Leg(silent_sender=True)
    assert (leg.lost_at(SILENT_PAUSE_NS), leg.lost_at(SILENT_PAUSE_NS + 1)) == ([], ["rtp_timeout"])


# --- one way


def test_a_caller_whose_packets_stop_is_told_once_and_again_when_they_come():
    leg = Leg()
    assert leg.events(5 * S) == []
    assert leg.events(5 * S + 1) == [("in", "begun", "no_packets")]
    assert leg.events(6 * S) == []
    leg.rows.arrived_ns[0] = 6 * S
    assert leg.events(7 * S) == [("in", "ended", "no_packets")]
    assert leg.watch.begun == {("in", "no_packets"): 1}


def test_a_caller_who_never_sent_is_told():
    assert Leg(heard=False).events(5 * S + 1) == [("in", "begun", "no_packets")]


def test_a_silent_sender_is_given_time():
    leg = Leg(silent_sender=True)
    assert (leg.events(SILENT_PAUSE_NS), leg.events(SILENT_PAUSE_NS + 1)) == (
        [],
        [("in", "begun", "no_packets")],
    )


@pytest.mark.parametrize("column", ["sends", "receives", "started"])
def test_a_leg_on_hold_is_silent_by_agreement(column: str):
    assert Leg(**{column: False}).events(60 * S) == []


def test_packets_without_any_sound_since_the_start_are_one_way():
    leg = Leg(audible=False)
    leg.rows.arrived_ns[0] = MUTE_START_NS
    leg.rows.caller_pcm[0, 7] = -AUDIBLE
    assert leg.events(MUTE_START_NS) == []
    assert leg.events(MUTE_START_NS + 1) == [("in", "begun", "silence")]
    leg.rows.caller_pcm[0, 7] = -32_768
    assert leg.events(MUTE_START_NS + 2) == [("in", "ended", "silence")]
    leg.rows.caller_pcm[0] = 0
    assert leg.events(MUTE_START_NS + 3) == []


def test_a_peer_whose_reports_say_that_nothing_arrives_is_one_way():
    leg = Leg(deaf_reports=1)
    assert leg.events(S) == []
    leg.rows.deaf_reports[0] = 2
    assert leg.events(S) == [("out", "begun", "not_received")]
    leg.rows.deaf_reports[0] = 0
    assert leg.events(S) == [("out", "ended", "not_received")]


def test_both_directions_may_fail_at_once():
    leg = Leg(deaf_reports=2)
    assert leg.events(6 * S) == [("in", "begun", "no_packets"), ("out", "begun", "not_received")]


def test_silence_that_becomes_absence_is_the_same_failure():
    leg = Leg(audible=False)
    leg.rows.arrived_ns[0] = MUTE_START_NS
    leg.events(MUTE_START_NS + 1)
    assert leg.events(MUTE_START_NS + 6 * S) == []


def plain_one_way(rows: Rows, row: int, now_ns: int) -> int:
    """The flags of one leg as sentences."""
    if not rows.started[row] or not rows.sends[row]:
        return 0
    flags = 4 if rows.deaf_reports[row] >= 2 else 0
    if rows.receives[row]:
        patience = SILENT_PAUSE_NS if rows.silent_sender[row] else 5 * S
        if now_ns - max(rows.arrived_ns[row], rows.watched_ns[row]) > patience:
            flags |= 1
        elif not rows.audible[row] and now_ns - rows.watched_ns[row] > MUTE_START_NS:
            flags |= 2
    return flags


def test_many_legs_are_judged_as_one_by_one():
    random = np.random.default_rng(5)
    rows = Rows(400, 1)
    for row in range(400):
        rows.take(0)
        for name in ("started", "sends", "receives", "silent_sender", "audible"):
            getattr(rows, name)[row] = random.random() < 0.7
        rows.arrived_ns[row], rows.watched_ns[row] = random.integers(0, 120, 2) * S
        rows.deaf_reports[row] = random.integers(0, 4)
    watch = Watch(rows, timeout_s=30, never_s=20)
    for now_ns in (60 * S, 100 * S, 130 * S):
        before = rows.one_way[:400].copy()
        events = watch.one_way(slice(0, 400), now_ns)
        wanted = [plain_one_way(rows, row, now_ns) for row in range(400)]
        assert rows.one_way[:400].tolist() == wanted
        changes = sum(
            (bool(a & 3) != bool(b & 3)) + (bool(a & 4) != bool(b & 4))
            for a, b in zip(before, wanted, strict=True)
        )
        assert len(events) == changes
        assert all(isinstance(event, QualityEvent) for event in events)
