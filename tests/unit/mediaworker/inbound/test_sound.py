import numpy as np
import pytest

from mediaworker.core.g711 import A_LAW, MU_LAW
from mediaworker.core.inbound.delay import FRAME_NS, DelayTarget
from mediaworker.core.inbound.jitter import JitterRing
from mediaworker.core.inbound.pace import ALIVE_FRAMES
from mediaworker.core.inbound.sound import CallerSound
from mediaworker.core.inbound.timeline import Act, NoCodedAudio
from mediaworker.core.rows import Index, Ints, Rows
from tests.support.engine_caller import tone

pytestmark = pytest.mark.unit

SPAN = slice(0, 2)


class Coded(NoCodedAudio):
    """Writes down what it is told and says 5."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.told: list[tuple[int, int, Act]] = []

    def play(self, at: Index, frame: Ints, act: Ints) -> None:
        for row, number, what in zip(at.tolist(), frame.tolist(), act.tolist(), strict=True):
            self.told.append((row, number, Act(what)))
        self._rows.caller_pcm[at] = 5
        self._rows.caller_wide[at] = 5


class Bed:
    """Row 0 mu-law, row 1 A-law, listened to; packets come as they are sent, one per tick."""

    def __init__(self) -> None:
        self.rows = rows = Rows(2, 1)
        for _row in range(2):
            rows.take(0)
        rows.started[:] = rows.receives[:] = rows.flowing[:] = rows.detect[:] = True
        rows.alaw[1] = True
        self.ring = JitterRing(rows)
        self.coded = Coded(rows)
        self.sound = CallerSound(rows, self.ring, DelayTarget(rows, 10 * FRAME_NS), self.coded)
        rows.least_ns[:], rows.goal_ns[:], rows.target_ns[:] = 0, 0, 0
        self.now = 0

    def insert(self, frame: int, octet: int = 0x90, rows: tuple[int, ...] = (0, 1)) -> None:
        at = np.array(rows)
        same = np.full(len(at), frame)
        self.ring.insert(at, same, same, same * FRAME_NS, np.full((len(at), 256), octet, np.uint8))

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.sound.play(0, SPAN, self.now)
            self.now += FRAME_NS


def test_each_leg_is_decoded_by_its_law():
    bed = Bed()
    bed.insert(0)
    bed.tick()
    assert set(bed.rows.caller_pcm[0].tolist()) == {int(MU_LAW.decoder[0x90])}
    assert set(bed.rows.caller_pcm[1].tolist()) == {int(A_LAW.decoder[0x90])}
    assert bed.sound.own_time == {}


def test_holes_are_filled_for_60_ms_and_counted_for_a_second():
    bed = Bed()
    bed.insert(0)
    loud = []
    for _ in range(1 + ALIVE_FRAMES + 20):
        bed.tick()
        loud.append(int(np.abs(bed.rows.caller_pcm[0].astype(int)).max()))
    assert loud[0] == loud[1] > loud[2] > loud[3] > loud[4] == 0
    assert bed.rows.concealed.tolist() == [ALIVE_FRAMES, ALIVE_FRAMES]
    assert bed.rows.held.tolist() == [ALIVE_FRAMES, ALIVE_FRAMES]
    assert bed.rows.play.tolist() == [1, 1]


def test_what_was_made_up_while_waiting_is_not_the_callers_own_time():
    bed = Bed()
    bed.insert(0)
    bed.tick(2)
    assert {row: len(pcm) for row, pcm in bed.sound.own_time.items()} == {0: 0, 1: 0}
    bed.insert(1)
    bed.tick()
    assert bed.rows.waited.tolist() == [0, 0]
    bed.insert(2)
    bed.tick()
    assert bed.sound.own_time == {}


def test_after_a_wait_the_caller_goes_on_in_his_own_time_where_he_stopped():
    bed = Bed()
    words = MU_LAW.encoder[tone(330, 160 * 9).view(np.uint16)].reshape(9, 160)
    own, heard = [], []
    for frame in range(9):
        packet = np.zeros((1, 256), np.uint8)
        packet[0, 12:172] = words[frame]
        one = np.array([frame])
        bed.ring.insert(np.array([0]), one, one, one * FRAME_NS, packet)
        for _ in range(1 + frame % 3):  # the next packet comes up to two ticks too late
            bed.tick()
            heard.append(bed.rows.caller_pcm[0].copy())
            own.append(bed.sound.own_time.get(0, heard[-1]))
    assert np.concatenate(own).tolist() == MU_LAW.decoder[words].reshape(-1).tolist()
    assert len(heard) > len(words)


def test_a_wait_that_was_a_loss_belongs_to_the_callers_time_after_all():
    bed = Bed()
    bed.insert(0)
    bed.tick(2)
    made_up = bed.rows.caller_pcm[0].copy()
    bed.insert(2, 0x80)
    bed.tick()
    own = bed.sound.own_time[0]
    assert own.shape == (320,)
    assert own[:160].tolist() == made_up.tolist()
    assert own[160:].tolist() == bed.rows.caller_pcm[0].tolist()
    assert (bed.rows.held[0], bed.rows.lost_frames[0], bed.rows.play[0]) == (0, 1, 3)
    assert bed.ring.history(np.array([0]), 1, np.array([1]))[0].any()


def test_sound_fades_in_again_over_what_was_made_up():
    bed = Bed()
    bed.insert(0, 0x90)
    bed.tick(2)
    bed.insert(1, 0x10)  # the other sign
    bed.tick()
    first, last = int(bed.rows.caller_pcm[0, 0]), int(bed.rows.caller_pcm[0, -1])
    assert first > 0 > last
    steps = np.abs(np.diff(bed.rows.caller_pcm[0].astype(int)))
    assert steps.max() < abs(2 * last) // 8


def test_frames_that_are_left_out_are_the_callers_time_too():
    bed = Bed()
    for frame in range(6):
        bed.insert(frame, 0x80 + frame)
    bed.tick()
    bed.ring.leave_out(np.array([0]), np.array([2]))
    bed.tick()
    own = bed.sound.own_time[0]
    assert [int(own[start]) for start in (0, 160, 320)] == [
        int(MU_LAW.decoder[0x80 + frame]) for frame in (1, 2, 3)
    ]
    assert not bed.ring.left_out


def test_two_frames_melt_into_one_where_there_is_delay_to_give_back():
    bed = Bed()
    words = MU_LAW.encoder[tone(200, 160 * 8).view(np.uint16)].reshape(8, 160)
    for frame in range(8):
        packet = np.zeros((1, 256), np.uint8)
        packet[0, 12:172] = words[frame]
        one = np.array([frame])
        bed.ring.insert(np.array([0]), one, one, one * FRAME_NS, packet)
    bed.now = 4 * FRAME_NS
    bed.tick()
    assert bed.rows.play[0] == 2
    assert bed.sound.own_time[0].tolist() == MU_LAW.decoder[words[:2].reshape(-1)].tolist()
    assert np.abs(np.diff(bed.rows.caller_pcm[0].astype(int))).max() < 1_500
    assert bed.ring.skipped == 1


@pytest.mark.parametrize("what", ["started", "receives", "flowing"])
def test_a_leg_that_is_not_listened_to_is_silent(what: str):
    bed = Bed()
    getattr(bed.rows, what)[1] = False
    bed.insert(0)
    bed.tick(2)
    assert bed.rows.caller_pcm[0].any()
    assert not bed.rows.caller_pcm[1].any()


def test_a_leg_that_never_sent_conceals_nothing():
    bed = Bed()
    bed.rows.flowing[0] = False
    bed.insert(0, rows=(1,))
    bed.tick(2)
    assert bed.rows.concealed.tolist() == [0, 1]


def test_a_silent_sender_who_asked_for_noise_is_heard_as_noise():
    bed = Bed()
    bed.insert(0)
    bed.tick()
    bed.rows.noise[0] = 100.0
    bed.tick(40)
    level = float(np.sqrt(np.mean(bed.rows.caller_pcm[0].astype(float) ** 2)))
    assert 70 < level < 130
    assert (bed.rows.concealed[0], bed.rows.held[0]) == (0, 0)
    assert 0 not in bed.sound.own_time


def test_coded_legs_are_told_what_to_do():
    bed = Bed()
    bed.rows.coded[1] = bed.rows.wide[1] = True
    bed.insert(0)
    bed.tick(2)
    bed.insert(2)
    bed.tick()
    assert bed.coded.told == [(1, 0, Act.PLAY), (1, 1, Act.HOLD), (1, 2, Act.PLAY)]
    assert bed.rows.caller_wide[1].tolist() == [5] * 320
    bed.rows.noise[1] = 50.0
    bed.tick()
    assert bed.coded.told[-1] == (1, 3, Act.QUIET)
    assert len(set(bed.rows.caller_wide[1].tolist())) > 20
    bed.rows.receives[1] = False
    bed.tick()
    assert not bed.rows.caller_wide[1].any()
    assert not bed.rows.caller_pcm[1].any()
