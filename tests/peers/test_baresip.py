"""baresip, a softphone of others, calls the farm; tshark judges what we send."""

from pathlib import Path

import numpy as np
import pytest

from tests.support import capture as tshark
from tests.support.capture import capture, rtp_streams
from tests.support.farm import farm
from tests.support.lateness import lateness
from tests.support.phone import level_at, tone
from tests.support.softphone import PCMU, dial, heard, write_softphone

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(bool(PCMU.missing()), reason=PCMU.missing()),
    pytest.mark.skipif(bool(tshark.missing()), reason=tshark.missing()),
]


def test_softphone_hears_its_echo_and_our_stream_is_clean(tmp_path: Path) -> None:
    folder = write_softphone(tmp_path / "phone", tone(700, 20, 0.3))
    with farm(tmp_path) as running_farm:
        ports = running_farm.rtp_range
        with (
            capture(tmp_path / "call.pcapng", f"portrange {ports[0]}-{ports[1]}") as trace,
            lateness() as late,
        ):
            said = dial(folder, running_farm.sip, "echo", 8)
        assert "Call established" in said, said
    assert level_at(heard(folder)[-24_000:-4_000], 700) > 0.9
    ours = [s for s in rtp_streams(trace) if ports[0] <= s.source_port <= ports[1]]
    assert len(ours) == 1, ours  # one SSRC from the first packet to the last
    (stream,) = ours
    print(f"tshark on our stream: {stream}")
    assert stream.packets > 200
    assert stream.lost == 0
    assert stream.problems == ""  # tshark notes wrong sequence numbers and timestamps here
    assert stream.max_delta <= 60 + late.worst_ms  # 30 on an idle machine, printed above


def test_softphone_hears_the_agent(tmp_path: Path) -> None:
    folder = write_softphone(tmp_path / "phone", tone(700, 20, 0.0))
    config = {"stt": {"engine": "pocketsphinx"}}
    with farm(tmp_path, ai=("stt-0", "llm-0", "tts-0"), config=config) as running_farm:
        said = dial(folder, running_farm.sip, "agent", 8)
        assert "Call established" in said, said
    sound = heard(folder).astype(float)
    loud = np.sqrt(np.mean(sound[: len(sound) // 800 * 800].reshape(-1, 800) ** 2, axis=1)) > 300
    assert loud.sum() > 10  # more than a second of speech
