"""What passes between the two threads, and what gives way when it is too much."""

import threading

import pytest

from mediaworker.core.calls.effects import Count, Effect, SendAudio
from mediaworker.io.rings import EffectRing, Ring
from shared.contracts import PcmToStt

pytestmark = pytest.mark.unit

AUDIO = SendAudio("stt.1", PcmToStt(rate_hz=8_000, frames=[]))


def test_a_ring_keeps_order_and_refuses_beyond_its_bound() -> None:
    ring: Ring[int] = Ring(2)
    assert ring.pop() is None
    assert [ring.put(number) for number in range(3)] == [True, True, False]
    assert len(ring) == 2
    assert [ring.pop(), ring.pop(), ring.pop()] == [0, 1, None]


def test_two_threads_lose_nothing() -> None:
    ring: Ring[int] = Ring(64)
    got: list[int] = []

    def write() -> None:
        for number in range(5_000):
            while not ring.put(number):
                pass

    writer = threading.Thread(target=write)
    writer.start()
    while len(got) < 5_000:
        item = ring.pop()
        if item is not None:
            got.append(item)
    writer.join()
    assert got == list(range(5_000))


def counted(number: int) -> Effect:
    return Count("m", (), number)


def test_the_reader_is_woken_once_until_it_has_taken() -> None:
    woken: list[int] = []
    ring = EffectRing(10, lambda: woken.append(1))
    ring.put([])
    assert woken == []
    ring.put([counted(1)])
    ring.put([counted(2)])
    assert len(woken) == 1
    assert ring.take() == [counted(1), counted(2)]
    ring.put([counted(3)])
    assert len(woken) == 2
    assert len(ring) == 1


def test_audio_gives_way_before_what_the_farm_must_know() -> None:
    ring = EffectRing(4, lambda: None)
    ring.put([AUDIO, AUDIO, AUDIO])
    assert (len(ring), ring.dropped_audio) == (2, 1)
    ring.put([counted(number) for number in range(3)])
    assert (len(ring), ring.dropped_audio, ring.dropped_control) == (4, 1, 1)
    assert ring.take() == [AUDIO, AUDIO, counted(0), counted(1)]
