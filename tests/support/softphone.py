"""baresip as a caller: says a WAV file, keeps what it hears. A program of others, with codecs and SRTP of its own."""

import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from tests.support.processes import running

MODULES = Path("/usr/lib/baresip/modules")


@dataclass(frozen=True)
class Line:
    """A codec as baresip calls it, the module that has it, and the audio it works on."""

    codec: str
    module: str
    rate_hz: int
    channels: int = 1
    account: str = ""
    more_modules: tuple[str, ...] = ()
    lines: str = ""

    def missing(self) -> str:
        """Why this machine's baresip cannot do it, or nothing."""
        if not shutil.which("baresip"):
            return "baresip not installed (apt-get install baresip)"
        absent = [name for name in (self.module, *self.more_modules) if not (MODULES / f"{name}.so").exists()]
        return f"baresip has no {absent[0]} module" if absent else ""


PCMU = Line("PCMU/8000/1", "g711", 8_000)
_given: set[int] = set()
"""Ports of softphones that were written here and may not run yet."""


def write_softphone(folder: Path, said: npt.NDArray[np.int16], line: Line = PCMU) -> Path:
    """A configuration of baresip that says `said` (at the line's rate) and dumps what it decodes."""
    folder.mkdir()
    mouth = np.repeat(said[:, None], line.channels, axis=1)
    soundfile.write(folder / "mouth.wav", mouth, line.rate_hz, subtype="PCM_16")
    modules = "".join(f"module {name}.so\n" for name in (line.module, *line.more_modules))
    (folder / "config").write_text(
        f"sip_listen 127.0.0.1:{_sip_port()}\nmodule_path {MODULES}\nmodule stdio.so\n{modules}"
        f"module aufile.so\nmodule aubridge.so\nmodule sndfile.so\nsnd_path {folder}\nmodule uuid.so\n"
        f"module_app account.so\nmodule_app menu.so\n"
        f"audio_player aubridge,ear\naudio_source aufile,{folder}/mouth.wav\naudio_alert nil,nil\n"
        f"ausrc_channels {line.channels}\nauplay_channels {line.channels}\n"
        f"rtp_ports {_rtp_ports()}\nnet_interface 127.0.0.1\n{line.lines}"
    )
    (folder / "accounts").write_text(
        f"<sip:softphone@127.0.0.1>;regint=0;audio_codecs={line.codec};ptime=20{line.account}\n"
    )
    (folder / "contacts").write_text("")
    return folder


def dial(folder: Path, target: str, user: str, seconds: int) -> str:
    """Calls `user`, hangs up after some seconds; baresip's own words."""
    command = ["baresip", "-f", str(folder), "-e", f"/dial sip:{user}@{target}", "-t", str(seconds)]
    log = folder / "baresip.log"
    with running(command, log=log) as process:
        process.wait(seconds + 20)
    return log.read_text(errors="replace")


def heard(folder: Path, line: Line = PCMU) -> npt.NDArray[np.int16]:
    """What baresip's ear recorded, mono."""
    (ear,) = folder.glob("dump-*-dec.wav")
    samples, rate_hz = soundfile.read(ear, dtype="int16", always_2d=True)
    assert rate_hz == line.rate_hz, rate_hz
    mono: npt.NDArray[np.int16] = samples[:, 0]
    return mono


def _rtp_ports() -> str:
    """A range below those of test farms that nobody uses; tests that run side by side start elsewhere."""
    starts = range(8_000, 15_800, 200)
    begin = os.getpid() % len(starts)
    for first in [*starts[begin:], *starts[:begin]]:
        if first not in _given and all(
            _is_free(socket.SOCK_DGRAM, port) for port in range(first, first + 200, 10)
        ):
            _given.add(first)
            return f"{first}-{first + 198}"
    raise AssertionError("no RTP ports for baresip")


def _sip_port() -> int:
    """A port that is free for all that baresip binds: UDP and TCP, and TLS on the next one. Below the ephemeral ports, of
    which any connection may be given one between this look and baresip's start.
    """
    ports = range(5_200, 7_800, 2)
    start = os.getpid() * 20 % len(ports)
    for port in [*ports[start:], *ports[:start]]:
        if port not in _given and all(_is_free(kind, at) for kind, at in _wanted(port)):
            _given.add(port)
            return port
    raise AssertionError("no port for baresip")


def _wanted(port: int) -> tuple[tuple[socket.SocketKind, int], ...]:
    return (socket.SOCK_DGRAM, port), (socket.SOCK_STREAM, port), (socket.SOCK_STREAM, port + 1)


def _is_free(kind: socket.SocketKind, port: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
