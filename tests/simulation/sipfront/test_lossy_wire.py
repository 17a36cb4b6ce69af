"""Sixty calls over a wire that loses a fifth and doubles a fifth each way: none stuck, none doubled, all given back."""

import pytest

from tests.support.lossy_farm import LossyFarm, Telephone

pytestmark = pytest.mark.simulation

CALLS = 60
KINDS = ("talks", "gives up", "is hung up on", "is not wanted", "dies", "dies talking")


def begin(farm: LossyFarm) -> dict[str, list[Telephone]]:
    """Ten calls of each kind, one every 100 ms."""
    phones: dict[str, list[Telephone]] = {kind: [] for kind in KINDS}
    for number in range(CALLS):
        kind = KINDS[number % len(KINDS)]
        phone = farm.telephone("nobody" if kind == "is not wanted" else "echo")
        phones[kind].append(phone)
        start_ms = number * 100.0
        farm.at(start_ms, lambda p=phone: farm.call(p))
        if kind == "talks":
            farm.at(start_ms + 8_000, lambda p=phone: farm.hang_up(p))
        elif (
            kind == "gives up"
        ):  # some before the first 100 comes, some while it is set up, some after the 200
            farm.at(start_ms + 7 * number, lambda p=phone: farm.hang_up(p))
        elif kind == "is hung up on":
            farm.at(start_ms + 8_000, lambda p=phone: farm.media_ends(p))
        elif kind == "dies":
            farm.at(start_ms + 1, lambda p=phone: setattr(p, "dead", True))
        elif kind == "dies talking":
            farm.at(start_ms + 8_000, lambda p=phone: setattr(p, "dead", True))
            farm.at(start_ms + 12_000, lambda p=phone: farm.media_ends(p))
    return phones


def assert_nothing_is_left(farm: LossyFarm) -> None:
    assert len(farm.front.calls) == 0
    assert farm.front.calls.dialogs() == 0
    assert farm.front.transactions() == 0
    assert farm.front.next_timer_ns() is None
    assert farm.media.held == {}
    assert farm.media.legs == {}
    assert len(set(farm.media.free)) == len(farm.media.free) == 500


@pytest.mark.parametrize("seed", range(6))
def test_calls_over_a_lossy_wire_end_as_they_should_and_leave_nothing(seed):
    farm = LossyFarm(seed)
    phones = begin(farm)
    farm.run()
    assert 0.15 < farm.lost / farm.carried < 0.25
    assert_nothing_is_left(farm)
    stuck = [(kind, p.call_id, p.uac.state) for kind in KINDS for p in phones[kind] if not p.idle]
    assert stuck == []
    for kind in ("talks", "is hung up on", "dies talking"):
        assert all(len(set(phone.answered)) == 1 for phone in phones[kind]), kind
    assert {phone.endings[0].code for phone in phones["is not wanted"]} == {404}


@pytest.mark.parametrize("seed", range(6))
def test_no_call_over_a_lossy_wire_is_served_twice(seed):
    farm = LossyFarm(seed)
    phones = begin(farm)
    farm.run()
    for kind in KINDS:
        most = 0 if kind == "is not wanted" else 1
        for phone in phones[kind]:
            made = farm.reserved(phone)
            assert len(made) <= most, (kind, phone.call_id)
            assert len(phone.endings) <= 1
            for reserve in made:
                acted = farm.media.acted[reserve.call_id]
                assert len(acted) == len(set(acted)), acted
    ended = sum(
        farm.count("voicefarm_calls", reason)
        for reason in ("bye", "cancel", "no_ack", "rtp_timeout", "setup_failed", "error")
    )
    assert ended == sum(len(farm.reserved(phone)) for phone in farm.phones.values())
    assert farm.count("voicefarm_calls", "error") == 0


@pytest.mark.parametrize("seed", range(4))
def test_calls_survive_a_bus_that_forgets_and_leave_nothing(seed):
    """A tenth of the control messages never arrive, either way: calls are refused or repeated, none is kept for ever."""
    farm = LossyFarm(seed, loss=0.05, doubled=0.05, bus_loss=0.1)
    phones = begin(farm)
    farm.run()
    assert len(farm.front.calls) == 0
    assert farm.front.transactions() == 0
    assert farm.media.held == {}
    stuck = [(kind, p.call_id, p.uac.state) for kind in KINDS for p in phones[kind] if not p.idle]
    assert stuck == []
    talked = [phone for phone in phones["talks"] if phone.answered]
    started = sum("MediaStart" in acted for acted in farm.media.acted.values())
    assert len(talked) >= 6
    assert started >= len(talked)
