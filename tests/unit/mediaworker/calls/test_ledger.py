"""The waterfall of a turn."""

import pytest

from mediaworker.core.calls.ledger import NOT_KNOWN, Ledger
from shared.contracts import StageTimes
from shared.units import NS_PER_MS

pytestmark = pytest.mark.unit

MS = NS_PER_MS


def test_what_the_stages_do_not_explain_is_the_bus() -> None:
    ledger = Ledger()
    ledger.speech_ended(3, 1_000 * MS, 1_500 * MS)
    ledger.stages(
        3,
        StageTimes(
            stt_wait_ms=10,
            stt_decode_ms=20,
            llm_first_token_ms=25,
            llm_first_segment_ms=40,
            tts_first_frame_ms=5,
        ),
    )
    latency = ledger.first_packet(3, 1_600 * MS)
    assert latency is not None
    assert latency.endpoint_ms == 500
    assert latency.voice_to_voice_ms == 600
    assert latency.bus_ms == 600 - 500 - (10 + 20 + 40 + 5)
    assert ledger.last_voice_to_voice_ms == 600


def test_stages_that_did_not_happen_are_not_summed() -> None:
    ledger = Ledger()
    ledger.speech_ended(1, 0, 100 * MS)
    latency = ledger.first_packet(1, 130 * MS)
    assert latency is not None
    assert latency.stt_decode_ms == NOT_KNOWN
    assert latency.bus_ms == 30


def test_the_bus_never_takes_less_than_no_time() -> None:
    ledger = Ledger()
    ledger.speech_ended(1, 0, 100 * MS)
    ledger.stages(1, StageTimes(llm_first_segment_ms=900))  # began before the endpoint, speculating
    latency = ledger.first_packet(1, 130 * MS)
    assert latency is not None
    assert latency.bus_ms == 0


def test_a_reply_nobody_asked_for_is_not_measured() -> None:
    ledger = Ledger()
    assert ledger.first_packet(0, 5) is None
    ledger.speech_ended(2, 0, 1)
    assert ledger.first_packet(1, 5) is None
    assert ledger.last_voice_to_voice_ms == NOT_KNOWN


def test_a_turn_is_measured_once() -> None:
    ledger = Ledger()
    ledger.speech_ended(2, 0, 1)
    assert ledger.first_packet(2, 5) is not None
    assert ledger.first_packet(2, 6) is None


def test_times_of_another_turn_are_not_taken() -> None:
    ledger = Ledger()
    ledger.speech_ended(2, 0, 1)
    ledger.stages(1, StageTimes(stt_wait_ms=7))
    latency = ledger.first_packet(2, 5)
    assert latency is not None
    assert latency.stt_wait_ms == NOT_KNOWN
