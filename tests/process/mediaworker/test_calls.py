"""Calls through a real media worker: what callers hear, and what strangers do not."""

import asyncio
import itertools
import socket

import pytest

from shared.contracts import MediaEnded
from tests.support.media_bench import PORT_PAIRS, Front
from tests.support.rtp_peer import FRAME, level_at, strongest_hz, to_ulaw, tone
from tests.support.waiting import eventually

pytestmark = pytest.mark.process


async def all_ports_free(placed: Front, worker_id: str) -> bool:
    held = await placed.registry.held(worker_id)
    return not held and len(await placed.registry.free_ports(worker_id)) == PORT_PAIRS


async def test_an_echo_call_hears_itself_in_one_steady_stream(placed: Front) -> None:
    call = await placed.call("echo")
    call.peer.say(tone(740, 1_000))
    await eventually(lambda: strongest_hz(call.peer.last(200)) == pytest.approx(740, abs=6))
    heard = list(call.peer.heard)
    assert len({packet.ssrc for packet in heard}) == 1
    assert {b.seq - a.seq for a, b in itertools.pairwise(heard)} == {1}
    assert {b.timestamp - a.timestamp for a, b in itertools.pairwise(heard)} == {FRAME}
    assert [packet.marker for packet in heard].index(True) == 0


async def test_after_a_call_everything_is_given_back(placed: Front) -> None:
    worker_id = await placed.media()
    call = await placed.call("echo")
    await eventually(lambda: call.peer.heard)
    assert await placed.registry.call(call.call_id)
    assert (await placed.hang_up(call)).ok
    await eventually(lambda: all_ports_free(placed, worker_id))
    assert await placed.registry.call(call.call_id) is None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", call.placement.port))
    (ended,) = await placed.events(call.call_id, "call.ended")
    assert ended["reason"] == "bye"
    assert ended["rtp"]["packets_out"] > 0


async def test_a_caller_whose_packets_stop_is_told_to_be_one_way(placed: Front) -> None:
    call = await placed.call("echo")
    await eventually(lambda: call.peer.heard)
    call.peer.mute = True

    begun = {"direction": "in", "state": "begun", "cause": "no_packets"}

    async def told() -> bool:
        return begun in await placed.events(call.call_id, "one_way")

    await eventually(told)

    async def ended() -> object:
        return await placed.events(call.call_id, "call.ended")

    (end,) = await eventually(ended)  # type: ignore[misc]
    assert end["reason"] == "rtp_timeout"
    assert end["rtp"]["one_way"] is True
    assert end["rtp"]["mos_in"] > 1


async def test_the_parrot_answers_after_silence(placed: Front) -> None:
    call = await placed.call("echo", mode="after_silence")
    call.peer.say(tone(740, 600))
    await eventually(lambda: not call.peer.saying)
    assert not any(packet.loud for packet in call.peer.heard), "not while the caller speaks"
    await eventually(lambda: sum(packet.loud for packet in call.peer.heard) >= 28)
    assert strongest_hz(call.peer.last(200)) == pytest.approx(740, abs=6)


async def test_three_in_a_room_hear_the_others_and_not_themselves(placed: Front) -> None:
    tones = (440.0, 660.0, 1_040.0)
    calls = [await placed.call("conference", room="r1") for _ in tones]
    elsewhere = await placed.call("conference", room="r2")
    assert len({call.placement.worker for call in calls}) == 1
    for call, hz in zip(calls, tones, strict=True):
        call.peer.say(tone(hz, 2_000, amplitude=6_000))

    def levels(call: object) -> dict[float, float]:
        heard = call.peer.last(500)  # type: ignore[attr-defined]
        return {hz: level_at(heard, hz) for hz in tones}

    for call, own in zip(calls, tones, strict=True):
        others = [hz for hz in tones if hz != own]
        await eventually(lambda call=call, others=others: min(levels(call)[hz] for hz in others) > 4_000)
        assert levels(call)[own] < 200
    assert strongest_hz(elsewhere.peer.last(500)) == 0


@pytest.mark.parametrize("host", ["127.0.0.2", "127.0.0.1"])
async def test_a_stranger_is_not_heard(placed: Front, host: str) -> None:
    call = await placed.call("echo")
    await eventually(lambda: len(call.peer.heard) > 10)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind((host, 0))
        loud = to_ulaw(tone(1_000, 20))
        for number in range(50):
            header = (
                bytes([0x80, 0]) + number.to_bytes(2, "big") + (160 * number).to_bytes(4, "big") + b"\1\2\3\4"
            )
            stranger.sendto(header + loud, ("127.0.0.1", call.placement.port))
            await asyncio.sleep(0.01)
    assert not any(packet.loud for packet in call.peer.heard)
    call.peer.say(tone(740, 300))
    await eventually(lambda: any(packet.loud for packet in call.peer.heard))


async def test_a_port_that_a_stranger_has_is_refused_and_comes_back_when_they_have_gone(
    placed: Front,
) -> None:
    worker_id = await placed.media()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        port = (await placed.registry.free_ports(worker_id))[0]
        stranger.bind(("0.0.0.0", port))
        with pytest.raises(AssertionError, match="port_busy"):
            await placed.call("echo")
        held = await placed.registry.held(worker_id)
        for reservation in held:
            await placed.registry.release(reservation.call_id, linger_ms=1_000)
        await asyncio.sleep(1.2)  # the quarantine is over, the stranger is not
        assert port not in await placed.registry.free_ports(worker_id)

    async def is_back() -> bool:
        return port in await placed.registry.free_ports(worker_id)

    await eventually(is_back)


async def test_a_call_whose_packets_stop_is_ended(placed: Front) -> None:
    call = await placed.call("echo")
    await eventually(lambda: len(call.peer.heard) > 10)
    call.peer.mute = True
    ended = await placed.member.await_one(MediaEnded, lambda m: m.call_id == call.call_id)
    assert ended.reason == "rtp_timeout"

    async def is_gone() -> bool:
        return await placed.registry.call(call.call_id) is None

    await eventually(is_gone)
    assert (await placed.hang_up(call)).ok, "a leg that is gone is closed"


async def test_a_call_that_never_sends_is_ended(placed: Front) -> None:
    call = await placed.call("echo", mute=True)
    ended = await placed.member.await_one(MediaEnded, lambda m: m.call_id == call.call_id)
    assert ended.reason == "rtp_never"
