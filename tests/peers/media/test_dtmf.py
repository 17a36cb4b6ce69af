"""Telephone events as other people's programs see and make them: ours read by tshark, SIPp's told by the farm."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from mediaworker.core.dtmf.sender import Style
from mediaworker.core.engine import Engine
from tests.support.engine_caller import Caller, leg_setup

pytestmark = pytest.mark.peers

EVENTS = 101
PORT = 20_904


def pcap(path: Path, packets: list[tuple[float, bytes]]) -> None:
    """UDP datagrams as a capture of raw IPv4 packets."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101))
        for at_s, data in packets:
            udp = struct.pack("!HHHH", PORT, PORT, 8 + len(data), 0) + data
            ip = struct.pack(
                "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1"
            )
            whole = ip + udp
            file.write(struct.pack("<IIII", int(at_s), int(at_s % 1 * 1e6), len(whole), len(whole)) + whole)


@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark not installed (apt-get install tshark)")
def test_tshark_reads_the_keys_we_press(tmp_path: Path):
    leg = Caller(Engine(1, seed=1, phases=1), leg_setup(dtmf_payload_type=EVENTS))
    leg.tick(3)
    leg.engine.keys.press(leg.row, "1*D!", Style(duration_ms=60, gap_ms=80, level_dbm0=-13))
    packets = []
    for _ in range(40):
        before = len(leg.sent)
        leg.tick()
        sent = leg.sent[before:] + [packet.data for packet in leg.engine.loose()]
        packets += [(leg.now_ns / 1e9, data) for data in sent]
    pcap(tmp_path / "keys.pcap", packets)
    fields = ("event_id", "end_of_event", "volume", "duration")
    command = [
        "tshark", "-r", str(tmp_path / "keys.pcap"), "-d", f"udp.port=={PORT},rtp",
        "-o", f"rtpevent.event_payload_type_value:{EVENTS}", "-Y", "rtpevent", "-T", "fields",
        *(part for name in fields for part in ("-e", f"rtpevent.{name}")), "-e", "rtp.marker", "-e", "rtp.seq",
    ]  # fmt: skip
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    reports = [line.split("\t") for line in text.splitlines()]
    assert [report[0] for report in reports] == [event for event in ("1", "10", "15", "16") for _ in range(5)]
    assert [report[1].lower() in {"1", "true"} for report in reports] == 4 * [False, False, True, True, True]
    assert {report[2] for report in reports} == {"13"}
    assert [int(report[3]) for report in reports] == 4 * [160, 320, 480, 480, 480]
    assert [report[4].lower() in {"1", "true"} for report in reports] == 4 * [
        True,
        False,
        False,
        False,
        False,
    ]
