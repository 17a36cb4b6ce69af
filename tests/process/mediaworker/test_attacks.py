"""Attacks on a real media worker: nobody hears a stranger, no stranger hears anything. The long form is `bench.attack`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.attack.scenarios import (
    Scenario,
    before_during_after,
    control,
    from_the_callers_address,
    into_speech_to_text,
    port_reuse,
    rtcp_forged,
    rtcp_forged_on_a_shared_port,
    srtp_attacked,
)
from bench.attack.victims import Ground, ground
from shared.contracts import SrtpKeys
from tests.support.srtp_peer import keys
from tests.support.waiting import eventually

pytestmark = pytest.mark.process

SECONDS = 0.8

ATTACKS: dict[Scenario, set[str]] = {
    before_during_after: {"rtcp_source"},
    into_speech_to_text: {"rtcp_source"},
    from_the_callers_address: {"ssrc"},
    port_reuse: {"rtcp_source"},
    rtcp_forged: {"rtcp_source", "payload_type"},
    rtcp_forged_on_a_shared_port: {"rtcp_source"},
    srtp_attacked: {"srtp_auth", "srtp_replay", "srtcp_auth"},
}
"""And reasons that must be counted: else the attack did not take place."""


@pytest.fixture
async def place(redis_url: str, tmp_path: Path) -> AsyncIterator[Ground]:
    async with ground(redis_url, tmp_path) as made:
        yield made


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
async def test_nothing_is_injected_and_nothing_leaks(place: Ground, attack: Scenario) -> None:
    outcome = await attack(place, SECONDS)
    assert outcome.sent > 0
    assert outcome.leaked == 0
    assert outcome.injected == dict.fromkeys(outcome.injected, 0)
    assert outcome.caller_frames > 0
    await eventually(lambda: ATTACKS[attack] <= place.refused().keys())


async def test_what_the_checks_look_for_would_be_found(place: Ground) -> None:
    """Somebody who sees the caller's packets is believed on a call without SRTP: the tone is where it is looked for."""
    outcome = await control(place, SECONDS)
    assert outcome.injected["heard"] > 0
    assert outcome.injected["recorded"] > 0


async def test_keys_are_in_no_log_and_no_event(place: Ground, tmp_path: Path) -> None:
    made = keys(local=77, remote=78)
    call_id, placement = await place.front.reserve("echo")
    victim = await place.open(call_id, placement, place.peer(placement, srtp=made), srtp=made)
    await eventually(lambda: victim.peer.heard)
    bad = SrtpKeys(suite="AEAD_AES_128_GCM", local=made.local, remote=made.remote)
    await place.rekey(victim, keys(local=79, remote=80))
    call_id, placement = await place.front.reserve("echo")
    with pytest.raises(RuntimeError, match="bad_request"):
        await place.open(call_id, placement, place.peer(placement), srtp=bad)
    await place.hang_up(victim)
    client = place.front.member.shell.client
    events = await client.xrange(place.front.member.shell.keys.events(victim.call.call_id))
    kept = repr(events).encode() + (tmp_path / "media.txt").read_bytes()
    assert b"call.opened" in kept
    for secret in (made.local, made.remote):
        for form in (secret, repr(secret).encode(), secret.hex().encode()):
            assert form[2:-2] not in kept
