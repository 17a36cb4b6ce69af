import numpy as np
import pytest

from mediaworker.core.g711 import A_LAW, MU_LAW
from mediaworker.core.jitter import JitterRing
from mediaworker.core.rows import Rows
from mediaworker.core.sound import ALIVE_FRAMES, CallerSound

pytestmark = pytest.mark.unit

SPAN = slice(0, 2)


def bed(octet: int = 0x90) -> tuple[Rows, CallerSound]:
    """Row 0 mu-law, row 1 A-law; both have frame 0."""
    rows = Rows(2, 1)
    for _row in range(2):
        rows.take(0)
    rows.started[:] = rows.receives[:] = rows.flowing[:] = True
    rows.alaw[1] = True
    ring = JitterRing(rows, 10)
    zeros = np.zeros(2, np.int64)
    ring.insert(np.arange(2), zeros, zeros, zeros, np.full((2, 256), octet, np.uint8))
    return rows, CallerSound(rows, ring)


def test_each_leg_is_decoded_by_its_law():
    rows, sound = bed()
    sound.play(0, SPAN)
    assert set(rows.caller_pcm[0].tolist()) == {int(MU_LAW.decoder[0x90])}
    assert set(rows.caller_pcm[1].tolist()) == {int(A_LAW.decoder[0x90])}


def test_holes_are_filled_for_60_ms_and_counted_for_a_second():
    rows, sound = bed()
    loud = []
    for _ in range(1 + ALIVE_FRAMES + 20):
        sound.play(0, SPAN)
        loud.append(int(np.abs(rows.caller_pcm[0].astype(int)).max()))
    assert loud[0] > loud[2] > loud[3] > loud[4] == 0
    assert rows.concealed.tolist() == [ALIVE_FRAMES, ALIVE_FRAMES]


@pytest.mark.parametrize("what", ["started", "receives"])
def test_a_leg_that_is_not_listened_to_is_silent(what: str):
    rows, sound = bed()
    getattr(rows, what)[1] = False
    sound.play(0, SPAN)
    assert rows.caller_pcm[0].any()
    assert not rows.caller_pcm[1].any()


def test_a_leg_that_never_sent_is_silent_and_conceals_nothing():
    rows, sound = bed()
    rows.flowing[0] = False
    sound.play(0, SPAN)
    sound.play(0, SPAN)
    assert rows.concealed.tolist() == [0, 1]
