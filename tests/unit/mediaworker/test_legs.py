"""The border between engine and calls: defaults that are safe, results that share no memory, the order of an utterance."""

import dataclasses

import numpy as np
import pytest

from mediaworker.core.legs import Heard, LegSetup, LegStats, PlayoutEvent, Speech, SpeechEvent, TickResult
from shared.contracts import MediaFormat, RtpEndpoint, TurnSettings

pytestmark = pytest.mark.unit

SETUP = LegSetup(
    rtp_port=20_000, remote=RtpEndpoint(host="192.0.2.1", rtp_port=4_000),
    format=MediaFormat(codec="PCMU", payload_type=0),
)  # fmt: skip


def test_leg_is_alone_silent_and_unrecorded_unless_told() -> None:
    assert (SETUP.room, SETUP.echo, SETUP.record, SETUP.detect_speech) == (-1, False, False, False)
    assert SETUP.media_cidrs == ()
    assert SETUP.turn == TurnSettings()


def test_setup_of_a_running_leg_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SETUP.echo = True  # type: ignore[misc]
    assert dataclasses.replace(SETUP, echo=True) != SETUP


def test_results_of_two_ticks_share_nothing() -> None:
    one, other = TickResult(), TickResult()
    for field in dataclasses.fields(TickResult):
        first, second = getattr(one, field.name), getattr(other, field.name)
        assert first is not second
        assert len(first) == 0
    one.speech.append(SpeechEvent(0, Speech.ONSET, 1, 2))
    assert other.speech == []


def test_empty_result_has_the_shapes_of_a_full_one() -> None:
    nothing = TickResult()
    assert nothing.caller_pcm.shape == nothing.sent_pcm.shape == (0, 160)
    assert nothing.caller_pcm.dtype == nothing.sent_pcm.dtype == np.int16
    assert nothing.utterance_rows.dtype == nothing.record_rows.dtype == np.int32


def test_speech_goes_through_its_kinds_in_the_order_of_their_numbers() -> None:
    assert [kind.name for kind in sorted(Speech)] == ["ONSET", "LASTED", "PAUSE", "RESUME", "END"]


def test_figures_that_the_peer_has_not_reported_are_told_from_zero() -> None:
    stats = LegStats(1, 1, 0, 0, 0, 0, 0.0, 0.0)
    assert (stats.jitter_out_ms, stats.loss_out_ratio, stats.rtt_ms) == (-1.0, -1.0, -1.0)


def test_playout_says_of_which_turn_and_segment() -> None:
    event = PlayoutEvent(3, started=True, heard=Heard(2, 1, 800), at_ns=5)
    assert event.heard._asdict() == {"turn": 2, "segment": 1, "samples": 800}
