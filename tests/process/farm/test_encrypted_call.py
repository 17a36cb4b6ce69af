"""SRTP through hold and resume: with the same key, as RFC 4568 wants it, and with a new one each time, as many telephones do."""

import time
from pathlib import Path

import pytest

from tests.support.farm import farm
from tests.support.keyed_phone import KeyedPhone
from tests.support.phone import address, level_at, tone
from tests.support.waiting import eventually

pytestmark = pytest.mark.process


def hears(phone: KeyedPhone, hz: float, since: float) -> bool:
    last = phone.heard(since)[-4_000:]
    return len(last) == 4_000 and level_at(last, hz) > 0.9


async def test_keys_stay_or_change_with_a_hold_and_the_call_is_heard_afterwards(tmp_path: Path) -> None:
    with farm(tmp_path) as running:
        phone = KeyedPhone(address(running.sip))
        await phone.open()
        try:
            assert (await phone.call("echo")).status == 200
            first = phone.farm_line
            phone.play(tone(700, 4))
            await eventually(lambda: hears(phone, 700, 0.0), 10)

            held = await phone.change("sendonly", 1)
            assert (held.status, phone.farm_line) == (200, first)
            assert "a=recvonly" in held.body
            phone.stop_playing()
            assert (await phone.change("sendrecv", 1)).status == 200
            assert phone.farm_line == first
            resumed = time.monotonic()
            phone.play(tone(1_100, 4))
            await eventually(lambda: hears(phone, 1_100, resumed), 10)
            assert phone.refused == 0

            phone.stop_playing()
            assert (await phone.change("sendonly", 2)).status == 200
            assert phone.farm_line != first
            assert (await phone.change("sendrecv", 3)).status == 200
            resumed = time.monotonic()
            phone.play(tone(1_500, 4))
            await eventually(lambda: hears(phone, 1_500, resumed), 10)
            assert (await phone.bye()).status == 200
        finally:
            phone.close()
