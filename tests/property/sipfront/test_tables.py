"""Every state x every event of every table; and whole calls under drawn events (I1)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipfront.core import call, lease, transaction
from sipfront.core.effects import Reserve
from sipfront.core.fsm import Unlisted, step
from tests.support.front_bench import FrontBench
from tests.support.sip_messages import OFFER, Caller, reply

pytestmark = pytest.mark.property

TABLES = {
    "invite server": (transaction.INVITE_SERVER, transaction.State.PROCEEDING, transaction.Event),
    "other server": (transaction.OTHER_SERVER, transaction.State.TRYING, transaction.Event),
    "invite client": (transaction.INVITE_CLIENT, transaction.State.CALLING, transaction.Event),
    "other client": (transaction.OTHER_CLIENT, transaction.State.TRYING, transaction.Event),
    "call": (call.CALL, call.State.INVITED, call.Event),
    "lease": (lease.LEASE, lease.State.RESERVING, lease.Event),
    "renegotiation": (call.RENEGOTIATION, call.Talk.SETTLED, call.TalkEvent),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_state_and_event_is_listed_or_refused_without_effect(name):
    table, start, events = TABLES[name]
    reached, waiting = {start}, [start]
    while waiting:
        state = waiting.pop()
        for event in events:
            try:
                after, acts = step(table, state, event)
            except Unlisted:
                assert event not in table.get(state, {})
                continue
            assert isinstance(acts, tuple)
            if after not in reached:
                reached.add(after)
                waiting.append(after)
    assert reached >= set(table)


@pytest.mark.parametrize("name", ["invite server", "other server", "invite client", "other client"])
def test_every_transaction_ends_by_timers_alone(name):
    """From any state that waits for nobody's user, timers lead to the end."""
    table, _, events = TABLES[name]
    timers = [event for event in events if len(event.value) == 1]
    for state in table:
        if state in {transaction.State.PROCEEDING, transaction.State.TRYING} and "server" in name:
            continue  # there our own answer is owed
        reached, waiting = set(), [state]
        while waiting:
            now = waiting.pop()
            for event in timers:
                if event in table.get(now, {}) and (after := table[now][event][0]) not in reached:
                    reached.add(after)
                    waiting.append(after)
        assert transaction.State.GONE in reached


@pytest.mark.parametrize("name", ["invite server", "other server", "invite client", "other client"])
def test_the_end_forgets(name):
    for row in TABLES[name][0].values():
        for after, acts in row.values():
            assert (after is transaction.State.GONE) == (transaction.Act.FORGET in acts)


def test_lease_is_released_once_on_every_way_out():
    """A leg that was opened is closed; one that was not is released; nothing is released twice."""
    giving = {lease.Act.RELEASE, lease.Act.RETURN}
    for state, row in lease.LEASE.items():
        for event, (after, acts) in row.items():
            if after is lease.State.GONE and state is not lease.State.GONE:
                nothing_held = event in {lease.Event.REFUSED, lease.Event.CLOSED}
                assert len(giving & set(acts)) == (0 if nothing_held else 1)
            else:
                assert not giving & set(acts)


STEPS = st.sampled_from(
    [
        "invite", "ack", "bye", "cancel", "reserved", "refused", "media ok", "media busy", "media no", "ended", "lost",
        "hold", "refresh", "offerless", "reply", "end", "tick", "long",
    ]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_whatever_happens_in_whatever_order_nothing_is_left_and_nothing_breaks(steps):
    bench = FrontBench()
    caller = Caller()
    bench.send(caller.invite())
    byes = []
    for name in steps:
        byes += [m for m in do(bench, caller, name) if m.method == "BYE"]
        if name == "reply" and byes:
            bench.send(reply(byes.pop()))
    bench.end()
    bench.advance(600_000)
    for late in list(bench.front.calls):  # the registry's answer comes after everything else
        bench.reserved(call_id=late.call_id)
    bench.assert_empty()


def do(bench: FrontBench, caller: Caller, name: str):
    last = bench.controls()[-1] if bench.controls() else None
    latest = bench.front.calls.get(bench.last(Reserve).call_id)
    waiting = latest and latest.lease in {lease.State.RESERVING, lease.State.WITHDRAWN}
    if name == "invite":
        return bench.send(Caller().invite())
    if name in {"ack", "bye", "hold", "refresh", "offerless"}:
        return bench.send(in_dialog(bench, caller, name))
    if name == "cancel":
        return bench.send(Caller().request("CANCEL"))
    if name in {"reserved", "refused"}:
        return getattr(bench, name)() if waiting else []
    if name.startswith("media") and last:
        reason = {"media ok": "", "media busy": "port_busy", "media no": "full"}[name]
        return bench.media(ok=not reason, reason=reason)
    moves = {
        "ended": bench.media_ended, "lost": lambda: bench.beat(live=[]), "tick": lambda: bench.advance(700),
        "long": lambda: bench.advance(33_000), "end": bench.end,
    }  # fmt: skip
    return moves.get(name, list)()


def in_dialog(bench: FrontBench, caller: Caller, name: str) -> bytes:
    tag = next(iter(bench.front.calls)).dialog.local_tag if len(bench.front.calls) else "none"
    caller.to_tag = tag
    if name == "ack":
        return caller.request("ACK", branch="z9hG4bKack")
    caller.cseq += 1
    if name == "bye":
        return caller.request("BYE")
    bodies = {"hold": OFFER.replace("sendrecv", "sendonly"), "offerless": "", "refresh": OFFER}
    return caller.invite(body=bodies[name])
