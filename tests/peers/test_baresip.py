"""baresip, a softphone of others, calls the farm; tshark judges what we send."""

import contextlib
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support import capture as tshark
from tests.support.capture import capture, rtp_streams
from tests.support.farm import Farm, farm
from tests.support.phone import level_at, tone
from tests.support.processes import free_port, running

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not shutil.which("baresip"), reason="baresip not installed (apt-get install baresip)"),
    pytest.mark.skipif(bool(tshark.missing()), reason=tshark.missing()),
]

MODULES = Path("/usr/lib/baresip/modules")


def both_free() -> int:
    """A port free for UDP and TCP: baresip binds both."""
    while True:
        port = free_port()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def write_softphone(folder: Path, *, level: float) -> Path:
    """A configuration of baresip that plays a tone and dumps what it decodes."""
    folder.mkdir()
    soundfile.write(folder / "mouth.wav", tone(700, 20, level), 8_000, subtype="PCM_16")
    (folder / "config").write_text(
        f"sip_listen 127.0.0.1:{both_free()}\nmodule_path {MODULES}\nmodule stdio.so\nmodule g711.so\n"
        f"module aufile.so\nmodule aubridge.so\nmodule sndfile.so\nsnd_path {folder}\nmodule uuid.so\nmodule_app account.so\nmodule_app menu.so\n"
        f"audio_player aubridge,ear\naudio_source aufile,{folder}/mouth.wav\naudio_alert nil,nil\n"
        f"audio_channels 1-1\nsamplerate 8000\nrtp_ports 12000-12500\nnet_interface 127.0.0.1\n"
    )
    (folder / "accounts").write_text("<sip:softphone@127.0.0.1>;regint=0;audio_codecs=PCMU/8000/1;ptime=20\n")
    (folder / "contacts").write_text("")
    return folder


def dial(folder: Path, running_farm: Farm, user: str, seconds: int) -> str:
    """Calls `user`, hangs up after some seconds; baresip's own words."""
    command = ["baresip", "-f", str(folder), "-e", f"/dial sip:{user}@{running_farm.sip}", "-t", str(seconds)]
    log = folder / "baresip.log"
    with running(command, log=log) as process:
        process.wait(seconds + 20)
    return log.read_text(errors="replace")


def heard(folder: Path) -> np.ndarray:
    """What baresip's ear recorded."""
    (ear,) = folder.glob("dump-*-dec.wav")
    samples, rate = soundfile.read(ear, dtype="int16")
    assert rate == 8_000
    return samples


def test_softphone_hears_its_echo_and_our_stream_is_clean(tmp_path: Path) -> None:
    folder = write_softphone(tmp_path / "phone", level=0.3)
    with farm(tmp_path) as running_farm:
        ports = running_farm.rtp_range
        with capture(tmp_path / "call.pcapng", f"portrange {ports[0]}-{ports[1]}") as trace:
            said = dial(folder, running_farm, "echo", 8)
        assert "Call established" in said, said
    assert level_at(heard(folder)[-24_000:-4_000], 700) > 0.9
    ours = [s for s in rtp_streams(trace) if ports[0] <= s.source_port <= ports[1]]
    assert len(ours) == 1, ours  # one SSRC from the first packet to the last
    (stream,) = ours
    print(f"tshark on our stream: {stream}")
    assert stream.packets > 200
    assert stream.lost == 0
    assert stream.problems == ""  # tshark notes wrong sequence numbers and timestamps here
    assert stream.max_delta <= 60  # 30 on an idle machine, printed above; a busy test machine pauses


def test_softphone_hears_the_agent(tmp_path: Path) -> None:
    folder = write_softphone(tmp_path / "phone", level=0.0)
    config = {"stt": {"engine": "pocketsphinx"}}
    with farm(tmp_path, ai=("stt-0", "llm-0", "tts-0"), config=config) as running_farm:
        said = dial(folder, running_farm, "agent", 8)
        assert "Call established" in said, said
    sound = heard(folder).astype(float)
    loud = np.sqrt(np.mean(sound[: len(sound) // 800 * 800].reshape(-1, 800) ** 2, axis=1)) > 300
    assert loud.sum() > 10  # more than a second of speech
