"""The gateway: addresses, payload types, bounded queues, and its end. Peers are plain sockets and other gateways."""

import asyncio
import socket
import struct

import numpy as np
import pytest

from mediaworker.gateway import RECEIVED_FRAMES, WAITING_S, Frame, RtpGateway, RtpLeg, format_of
from shared.errors import Refused
from tests.support.farm import rtp_block
from tests.support.rtp_peer import RtpPeer, strongest_hz, tone
from tests.support.waiting import eventually

pytestmark = pytest.mark.process


def gateway(pairs: int = 4, **more: int) -> RtpGateway:
    return RtpGateway(ports=rtp_block(2 * pairs), **more)  # type: ignore[arg-type]


async def loud_frames(leg: RtpLeg, count: int) -> np.ndarray:
    heard: list[np.ndarray] = []
    async with asyncio.timeout(20):
        async for frame in leg.frames():
            if np.abs(frame.pcm.astype(int)).max() > 1_000:
                heard.append(frame.pcm)
            if len(heard) >= count:
                break
    return np.concatenate(heard)


async def test_a_phone_and_a_leg_hear_each_other() -> None:
    async with gateway() as ours:
        leg = await ours.start()
        with RtpPeer(leg.local[1], ssrc=7) as phone:
            await leg.set_remote(("127.0.0.1", phone.port))
            phone.say(tone(700, 1_000))
            await leg.send(tone(1_200, 1_000).tobytes())
            assert abs(strongest_hz(await loud_frames(leg, 30)) - 700) < 20
            await eventually(lambda: sum(packet.loud for packet in phone.heard) >= 30)
            heard = np.concatenate([packet.pcm for packet in phone.heard if packet.loud])
            assert abs(strongest_hz(heard) - 1_200) < 20
        stats = await leg.stop()
    assert stats is not None
    assert stats.packets_in > 30
    assert stats.packets_out > 30


@pytest.mark.parametrize(
    ("payload_type", "more", "rate_hz", "hz"),
    [
        (0, {}, 8_000, 1_000),
        (8, {}, 8_000, 1_000),
        (9, {}, 16_000, 6_000),
        (11, {}, 16_000, 6_000),
        (96, {"codec": "L16", "clock_rate": 16_000}, 16_000, 6_000),
        (97, {"codec": "OPUS", "clock_rate": 48_000}, 16_000, 5_000),
        (11, {"clock_rate": 44_100, "ptime_ms": 10}, 16_000, 6_000),
    ],
)
async def test_two_legs_of_any_payload_type_hear_each_other(
    payload_type: int, more: dict[str, object], rate_hz: int, hz: int
) -> None:
    async with gateway() as ours:
        one = await ours.start(payload_type=payload_type, **more)  # type: ignore[arg-type]
        other = await ours.start(payload_type=payload_type, remote=one.local, **more)  # type: ignore[arg-type]
        await one.set_remote(other.local)
        assert one.rate_hz == rate_hz
        sound = (8_000 * np.sin(2 * np.pi * hz * np.arange(2 * rate_hz) / rate_hz)).astype(np.int16)
        await other.send(sound)
        heard = await loud_frames(one, 50)
    spectrum = np.abs(np.fft.rfft(heard[-rate_hz // 2 :] * np.hanning(rate_hz // 2)))
    assert abs(np.argmax(spectrum) * 2 - hz) < 20


async def test_without_a_remote_nothing_is_sent_and_nothing_taken() -> None:
    async with gateway() as ours:
        leg = await ours.start()
        with pytest.raises(ValueError, match="no remote address is known"):
            await leg.send(bytes(320))
        with RtpPeer(leg.local[1], ssrc=7) as stranger:
            await eventually(lambda: ours.engine.rejected["source"] > 5)
            assert leg.remote is None
            assert not stranger.heard


async def test_a_remote_is_learnt_only_where_it_may_be() -> None:
    async with gateway() as ours:
        leg = await ours.start(learn_from=["127.0.0.0/8"])
        assert leg.remote is None
        with RtpPeer(leg.local[1], ssrc=7) as phone:
            await eventually(lambda: leg.remote == ("127.0.0.1", phone.port))
            await leg.send(tone(1_200, 400))
            await eventually(lambda: any(packet.loud for packet in phone.heard))


async def test_the_remote_can_be_another_one_at_any_time() -> None:
    async with gateway() as ours:
        leg = await ours.start()
        with RtpPeer(leg.local[1], ssrc=7) as first, RtpPeer(leg.local[1], ssrc=8) as second:
            await leg.set_remote(("127.0.0.1", first.port))
            await eventually(lambda: len(first.heard) > 5)
            await leg.set_remote(("127.0.0.1", second.port))
            assert leg.remote == ("127.0.0.1", second.port)
            await eventually(lambda: len(second.heard) > 5)
            before = len(first.heard)
            await eventually(lambda: len(second.heard) > 15)
            assert len(first.heard) <= before + 1


async def test_what_is_sent_in_any_pieces_comes_out_whole() -> None:
    """Sample by sample, through L16, whatever the sizes: no padding in the middle, and the rest at the end too."""
    async with gateway() as ours:
        one = await ours.start(payload_type=96, codec="L16", clock_rate=8_000)
        other = await ours.start(payload_type=96, codec="L16", clock_rate=8_000, remote=one.local)
        await one.set_remote(other.local)
        for start in range(0, 4_000, 77):
            await other.send(np.arange(start + 1, min(start + 77, 4_000) + 1).astype(np.int16))
        heard: list[int] = []
        async with asyncio.timeout(20):
            async for frame in one.frames():
                heard += [value for value in frame.pcm.tolist() if value]
                if len(heard) >= 4_000:
                    break
    assert heard == list(range(1, 4_001))


async def test_sending_waits_where_enough_is_queued_and_ends_with_the_leg() -> None:
    async with gateway() as ours:
        leg = await ours.start(remote=("127.0.0.1", 9))
        sending = asyncio.create_task(_send_for_ever(leg))
        most = (WAITING_S + 1) * 8_000
        await eventually(lambda: leg.waiting_samples > WAITING_S * 8_000)
        assert leg.waiting_samples <= most + ours.engine.capacity
        await leg.stop()
        with pytest.raises(ValueError, match="stopped"):
            await sending
        assert await leg.stop() is None


async def _send_for_ever(leg: RtpLeg) -> None:
    while True:
        await leg.send(np.zeros(8_000, np.int16))


async def test_frames_that_nobody_takes_are_bounded_and_iteration_ends_with_the_leg() -> None:
    async with gateway() as ours:
        leg = await ours.start()
        for number in range(RECEIVED_FRAMES + 5):
            leg.deliver(Frame(np.zeros(160, np.int16), number))
        assert leg.dropped_frames == 5
        await leg.stop()
        numbers = [frame.number async for frame in leg.frames()]
    assert numbers == list(range(5, RECEIVED_FRAMES + 5))


async def test_a_port_that_is_taken_is_an_os_error_and_the_next_free_one_is_found() -> None:
    first = int(rtp_block(8).split("-")[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", first))
        async with RtpGateway(ports=f"{first}-{first + 7}") as ours:
            with pytest.raises(OSError, match=str(first)):
                await ours.start(local_port=first)
            ports = {(await ours.start()).local[1] for _ in range(3)}
            assert ports == {first + 2, first + 4, first + 6}
            with pytest.raises(OSError, match="any"):
                await ours.start()
            assert sum(ours.engine.rows.live) == 3


async def test_a_leg_that_nobody_waits_for_any_more_is_closed() -> None:
    async with RtpGateway(ports=rtp_block(2), capacity=1) as gateway:
        for steps in range(4):
            opening = asyncio.create_task(gateway.start())
            for _ in range(steps):
                await asyncio.sleep(0)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
        await eventually(lambda: _opens(gateway))  # the only row and the only port are free again


async def _opens(gateway: RtpGateway) -> bool:
    try:
        await gateway.start()
    except (Refused, OSError):
        return False
    return True


async def test_a_full_gateway_says_so() -> None:
    async with gateway(capacity=1) as ours:
        leg = await ours.start()
        with pytest.raises(Refused, match="full"):
            await ours.start()
        await leg.stop()
        await ours.start()


@pytest.mark.parametrize(
    "fields",
    [
        {"payload_type": 128},
        {"payload_type": 18},
        {"payload_type": 10},
        {"payload_type": 10, "codec": "L16", "clock_rate": 44_100},
        {"payload_type": 13, "codec": "PCMU", "clock_rate": 8_000},
        {"payload_type": 72, "codec": "PCMU", "clock_rate": 8_000},
        {"payload_type": 96},
        {"payload_type": 0, "clock_rate": 16_000},
        {"payload_type": 8, "codec": "PCMU"},
        {"payload_type": 96, "codec": "L16", "clock_rate": 12_345},
        {"ptime_ms": 25},
        {"local_port": 21_001},
        {"remote": ("example.org", 4_000)},
        {"remote": ("127.0.0.1", 0)},
        {"learn_from": ["nonsense"]},
    ],
)
async def test_what_makes_no_sense_is_a_value_error(fields: dict[str, object]) -> None:
    async with gateway() as ours:
        with pytest.raises(ValueError, match=r"."):
            await ours.start(**fields)  # type: ignore[arg-type]
        assert sum(ours.engine.rows.live) == 0


async def test_wrong_samples_and_remotes_are_value_errors() -> None:
    async with gateway() as ours:
        leg = await ours.start(remote=("127.0.0.1", 9))
        for wrong in (np.zeros(10, np.float32), np.zeros((2, 10), np.int16)):
            with pytest.raises(ValueError, match="mono int16"):
                await leg.send(wrong)
        with pytest.raises(ValueError, match="IPv4"):
            await leg.set_remote(("nowhere", 4_000))
        with pytest.raises(ValueError, match="first-last"):
            RtpGateway(ports="some")


async def test_an_end_is_said_with_rtcp_and_leaves_nothing_behind() -> None:
    ours = gateway()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtcp:
        rtcp.bind(("127.0.0.1", 0))
        rtcp.settimeout(10)
        async with ours:
            leg = await ours.start(remote=("127.0.0.1", rtcp.getsockname()[1] - 1))
            await eventually(lambda: ours.engine.stats(leg.row).packets_out > 2)
            await leg.stop()
            kinds = await asyncio.to_thread(_packet_types, rtcp.recv(1_500))
    assert 203 in kinds, "BYE (RFC 3550 section 6.6)"
    assert not ours._thread.is_alive()
    with pytest.raises(RuntimeError, match="not running"):
        await ours.start()


def _packet_types(data: bytes) -> list[int]:
    types = []
    while data:
        _, kind, words = struct.unpack_from("!BBH", data)
        types.append(kind)
        data = data[4 * words + 4 :]
    return types


async def test_who_asks_again_after_the_end_hears_of_the_end() -> None:
    async with gateway() as ours:
        leg = await ours.start()
        await leg.stop()
        async with asyncio.timeout(20):
            for _ in range(2):
                assert [frame async for frame in leg.frames()] == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_nobody_waits_for_a_gateway_whose_thread_failed() -> None:
    def fail(_: object) -> None:
        raise KeyError("a mistake")

    async with gateway() as ours, asyncio.timeout(20):
        leg = await ours.start()
        reading = asyncio.ensure_future(anext(leg.frames(), None))
        with pytest.raises(RuntimeError):
            await ours.call(fail)
        assert await reading is None
        with pytest.raises(RuntimeError):
            await ours.start()


def test_static_payload_types_need_no_words() -> None:
    known = [(format_of(kind, None, None, None).codec, kind) for kind in (0, 8, 9, 11)]
    assert known == [("PCMU", 0), ("PCMA", 8), ("G722", 9), ("L16", 11)]
    assert format_of(11, None, None, None).ptime_ms == 10, "20 ms of it are more than a packet holds"
