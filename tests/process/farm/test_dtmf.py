"""Key presses between telephones and a whole farm: as events, as tones, by INFO, and back."""

import asyncio
import struct
from pathlib import Path

import numpy as np
import pytest

from shared.contracts import MediaAnswer, MediaDigits
from tests.support.events import call_events
from tests.support.farm import Farm, farm
from tests.support.media_bench import Member, member
from tests.support.phone import Phone, phones
from tests.support.waiting import eventually

pytestmark = pytest.mark.process

KEYPAD = {
    (697, 1209): "1", (697, 1336): "2", (697, 1477): "3", (770, 1209): "4", (770, 1336): "5", (770, 1477): "6",
    (852, 1209): "7", (852, 1336): "8", (852, 1477): "9", (941, 1209): "*", (941, 1336): "0", (941, 1477): "#",
}  # fmt: skip


def tones(digits: str, ms: int = 80) -> np.ndarray:
    """The keypad's sound, made here."""
    by_digit = {digit: pair for pair, digit in KEYPAD.items()}
    time = np.arange(8 * ms) / 8_000
    quiet = np.zeros(8 * ms)
    parts = [quiet]
    for digit in digits:
        parts += [3_000 * sum(np.sin(2 * np.pi * hz * time) for hz in by_digit[digit]), quiet]
    return np.concatenate(parts).astype(np.int16)


def keys_in(pcm: np.ndarray) -> str:
    """Keys heard in a sound, once for every run of 20 ms blocks that hold one."""
    found, last = "", ""
    for start in range(0, len(pcm) - 159, 80):
        block = pcm[start : start + 160].astype(np.float64)
        level = {
            hz: abs(np.exp(-2j * np.pi * hz * np.arange(160) / 8_000) @ block)
            for pair in KEYPAD
            for hz in pair
        }
        pair = tuple(
            max(group, key=level.__getitem__) for group in ((697, 770, 852, 941), (1209, 1336, 1477))
        )
        power = sum(level[hz] ** 2 for hz in pair) * 2 / 160
        key = KEYPAD[pair] if power > 0.9 * (block @ block) and power > 160 * 500**2 else ""
        if key and key != last:
            found += key
        last = key
    return found


def press(phone: Phone, event: int, ms: int = 100) -> None:
    """An RFC 4733 press, all its packets at once, their time stamp that of the first."""
    start = phone._timestamp
    for tick, duration in enumerate([*range(160, 8 * ms, 160), *3 * [8 * ms]]):
        phone._timestamp = start
        end = 0x80 if duration == 8 * ms else 0
        phone.send_rtp(struct.pack("!BBH", event, end | 10, duration), 101, marker=tick == 0)
    phone._timestamp = (start + 8 * ms) & 0xFFFF_FFFF


def info(phone: Phone, digit: str) -> None:
    phone._cseq += 1
    phone._branch = phone._new_branch()
    request = phone._request("INFO", phone._contact, f"Signal={digit}\r\nDuration=160\r\n", phone._to())
    phone.send_raw(request.replace("application/sdp", "application/dtmf-relay"))


async def told(running: Farm, phone: Phone, count: int) -> list[tuple[str, str]]:
    """The first so many presses of the phone's call in its event log."""
    assert phone.answer is not None
    call_id = phone.answer.one("x-call-id")
    with running.redis() as client:
        await eventually(lambda: len(call_events(client, call_id, "dtmf")) >= count, 20)
        return [(event.data["digit"], event.data["source"]) for event in call_events(client, call_id, "dtmf")]


async def send_digits(running: Farm, front: Member, phone: Phone, digits: str) -> None:
    assert phone.answer is not None
    worker = running.workers("media")["media-0"]["worker_id"]
    message = MediaDigits(
        msg_id=f"digits-{phone.number}",
        reply_to=front.id,
        call_id=phone.answer.one("x-call-id"),
        digits=digits,
    )
    front.shell.send(worker, message)
    answer = await front.await_one(MediaAnswer, lambda found: found.msg_id == message.msg_id)
    assert answer.ok, answer.reason


@pytest.mark.timeout(120)
async def test_digits_both_ways(tmp_path: Path) -> None:
    with farm(tmp_path) as running:
        async with (
            phones(running.sip) as (by_event,),
            phones(running.sip, offer_codecs="0") as (by_tone,),
            member(running.redis_url, "front", name="front-of-the-test") as front,
        ):
            for room, phone in (("conf1", by_event), ("conf2", by_tone)):
                assert (await phone.call(room)).status == 200
                await eventually(lambda phone=phone: len(phone.packets) > 10)

            for event in (1, 2, 2, 11):
                press(by_event, event)
                await asyncio.sleep(0.15)  # a person's pause
            by_tone.play(tones("159#"))
            assert await told(running, by_event, 4) == [(digit, "rfc4733") for digit in "122#"]
            assert await told(running, by_tone, 4) == [(digit, "inband") for digit in "159#"]

            info(by_event, "7")
            press(by_event, 7)
            info(by_tone, "3")
            assert [digit for digit, _ in await told(running, by_event, 5)] == list("122#7")
            assert (await told(running, by_tone, 5))[-1] == ("3", "info")

            for phone in (by_event, by_tone):
                await send_digits(running, front, phone, "407*")
            await eventually(lambda: len([p for p in by_event.packets if p.payload_type == 101]) == 4 * 7, 10)
            reports = [p for p in by_event.packets if p.payload_type == 101]
            assert [p.payload[0] for p in reports if p.marker] == [4, 0, 7, 10]
            assert len({p.ssrc for p in by_event.packets}) == 1
            await eventually(lambda: keys_in(by_tone.heard()) == "407*", 10)
            assert len(await told(running, by_event, 5)) == 5, "the two ways of one press were told once"
            for phone in (by_event, by_tone):
                assert (await phone.bye()).status == 200
