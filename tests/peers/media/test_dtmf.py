"""Telephone events as other people's programs see and make them: ours read by tshark, SIPp's told by the farm."""

import re
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from mediaworker.core.dtmf.sender import Style
from mediaworker.core.engine import Engine
from tests.support.engine_caller import Caller, leg_setup
from tests.support.events import call_events
from tests.support.farm import farm
from tests.support.processes import free_port, wait_until

pytestmark = pytest.mark.peers

EVENTS = 101
PORT = 20_904
SIPP_MEDIA_PORT = 20_950
"""No other test uses them; below the ephemeral range."""

REQUEST = """{method} sip:conf1@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: sipp <sip:sipp@[local_ip]:[local_port]>;tag=[pid]T[call_number]
To: <sip:conf1@[remote_ip]:[remote_port]>{to}
Call-ID: [call_id]
CSeq: {cseq}
Contact: <sip:sipp@[local_ip]:[local_port]>
Max-Forwards: 70
{more}Content-Length: [len]

"""
OFFER = """v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0 96
a=rtpmap:96 telephone-event/8000
a=fmtp:96 0-15
"""
"""SIPp sends its keys with payload type 96."""


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


def may_send_raw() -> bool:
    """SIPp writes its keys to a raw socket."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP).close()
    except PermissionError:
        return False
    return True


def scenario(keys: str) -> str:
    """A call that presses keys and hangs up."""
    invite = (
        REQUEST.format(method="INVITE", to="", cseq="1 INVITE", more="Content-Type: application/sdp\n")
        + OFFER
    )
    ack = REQUEST.format(method="ACK", to="[peer_tag_param]", cseq="1 ACK", more="")
    bye = REQUEST.format(method="BYE", to="[peer_tag_param]", cseq="2 BYE", more="")
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<scenario name="keys">
<send retrans="500"><![CDATA[\n{invite}]]></send>
<recv response="100" optional="true"/>
<recv response="180" optional="true"/>
<recv response="200"/>
<send><![CDATA[\n{ack}]]></send>
<nop><action><exec play_dtmf="{keys}"/></action></nop>
<pause milliseconds="{600 * len(keys) + 1_000}"/>
<send retrans="500"><![CDATA[\n{bye}]]></send>
<recv response="200"/>
</scenario>
"""


@pytest.mark.skipif(not shutil.which("sipp"), reason="sipp not installed (apt-get install sip-tester)")
@pytest.mark.skipif(not may_send_raw(), reason="no right to raw sockets, which SIPp plays keys through")
def test_keys_that_sipp_presses_are_told(tmp_path: Path):
    (tmp_path / "keys.xml").write_text(scenario("159#"))
    with farm(tmp_path) as running:
        words = [
            "sipp", "-sf", str(tmp_path / "keys.xml"), "-i", "127.0.0.1", "-p", str(free_port(socket.SOCK_DGRAM)),
            "-mi", "127.0.0.1", "-mp", str(SIPP_MEDIA_PORT), "-nostdin", "-m", "1", "-timeout", "30s",
            "-trace_msg", "-message_file", str(tmp_path / "sipp.msg"), running.sip,
        ]  # fmt: skip
        done = subprocess.run(words, capture_output=True, cwd=tmp_path, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        found = re.search(r"(?i)x-call-id: (\S+)", (tmp_path / "sipp.msg").read_text())
        assert found
        with running.redis() as client:
            told = [event.data for event in call_events(client, found[1], "dtmf")]
        assert [(key["digit"], key["source"]) for key in told] == [(digit, "rfc4733") for digit in "159#"]
        assert {key["duration_ms"] for key in told} == {200}
        counted = 'voicefarm_dtmf_total{source="rfc4733"}'
        wait_until(lambda: running.metric("media-0", counted) == 4, what=counted)
