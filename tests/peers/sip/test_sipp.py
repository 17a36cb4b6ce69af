"""SIPp calls a real front process (with a media worker that has no media): one scenario per thing callers do.

Scenarios are written here from parts; SIPp plays them and judges every message against them. The front and its worker
live for the whole file; after every scenario nothing of the call may be left.
"""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from shared.contracts import MediaClose, MediaOpen, MediaUpdate
from tests.support.front_process import RunningFront, front_process
from tests.support.media_standin import MediaStandIn, media_standin
from tests.support.processes import redis_server, wait_until

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not shutil.which("sipp"), reason="install SIPp: apt-get install sip-tester"),
]

SDP = """v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio 6000 RTP/AVP 0 101
a=rtpmap:101 telephone-event/8000
"""


def message(
    start: str,
    cseq: str,
    body: str = "",
    extra: str = "",
    to: str = "[peer_tag_param]",
    branch: str = "[branch]",
):
    """A request in SIPp's notation."""
    lines = [
        f"{start} SIP/2.0", f"Via: SIP/2.0/UDP [local_ip]:[local_port];branch={branch}",
        "From: sipp <sip:sipp@[local_ip]:[local_port]>;tag=[pid]T[call_number]",
        f"To: <sip:[service]@[remote_ip]:[remote_port]>{to}", "Call-ID: [call_id]", f"CSeq: {cseq}",
        "Contact: <sip:sipp@[local_ip]:[local_port]>", "Max-Forwards: 70",
    ]  # fmt: skip
    lines += [extra] if extra else []
    lines += ["Content-Type: application/sdp"] if body else []
    return "\n".join([*lines, "Content-Length: [len]", "", body])


URI = "sip:[service]@[remote_ip]:[remote_port]"


def send(text: str, retrans: bool = False) -> str:
    attribute = ' retrans="500"' if retrans else ""
    return f"<send{attribute}><![CDATA[\n{text}]]></send>\n"


def receive(code: int, optional: bool = False, rrs: bool = False) -> str:
    attributes = (' optional="true"' if optional else "") + (' rrs="true"' if rrs else "")
    return f'<recv response="{code}"{attributes}/>\n'


def pause(ms: int) -> str:
    return f'<pause milliseconds="{ms}"/>\n'


INVITE = send(message(f"INVITE {URI}", "1 INVITE", SDP, to=""), retrans=True)
TRYING = receive(100)
OK = receive(200, rrs=True)
ACK = send(message("ACK [next_url]", "1 ACK"))
FAILURE_ACK = send(message(f"ACK {URI}", "1 ACK", branch="[branch-2]"))
BYE = send(message("BYE [next_url]", "2 BYE"), retrans=True)
TAKE_BYE = """<recv request="BYE"/>
<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
"""
CALL_UP = INVITE + TRYING + OK + ACK
HANG_UP = BYE + receive(200)


def refused(code: int, body: str = SDP, extra: str = "") -> str:
    """An INVITE that is answered with a failure, which is acknowledged."""
    invite = message(f"INVITE {URI}", "1 INVITE", body, to="", extra=extra)
    ack = message(f"ACK {URI}", "1 ACK", branch="[branch-2]")
    return send(invite, retrans=True) + receive(code) + send(ack)


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningFront, MediaStandIn, str]]:
    folder = tmp_path_factory.mktemp("sipp")
    with (
        redis_server() as url,
        front_process(url, folder, sip__media_answer_timeout_s=0.4) as front,
        media_standin(front.config) as worker,
    ):
        options = send(message(f"OPTIONS {URI}", "1 OPTIONS", to="")) + receive(200)
        wait_until(lambda: sipp(front, folder, options).returncode == 0, what="the front sees the worker")
        yield front, worker, url


def sipp(
    front: RunningFront, folder: Path, scenario: str, user: str = "echo", calls: int = 1, *options: str
) -> subprocess.CompletedProcess[str]:
    path = folder / "scenario.xml"
    path.write_text(
        f'<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="t">\n{scenario}</scenario>\n'
    )
    command = [
        "sipp", f"127.0.0.1:{front.sip_port}", "-sf", str(path), "-s", user, "-i", "127.0.0.1", "-m", str(calls),
        "-nostdin", "-timeout", "45", "-timeout_error", "-trace_err", "-error_file", str(folder / "errors.log"),
        *options,
    ]  # fmt: skip
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=70, check=False)


def play(
    farm, folder: Path, scenario: str, user: str = "echo", calls: int = 1, options: tuple[str, ...] = ()
) -> None:
    """SIPp must be content, and afterwards nothing may be left of the calls."""
    front, worker, url = farm
    done = sipp(front, folder, scenario, user, calls, *options)
    errors = folder / "errors.log"
    assert done.returncode == 0, errors.read_text() if errors.exists() else done.stdout[-2_000:]
    wait_until(lambda: not front.calls() and front.metric("voicefarm_calls_active") == 0, 40, "calls gone")
    with redis.Redis.from_url(url) as client:
        left = [key for key in client.keys("vf:call:*") + client.keys("vf:room:*") if b":events" not in key]
        assert left == []
    assert not worker.open


def test_call_answered_acknowledged_and_hung_up(farm, tmp_path):
    play(farm, tmp_path, CALL_UP + pause(100) + HANG_UP)
    assert farm[1].of(MediaClose)[-1].reason == "bye"


def test_thirty_calls_at_once_leave_nothing(farm, tmp_path):
    play(farm, tmp_path, CALL_UP + pause(500) + HANG_UP, calls=30, options=("-r", "30"))


RAW = ("-nr",)
"""Without SIPp's own retransmissions, which also hide what it has seen before."""


def test_invite_retransmitted_is_one_call(farm, tmp_path):
    before = len(farm[1].of(MediaOpen))
    same = message(f"INVITE {URI}", "1 INVITE", SDP, to="", branch="z9hG4bK-same-[call_number]-[pid]")
    scenario = send(same) + TRYING + OK + send(same) + pause(200) + ACK + pause(100) + HANG_UP
    play(farm, tmp_path, scenario, options=RAW)
    assert len(farm[1].of(MediaOpen)) == before + 1


def test_cancel_while_the_leg_opens(farm, tmp_path):
    front, worker, _ = farm
    cancel = message(f"CANCEL {URI}", "1 CANCEL", to="", branch="[branch-3]")
    scenario = INVITE + TRYING + pause(150) + send(cancel, retrans=True) + receive(200) + receive(487)
    scenario += send(message(f"ACK {URI}", "1 ACK", branch="[branch-6]"))
    worker.silent = True
    try:
        done = sipp(front, tmp_path, scenario)
        wait_until(lambda: worker.of(MediaClose)[-1].reason == "cancel")
    finally:
        worker.silent = False
    assert done.returncode == 0, done.stdout[-2_000:]
    wait_until(lambda: front.metric("voicefarm_calls_active") == 0, what="released by the front")


def test_failure_is_repeated_until_its_ack(farm, tmp_path):
    invite = send(message(f"INVITE {URI}", "1 INVITE", SDP, to=""))
    ack = send(message(f"ACK {URI}", "1 ACK", branch="[branch-4]"))
    scenario = invite + receive(404) * 3 + ack + pause(2_500)  # one more would fail the call
    play(farm, tmp_path, scenario, user="nobody", options=RAW)


def test_200_is_repeated_until_the_ack(farm, tmp_path):
    scenario = INVITE + TRYING + receive(200) + receive(200) + OK + ACK + pause(2_500) + HANG_UP
    play(farm, tmp_path, scenario, options=RAW)


def test_call_that_is_never_hung_up_is_ended_by_us(farm, tmp_path):
    front, worker, _ = farm
    before = len(worker.of(MediaOpen))

    def end() -> None:
        opened = wait_until(lambda: worker.of(MediaOpen)[before:])[0]
        wait_until(lambda: any(row["signalling"] == "confirmed" for row in front.calls()))
        worker.end_call(opened.call_id, opened.reply_to)

    thread = threading.Thread(target=end)
    thread.start()
    play(farm, tmp_path, CALL_UP + TAKE_BYE)
    thread.join()


def test_no_ack_ends_the_call_with_bye(farm, tmp_path):
    play(farm, tmp_path, INVITE + TRYING + OK + TAKE_BYE)
    assert farm[1].of(MediaClose)[-1].reason == "no_ack"


def test_codec_we_do_not_have_is_488(farm, tmp_path):
    play(farm, tmp_path, refused(488, SDP.replace("RTP/AVP 0 101", "RTP/AVP 4 18")))


def test_secure_profile_is_488(farm, tmp_path):
    play(farm, tmp_path, refused(488, SDP.replace("RTP/AVP", "RTP/SAVP")))


def test_malformed_sdp_is_400(farm, tmp_path):
    play(farm, tmp_path, refused(400, SDP.replace("m=audio 6000", "m=audio sixty")))


def test_required_extension_is_420(farm, tmp_path):
    invite = message(f"INVITE {URI}", "1 INVITE", SDP, to="", extra="Require: 100rel")
    play(farm, tmp_path, send(invite) + receive(420) + FAILURE_ACK)


def test_hold_and_resume(farm, tmp_path):
    before = len(farm[1].of(MediaUpdate))
    hold = message("INVITE [next_url]", "2 INVITE", SDP + "a=sendonly\n")
    resume = message("INVITE [next_url]", "3 INVITE", SDP)
    scenario = CALL_UP + send(hold, retrans=True) + receive(200) + send(message("ACK [next_url]", "2 ACK"))
    scenario += send(resume, retrans=True) + receive(200) + send(message("ACK [next_url]", "3 ACK"))
    scenario += send(message("BYE [next_url]", "4 BYE"), retrans=True) + receive(200)
    play(farm, tmp_path, scenario)
    directions = [update.format.direction for update in farm[1].of(MediaUpdate)[before:]]
    assert directions == ["recvonly", "sendrecv"]


def test_refused_reinvite_keeps_the_call(farm, tmp_path):
    bad = message("INVITE [next_url]", "2 INVITE", SDP.replace("RTP/AVP 0 101", "RTP/AVP 18"))
    scenario = CALL_UP + send(bad, retrans=True) + receive(488)
    scenario += send(message("ACK [next_url]", "2 ACK", branch="[branch-2]")) + pause(100)
    play(farm, tmp_path, scenario + send(message("BYE [next_url]", "3 BYE"), retrans=True) + receive(200))


def test_late_offer(farm, tmp_path):
    invite = send(message(f"INVITE {URI}", "1 INVITE", to=""), retrans=True)
    play(
        farm,
        tmp_path,
        invite + TRYING + OK + send(message("ACK [next_url]", "1 ACK", SDP)) + pause(100) + HANG_UP,
    )


def test_options_tells_the_load(farm, tmp_path):
    check = '<recv response="200"><action><ereg regexp="[0-9]+/100" search_in="hdr" header="X-Farm-Load:" check_it="true" '
    scenario = (
        send(message(f"OPTIONS {URI}", "1 OPTIONS", to="")) + check + 'assign_to="1"/></action></recv>\n'
    )
    play(farm, tmp_path, scenario + '<Reference variables="1"/>\n')


def test_call_id_of_ours_is_told(farm, tmp_path):
    check = '<recv response="200" rrs="true"><action><ereg regexp="[0-9a-f]+" search_in="hdr" header="X-Call-ID:" '
    scenario = INVITE + TRYING + check + 'check_it="true" assign_to="1"/></action></recv>\n' + ACK + HANG_UP
    play(farm, tmp_path, scenario + '<Reference variables="1"/>\n')


def test_info_in_a_call(farm, tmp_path):
    info = send(message("INFO [next_url]", "2 INFO"), retrans=True) + receive(200)
    bye = send(message("BYE [next_url]", "3 BYE"), retrans=True) + receive(200)
    play(farm, tmp_path, CALL_UP + info + bye)


def test_bye_repeated_is_answered_again(farm, tmp_path):
    bye = message("BYE [next_url]", "2 BYE", branch="z9hG4bK-bye-[call_number]-[pid]")
    play(farm, tmp_path, CALL_UP + (send(bye) + receive(200)) * 2, options=RAW)


def test_bye_without_dialog_is_481(farm, tmp_path):
    play(farm, tmp_path, send(message(f"BYE {URI}", "1 BYE", to=";tag=nobody")) + receive(481))


def test_method_we_do_not_serve_is_405(farm, tmp_path):
    play(farm, tmp_path, send(message(f"REGISTER {URI}", "1 REGISTER", to="")) + receive(405))


def test_front_stayed_without_unforeseen_errors(farm):
    page = farm[0].get("/metrics")[1]
    assert "voicefarm_task_errors_total{" not in page
    assert b"Traceback" not in farm[0].log.read_bytes()
