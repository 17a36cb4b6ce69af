"""baresip with Opus, G.722, L16 and SRTP calls the farm: what comes back has what only wideband audio has, and what is on the wire
of an encrypted call is no audio.
"""

import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr

from shared.contracts import PcmToStt, decode
from tests.support import capture as tshark
from tests.support.capture import capture
from tests.support.events import finals
from tests.support.farm import farm
from tests.support.processes import wait_until
from tests.support.recordings import recordings
from tests.support.softphone import PCMU, Line, dial, heard, write_softphone

pytestmark = pytest.mark.peers

OPUS = Line("opus/48000/2", "opus", 48_000, channels=2)
OPUS_FEC = Line("opus/48000/2", "opus", 48_000, channels=2, lines="opus_inbandfec yes\nopus_packet_loss 10\n")
"""An Opus encoder that has to find room for the frame before gives up what is above 4 kHz first."""
G722 = Line("G722/16000/1", "g722", 16_000)
L16 = Line("L16/16000/1", "l16", 16_000)
LOW_HZ, HIGH_HZ = 700, 5_500
"""Beyond 4 kHz is what no narrowband codec carries."""
ROUTES = [{"user": "echo", "app": "echo", "record": True}]
CALL_S = 4


def share_at(pcm: npt.NDArray[np.int16], hz: float, rate_hz: int) -> float:
    """Share of the power within 25 Hz, in the better quarters of seconds: a machine that is busy makes some bad ones."""
    size = rate_hz // 4
    windows = pcm[: len(pcm) // size * size].reshape(-1, size).astype(np.float64)
    power = np.abs(np.fft.rfft(windows * np.hanning(size), axis=1)) ** 2
    near = np.abs(np.fft.rfftfreq(size, 1 / rate_hz) - hz) < 25
    shares = power[:, near].sum(axis=1) / np.maximum(power.sum(axis=1), 1e9)
    return float(np.percentile(shares, 75))


def share_above(pcm: npt.NDArray[np.int16], hz: float, rate_hz: int) -> float:
    """Share of the power above a frequency."""
    power = np.abs(np.fft.rfft(pcm.astype(np.float64))) ** 2
    assert power.sum() > 1e6, "silence"
    return float(power[np.fft.rfftfreq(len(pcm), 1 / rate_hz) > hz].sum() / power.sum())


def two_tones(rate_hz: int, seconds: int = 20) -> npt.NDArray[np.int16]:
    at = np.arange(rate_hz * seconds) / rate_hz
    return (6_000 * (np.sin(2 * np.pi * LOW_HZ * at) + np.sin(2 * np.pi * HIGH_HZ * at))).astype(np.int16)


def middle(pcm: npt.NDArray[np.int16], rate_hz: int) -> npt.NDArray[np.int16]:
    """The call without its first second and its end."""
    return pcm[rate_hz : -rate_hz // 2]


def recording(directory: Path) -> tuple[npt.NDArray[np.int16], int]:
    """What the media worker recorded: caller left, we right."""
    found: list[Path] = []

    def is_there() -> bool:
        found[:] = directory.rglob("*.wav")
        return len(found) == 1 and not list(directory.rglob("*.part*"))

    wait_until(is_there, 20, "the recording")
    samples, rate_hz = soundfile.read(found[0], dtype="int16", always_2d=True)
    return samples, rate_hz


@pytest.mark.parametrize("line", [OPUS, OPUS_FEC, G722, L16], ids=["opus", "opus-fec", "g722", "l16"])
def test_wideband_call_carries_what_is_above_4_khz_both_ways(tmp_path: Path, line: Line) -> None:
    if line.missing():
        pytest.skip(line.missing())
    folder = write_softphone(tmp_path / "phone", two_tones(line.rate_hz), line)
    with farm(tmp_path, config={"routes": ROUTES}) as running_farm:
        said = dial(folder, running_farm.sip, "echo", CALL_S)
        assert "Call established" in said, said
        recorded, rate_hz = recording(tmp_path / "rec")
    assert rate_hz == 16_000
    to_farm, from_farm = recorded[:, 0], recorded[:, 1]
    came_back = heard(folder, line)
    shares = [
        share_at(middle(pcm, hz), HIGH_HZ, hz)
        for pcm, hz in ((to_farm, rate_hz), (from_farm, rate_hz), (came_back, line.rate_hz))
    ]
    print(
        f"{line.codec}: share of the power at {HIGH_HZ} Hz: heard by us, sent by us, heard by baresip: {shares}"
    )
    assert min(shares) > 0.35, shares
    assert share_at(middle(came_back, line.rate_hz), LOW_HZ, line.rate_hz) > 0.35


def test_caller_is_understood_over_a_wideband_line(tmp_path: Path) -> None:
    """16 kHz from the codec to the recogniser: the stream of the STT worker says at what rate it got the words."""
    if G722.missing():
        pytest.skip(G722.missing())
    text, sound = next(iter(recordings().items()))
    loud = soxr.resample(sound, 8_000, G722.rate_hz)
    quiet = np.zeros(G722.rate_hz, np.int16)
    folder = write_softphone(tmp_path / "phone", np.concatenate([quiet, quiet, loud, *[quiet] * 20]), G722)
    config = {"stt": {"engine": "pocketsphinx"}, "ops": {"events_linger_s": 60}}
    with farm(tmp_path, ai=("stt-0",), config=config) as running_farm, running_farm.redis() as client:
        said = dial(folder, running_farm.sip, "transcribe", 5 + len(sound) // 8_000)
        assert "Call established" in said, said
        (log,) = client.keys("vf:call:*:events")
        call_id = log.decode().split(":")[2]
        assert finals(client, call_id) == [text]
        (stream,) = client.keys("vf:pcm:stt-0.*")
        entries = [decode(fields[b"m"]) for _, fields in client.xrange(stream)]
    assert {entry.rate_hz for entry in entries if isinstance(entry, PcmToStt)} == {16_000}


@pytest.mark.parametrize("line", [OPUS, G722], ids=["opus", "g722"])
def test_agent_speaks_with_all_the_width_of_the_line(tmp_path: Path, line: Line) -> None:
    """The hiss of an s is above 4 kHz: synthesised at 16 kHz it is there, brought up from 8 kHz it would not be."""
    if line.missing():
        pytest.skip(line.missing())
    folder = write_softphone(tmp_path / "phone", np.zeros(line.rate_hz * 20, np.int16), line)
    config = {"stt": {"engine": "pocketsphinx"}}
    with farm(tmp_path, ai=("stt-0", "llm-0", "tts-0"), config=config) as running_farm:
        said = dial(folder, running_farm.sip, "agent", 5)
    assert "Call established" in said, said
    share = share_above(heard(folder, line), 4_200, line.rate_hz)
    print(f"{line.codec}: {10 * np.log10(max(share, 1e-12)):.1f} dB of the agent's voice above 4.2 kHz")
    assert share > 1e-3


@pytest.mark.parametrize(
    ("line", "hz"),
    [
        (Line("PCMU/8000/1", "g711", 8_000, account=";mediaenc=srtp-mand", more_modules=("srtp",)), LOW_HZ),
        (Line("opus/48000/2", "opus", 48_000, 2, ";mediaenc=srtp-mand", ("srtp",)), HIGH_HZ),
    ],
    ids=["pcmu", "opus"],
)
@pytest.mark.skipif(bool(tshark.missing()), reason=tshark.missing())
def test_encrypted_call_is_heard_by_both_and_by_nobody_between(tmp_path: Path, line: Line, hz: int) -> None:
    if line.missing():
        pytest.skip(line.missing())
    folder = write_softphone(tmp_path / "phone", two_tones(line.rate_hz), line)
    with farm(tmp_path, config={"sip": {"srtp": "required"}, "routes": ROUTES}) as running_farm:
        ports = running_farm.rtp_range
        with capture(tmp_path / "call.pcapng", f"portrange {ports[0]}-{ports[1]}") as trace:
            said = dial(folder, running_farm.sip, "echo", CALL_S)
        assert "Call established" in said, said
        refusals = running_farm.get("media-0", "/metrics")
    assert share_at(middle(heard(folder, line), line.rate_hz), hz, line.rate_hz) > 0.35
    assert 'reason="srtp' not in refusals or refused(refusals) == 0, refusals
    packets = payloads(trace)
    assert len(packets) > 300
    # A cipher's octets are all equally likely; 80,000 of them have 7.99 bits of entropy, a tone by G.711 has less than 7.
    octets = np.frombuffer(b"".join(packets), np.uint8)
    likely = np.bincount(octets, minlength=256) / len(octets)
    entropy = -float(np.sum(likely[likely > 0] * np.log2(likely[likely > 0])))
    print(f"{line.codec}: {entropy:.3f} bits per octet on the wire")
    assert entropy > 7.95


def test_call_without_keys_is_refused_where_they_are_required(tmp_path: Path) -> None:
    if PCMU.missing():
        pytest.skip(PCMU.missing())
    folder = write_softphone(tmp_path / "phone", two_tones(8_000))
    with farm(tmp_path, config={"sip": {"srtp": "required"}}) as running_farm:
        said = dial(folder, running_farm.sip, "echo", 3)
    assert "Call established" not in said, said
    assert "488" in said, said


def payloads(trace: Path) -> list[bytes]:
    """What is behind the RTP header of every packet with audio, in both directions."""
    command = ["tshark", "-r", str(trace), "-T", "fields", "-e", "udp.payload", "-Y", "udp.length > 60"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    packets = [bytes.fromhex(line) for line in text.split()]
    return [packet[12:] for packet in packets if packet[1] & 0x7F < 64 or packet[1] & 0x7F > 95]


def refused(metrics: str) -> float:
    """Packets that failed authentication, by the worker's own count."""
    lines = (line for line in metrics.splitlines() if 'reason="srtp' in line and not line.startswith("#"))
    return sum(float(line.rpartition(" ")[2]) for line in lines)
