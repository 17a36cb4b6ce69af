"""The edge of deploy/kamailio, booted, between SIPp callers and fronts."""

import shutil
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support import kamailio as edge_support
from tests.support import sipp_calls as sipp
from tests.support.kamailio import kamailio
from tests.support.processes import REPO, free_port, running, wait_until
from tests.support.sip_front import front, headers

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(bool(edge_support.missing()), reason=edge_support.missing()),
    pytest.mark.skipif(bool(sipp.missing()), reason=sipp.missing()),
]

HERE = Path(__file__).parent
CALLER = HERE / "caller.xml"
FRONT = HERE / "front.xml"


def udp_port():
    return free_port(socket.SOCK_DGRAM)


def ask(port, method, to="sip:room-1@127.0.0.1", extra="", from_port=0, timeout_s=2.0):
    """Sends one request and gives the first answer, or nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", from_port))
        own.settimeout(timeout_s)
        me = own.getsockname()[1]
        own.sendto(
            (
                f"{method} {to}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{me};branch=z9hG4bK{me}{method};rport\r\n"
                f"Max-Forwards: 70\r\nFrom: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:b@127.0.0.1>\r\n"
                f"Call-ID: {me}-{time.monotonic_ns()}\r\nCSeq: 1 {method}\r\nContact: <sip:a@127.0.0.1:{me}>\r\n"
                f"{extra}Content-Length: 0\r\n\r\n"
            ).encode(),
            ("127.0.0.1", port),
        )
        try:
            return own.recv(8_192).decode()
        except TimeoutError:
            return ""


def test_front_sees_each_identity_once_when_a_tenant_forges_headers(tmp_path):
    ports = [udp_port(), udp_port()]
    rows = [f"room-{n % 4};stolen-room" for n in range(12)]
    with (
        sipp.called(FRONT, ports[0], tmp_path, "front0"),
        sipp.called(FRONT, ports[1], tmp_path, "front1"),
        kamailio(tmp_path, ports) as edge,
    ):
        wait_until(lambda: all(sipp.received(tmp_path, f"front{i}", "OPTIONS") for i in (0, 1)), what="pings")
        outcome = sipp.call(CALLER, edge.sip_port, rows, tmp_path)
        assert outcome.good, outcome.replies
        invites = [invite for i in (0, 1) for invite in sipp.received(tmp_path, f"front{i}", "INVITE")]
        byes = [bye for i in (0, 1) for bye in sipp.received(tmp_path, f"front{i}", "BYE")]

        assert edge.metric("kamailio_edge_invites", tenant="acme", result="routed") == 12

    assert len(invites) == len(byes) == 12
    assert Counter(headers(invite, "X-Room-ID")[0] for invite in invites) == {
        f"room-{n}": 3 for n in range(4)
    }
    for invite in invites:
        assert len(headers(invite, "X-Room-ID")) == len(headers(invite, "X-Session-ID")) == 1
        assert headers(invite, "X-Tenant-ID") == ["acme"]
        assert "forged" not in invite
        assert "stolen" not in invite
        assert headers(invite, "Record-Route")
    sessions = {headers(invite, "X-Session-ID")[0] for invite in invites}
    assert len(sessions) == 12


def test_calls_of_a_room_go_to_one_front_while_both_live(tmp_path):
    with front(udp_port()) as one, front(udp_port()) as two, kamailio(tmp_path, [one.port, two.port]) as edge:
        assert sipp.call(CALLER, edge.sip_port, [f"room-{n % 8};x" for n in range(24)], tmp_path).good

    homes = [{headers(m, "X-Room-ID")[0] for m in f.requests("INVITE")} for f in (one, two)]
    assert homes[0]
    assert homes[1]
    assert not homes[0] & homes[1]
    assert len(homes[0] | homes[1]) == 8


def test_a_proxy_of_ours_names_room_and_session_and_no_tenant(tmp_path):
    with (
        front(udp_port()) as only,
        kamailio(tmp_path, [only.port], sources=["2 127.0.0.0 8 0 globex"]) as edge,
    ):
        assert sipp.call(CALLER, edge.sip_port, ["100;sales.eu-1", "100;not a room"], tmp_path, per_s=1).good

    good, bad = only.requests("INVITE")
    assert headers(good, "X-Room-ID") == ["sales.eu-1"]
    assert headers(bad, "X-Room-ID") == ["100"]
    for invite in (good, bad):
        assert headers(invite, "X-Session-ID") == ["forged-session"]
        assert headers(invite, "X-Tenant-ID") == ["globex"]
        assert headers(invite, "X-Admin") == ["forged"]


def test_next_front_takes_the_call_when_one_was_killed(tmp_path):
    ports = [udp_port(), udp_port()]
    with (
        sipp.called(FRONT, ports[1], tmp_path, "front1"),
        sipp.called(FRONT, ports[0], tmp_path, "front0") as first,
        kamailio(tmp_path, ports) as edge,
    ):
        wait_until(lambda: all(sipp.received(tmp_path, f"front{i}", "OPTIONS") for i in (0, 1)), what="pings")
        first.kill()
        first.wait(5)
        outcome = sipp.call(CALLER, edge.sip_port, [f"room-{n};x" for n in range(8)], tmp_path)

        assert outcome.good, outcome.replies
        assert len(sipp.received(tmp_path, "front1", "INVITE")) == 8
        assert edge.metric("kamailio_edge_invites", result="failed_over") > 0
        wait_until(lambda: edge.states()[ports[0]].startswith("I"), what="the dead front left out")
        failovers = edge.metric("kamailio_edge_invites", result="failed_over")
        assert sipp.call(
            CALLER, edge.sip_port, [f"room-{n};x" for n in range(8)], tmp_path, name="again"
        ).good
        assert edge.metric("kamailio_edge_invites", result="failed_over") == failovers


def test_next_front_takes_the_call_when_one_sheds(tmp_path):
    with front(udp_port()) as one, front(udp_port()) as two, kamailio(tmp_path, [one.port, two.port]) as edge:
        one.shedding = True
        assert sipp.call(CALLER, edge.sip_port, [f"room-{n};x" for n in range(8)], tmp_path).good
        two.shedding = True
        refused = sipp.call(CALLER, edge.sip_port, ["room-1;x"], tmp_path, name="refused")

        assert not refused.good
        assert "503 No Front" in refused.replies
        assert edge.metric("kamailio_edge_invites", result="all_failed") == 1
        assert one.requests("INVITE")
        assert len({headers(m, "Call-ID")[0] for m in two.requests("INVITE")}) == 9


def test_drained_front_gets_no_new_call_and_keeps_its_running_one(tmp_path):
    with front(udp_port()) as one, front(udp_port()) as two, kamailio(tmp_path, [one.port, two.port]) as edge:
        by_port = {one.port: one, two.port: two}
        words = sipp.command(
            CALLER, udp_port(), tmp_path, "long", "-inf", str(tmp_path / "long.csv"), f"127.0.0.1:{edge.sip_port}",
            "-m", "1", "-d", "6000",
        )  # fmt: skip
        (tmp_path / "long.csv").write_text("SEQUENTIAL\nroom-1;x\n")
        with running(words, cwd=tmp_path) as long_call:
            wait_until(lambda: one.requests("ACK") or two.requests("ACK"), what="the long call")
            home = next(f for f in by_port.values() if f.requests("ACK"))
            other = two if home is one else one
            home.draining = True
            wait_until(lambda: edge.states()[home.port].startswith("I"), what="the drained front left out")
            before = len(home.requests("INVITE"))

            assert sipp.call(CALLER, edge.sip_port, ["room-1;x"] * 5, tmp_path).good

            assert len(home.requests("INVITE")) == before
            assert len(other.requests("INVITE")) == 5
            assert long_call.wait(15) == 0
            assert len(home.requests("BYE")) == 1
        home.draining = False
        wait_until(lambda: edge.states()[home.port].startswith("A"), what="the front back in use")
        assert sipp.call(CALLER, edge.sip_port, ["room-1;x"] * 2, tmp_path, name="back").good
        assert len(home.requests("INVITE")) == before + 2


def test_drained_edge_refuses_new_calls_and_says_so(tmp_path):
    with front(udp_port()) as only, kamailio(tmp_path, [only.port]) as edge:
        assert edge.page("/readyz") == (200, "ok\n")
        assert ask(edge.sip_port, "OPTIONS", "sip:127.0.0.1").startswith("SIP/2.0 200")
        edge.drain(on=True)

        for method, to in (("OPTIONS", "sip:127.0.0.1"), ("INVITE", "sip:room-1@127.0.0.1")):
            answer = ask(edge.sip_port, method, to)
            assert answer.startswith("SIP/2.0 503")
            assert headers(answer, "Retry-After") == ["30"]
        assert edge.page("/readyz")[0] == 503
        assert edge.page("/healthz") == (200, "ok\n")
        edge.drain(on=False)
        assert edge.page("/readyz")[0] == 200
        assert edge.page("/nothing")[0] == 404


def test_tenant_is_held_to_its_calls_per_second(tmp_path):
    env = {"KAM_CPS": "5"}
    with front(udp_port()) as only, kamailio(tmp_path, [only.port], env=env) as edge:
        outcome = sipp.call(CALLER, edge.sip_port, [f"room-{n};x" for n in range(40)], tmp_path, per_s=40)

        assert "503 Too Many Calls" in outcome.replies
        assert edge.metric("kamailio_edge_invites", result="cps_limited") > 10
        assert 1 <= len({headers(m, "Call-ID")[0] for m in only.requests("INVITE")}) < 25


def test_stranger_is_refused_and_a_loud_one_is_not_heard(tmp_path):
    env = {"KAM_FLOOD": "10"}
    with (
        front(udp_port()) as only,
        kamailio(tmp_path, [only.port], sources=["1 192.0.2.0 24 0 acme"], env=env) as edge,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own,
    ):
        assert ask(edge.sip_port, "INVITE").startswith("SIP/2.0 403")
        in_dialog = ask(edge.sip_port, "BYE", extra=f"Route: <sip:127.0.0.1:{only.port};lr>\r\n")
        assert in_dialog.startswith("SIP/2.0 403")
        for _ in range(100):
            own.sendto(b"REGISTER sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx\r\n"
                       b"From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: f\r\nCSeq: 1 REGISTER\r\n"
                       b"Content-Length: 0\r\n\r\n", ("127.0.0.1", edge.sip_port))  # fmt: skip
        wait_until(lambda: edge.metric("kamailio_edge_refused", reason="flood") >= 1, what="the ban")

        assert ask(edge.sip_port, "INVITE", timeout_s=0.5) == ""
        assert only.requests("INVITE") == only.requests("BYE") == []


def test_drain_script_ends_when_the_last_call_has(tmp_path):
    script = REPO / "deploy" / "kamailio" / "drain.sh"
    with front(udp_port()) as only, kamailio(tmp_path, [only.port]) as edge:
        (tmp_path / "long.csv").write_text("SEQUENTIAL\nroom-1;x\n")
        words = sipp.command(
            CALLER, udp_port(), tmp_path, "long", "-inf", str(tmp_path / "long.csv"), f"127.0.0.1:{edge.sip_port}",
            "-m", "1", "-d", "2500",
        )  # fmt: skip
        env = {"KAM_CTL": f"unix:{edge.folder}/ctl", "PATH": "/usr/sbin:/usr/bin:/bin", "DRAIN_POLL_S": "0.2"}
        with running(words, cwd=tmp_path) as long_call:
            wait_until(lambda: only.requests("ACK"), what="the call")
            with running(["/bin/sh", str(script)], env=env) as draining:
                wait_until(lambda: edge.page("/readyz")[0] == 503, what="draining")
                assert draining.poll() is None
                assert long_call.wait(10) == 0
                assert draining.wait(10) == 0
        assert len(only.requests("BYE")) == 1


def test_fronts_script_follows_the_names(tmp_path):
    """A front that has no address is left out, its slot keeps its name; Kamailio is told at once."""
    script = REPO / "deploy" / "kamailio" / "fronts.sh"
    with front(udp_port()) as only, kamailio(tmp_path, [only.port]) as edge:
        env = {
            "KAM_CTL": f"unix:{edge.folder}/ctl", "KAM_DISPATCHER": str(edge.folder / "dispatcher.list"),
            "PATH": "/usr/sbin:/usr/bin:/bin", "FRONTS": f"localhost:{only.port} no-such-front.invalid:5060 127.0.0.1:5062",
        }  # fmt: skip
        subprocess.run(["/bin/sh", str(script), "once"], env=env, check=True, timeout=20)

        assert set(edge.states()) == {only.port, 5062}
        listed = (edge.folder / "dispatcher.list").read_text()
        assert f"1 sip:127.0.0.1:{only.port};transport=udp 0 0 duid=front-0\n" in listed
        assert "duid=front-2" in listed
        assert "invalid" not in listed


def test_edge_boots_without_a_front_and_takes_one_later(tmp_path):
    with kamailio(tmp_path, []) as edge, front(udp_port()) as only:
        assert ask(edge.sip_port, "INVITE").startswith(("SIP/2.0 100", "SIP/2.0 503"))
        edge.set_fronts([only.port])

        assert sipp.call(CALLER, edge.sip_port, ["room-1;x"], tmp_path).good


def test_scripts_are_what_a_plain_shell_reads():
    for name in ("drain.sh", "fronts.sh"):
        subprocess.run(
            [shutil.which("sh") or "sh", "-n", str(REPO / "deploy" / "kamailio" / name)], check=True
        )
