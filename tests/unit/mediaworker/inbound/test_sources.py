"""Who may send to a leg, by policy."""

import numpy as np
import pytest

from mediaworker.core.address import address_key, network
from mediaworker.core.engine import Engine
from mediaworker.core.inbound.sources import LATCH_NS, SSRC_SILENCE_NS, Sources
from mediaworker.core.reporting import rtcp
from mediaworker.core.rows import Rows
from tests.support.engine_caller import MS, PORT, Caller, hand_over, leg_setup, rtp, tone

pytestmark = pytest.mark.unit

HERE = address_key("10.0.0.1", 4_000)
INSIDE = address_key("10.9.4.4", 99)


def opened(*, latch: bool = False, opened_ns: int = 0) -> tuple[Rows, Sources]:
    rows = Rows(1, 1)
    rows.take(0)
    rows.negotiated[0] = HERE
    rows.opened_ns[0] = opened_ns
    sources = Sources(rows, latch=latch)
    sources.open(0, (network("10.9.0.0/16"),))
    return rows, sources


def test_the_negotiated_address_and_the_media_networks_are_allowed():
    _, sources = opened()
    assert sources.allowed(0, HERE)
    assert sources.allowed(0, INSIDE)
    assert not sources.allowed(0, address_key("10.0.0.1", 4_001))
    assert not sources.allowed(0, address_key("10.10.0.1", 4_000))
    sources.close(0)
    sources.close(0)
    assert not sources.allowed(0, INSIDE)


def test_a_pinned_source_excludes_all_others():
    rows, sources = opened()
    assert sources.may_come(0, INSIDE, 0)
    rows.source[0] = HERE
    assert sources.may_come(0, HERE, 0)
    assert not sources.may_come(0, INSIDE, 0)


def test_what_arrived_before_the_leg_was_opened_is_not_its():
    _, sources = opened(opened_ns=500)
    assert not sources.may_come(0, HERE, 499)
    assert sources.may_come(0, HERE, 500)


def test_packets_of_a_batch_are_judged_one_by_one():
    rows, sources = opened()
    at, arrivals = np.array([0, 0, 0]), np.array([1, 1, -1])
    senders = np.array([HERE, address_key("10.0.0.2", 4_000), INSIDE], np.uint64)
    assert sources.known(at, senders, arrivals).tolist() == [True, False, False]
    rows.source[0] = INSIDE
    assert sources.known(at, senders, arrivals).tolist() == [False, False, True]


def _streams(rows: Rows, sources: Sources, ssrc: int, at_ns: int) -> tuple[bool, bool, bool]:
    found = sources.streams(np.array([0]), np.array([ssrc], np.uint32), np.array([at_ns]), np.array([True]))
    return tuple(bool(mask[0]) for mask in found)  # type: ignore[return-value]


def test_a_stream_is_new_the_same_or_back():
    rows, sources = opened()
    same, fresh, back = True, True, True
    assert _streams(rows, sources, 7, 0) == (not same, fresh, not back)
    rows.pinned[0], rows.ssrc[0], rows.source[0], rows.arrived_ns[0] = True, 7, HERE, 0
    assert _streams(rows, sources, 7, 0) == (same, not fresh, not back)
    assert _streams(rows, sources, 8, SSRC_SILENCE_NS - 1) == (not same, not fresh, not back)
    assert _streams(rows, sources, 8, SSRC_SILENCE_NS) == (not same, fresh, not back)
    rows.source[0] = 0
    assert _streams(rows, sources, 7, 0) == (same, not fresh, back)
    assert _streams(rows, sources, 8, 10 * SSRC_SILENCE_NS) == (not same, not fresh, not back)


def test_where_one_address_is_allowed_it_is_the_source_from_the_start():
    rows, sources = opened()
    assert int(rows.source[0]) == 0
    sources.open(0, ())
    assert int(rows.source[0]) == HERE
    rows.pinned[0], rows.negotiated[0] = True, INSIDE
    sources.expect(0)
    assert (int(rows.source[0]), bool(rows.pinned[0])) == (INSIDE, False)
    caller = Caller(Engine(1, seed=1), leg_setup())
    assert caller.engine.take_moved() == {caller.row}, "the socket is connected before the first packet"


def test_latch_lets_nobody_go_who_can_only_come_back_from_the_same_address():
    rows, sources = opened(latch=True)
    sources.open(0, ())
    rows.pinned[0], rows.arrived_ns[0] = True, 0
    assert sources.let_go(slice(0, 1), 10 * LATCH_NS) == []


@pytest.mark.parametrize("latch", [False, True])
def test_only_latch_lets_a_silent_source_go(latch: bool):
    rows, sources = opened(latch=latch)
    rows.pinned[0], rows.source[0], rows.arrived_ns[0] = True, HERE, 0
    assert sources.let_go(slice(0, 1), LATCH_NS) == []
    assert sources.let_go(slice(0, 1), LATCH_NS + 1) == ([0] if latch else [])
    assert bool(rows.source[0]) != latch
    assert sources.let_go(slice(0, 1), 2 * LATCH_NS) == []


# --- whole legs


def moving_caller(policy: str) -> Caller:
    engine = Engine(2, seed=1, source_policy=policy)  # type: ignore[arg-type]
    caller = Caller(engine, leg_setup(media_cidrs=("198.51.100.0/24",)))
    caller.say(tone(440, 1_600))
    engine.take_moved()
    caller.tick(100)
    return caller


def moved(caller: Caller, ssrc: int = 77, host: str = "198.51.100.9") -> None:
    packet = rtp(caller.seq, caller.stamp, b"\x80" * 160, ssrc=ssrc)
    hand_over(caller.engine, caller.row, packet, caller.now_ns, host=host, port=7_000)


def test_strict_stays_with_the_address_however_long_it_is_silent():
    caller = moving_caller("strict")
    assert caller.engine.take_moved() == set()
    moved(caller)
    assert caller.engine.rejected == {"source": 1}


def test_latch_takes_the_same_stream_from_another_allowed_address():
    caller = moving_caller("latch")
    assert caller.engine.take_moved() == {caller.row}, "the socket is opened to others"
    assert int(caller.engine.destinations[caller.row, 0]) == address_key("192.0.2.10", PORT)
    moved(caller, ssrc=66)
    moved(caller, host="203.0.113.5")
    assert caller.engine.rejected == {"ssrc": 1, "source": 1}
    moved(caller)
    assert caller.engine.take_moved() == {caller.row}
    assert int(caller.engine.destinations[caller.row, 0]) == address_key("198.51.100.9", 7_000)
    assert caller.engine.stats(caller.row).packets_in == 11
    hand_over(caller.engine, caller.row, rtp(caller.seq + 1, caller.stamp, b"\x80" * 160), caller.now_ns + MS)
    assert caller.engine.rejected == {"ssrc": 1, "source": 2}, "the old address is a stranger now"


def test_latch_takes_the_old_address_again_without_a_word():
    caller = moving_caller("latch")
    caller.say(tone(440, 1_600))
    assert caller.engine.rejected == {}
    assert caller.engine.stats(caller.row).packets_in == 20


@pytest.mark.parametrize("mux", [False, True])
def test_rtcp_of_strangers_is_refused_and_no_bye_ends_a_leg(mux: bool):
    """A BYE is believed from nobody: it may be forged, and the signalling says when a call is over."""
    engine = Engine(1, seed=1)
    caller = Caller(engine, leg_setup(echo=True, rtcp_mux=mux))
    caller.say(tone(440, 1_600))
    bye = rtcp.compound(77, "x", None, None, bye=True)
    for host, port in (("203.0.113.1", PORT), ("192.0.2.10", PORT + 7)):
        hand_over(engine, caller.row, bye, caller.now_ns, host=host, port=port)
        engine.receive_rtcp(caller.row, bye, address_key(host, port), caller.now_ns)
    assert engine.rejected == {"rtcp_source": 4 if mux else 2, **({} if mux else {"source": 2})}
    hand_over(engine, caller.row, bye, caller.now_ns)
    engine.receive_rtcp(caller.row, bye, address_key("192.0.2.10", PORT + 1), caller.now_ns)
    assert engine.rejected["payload_type"] == (0 if mux else 1)
    caller.say(tone(440, 1_600))
    assert engine.stats(caller.row).packets_in == 20
    assert not [lost for result in caller.results for lost in result.lost]
