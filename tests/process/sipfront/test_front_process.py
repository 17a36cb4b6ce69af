"""A real front process, a real Redis, a media worker without media."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from shared.contracts import MediaClose, MediaOpen, MediaStart, MediaUpdate
from tests.support.front_process import RunningFront, front_process
from tests.support.media_standin import MediaStandIn, media_standin
from tests.support.processes import REPO, answers, free_port, redis_command, running, stop, wait_until
from tests.support.sip_messages import Caller, UdpPeer, offer, reply

pytestmark = pytest.mark.process


@pytest.fixture
def front(redis_url: str, tmp_path: Path) -> Iterator[RunningFront]:
    with front_process(redis_url, tmp_path, sip__media_answer_timeout_s=0.5, sip__retry_after_s=7) as process:
        yield process


@pytest.fixture
def media(front: RunningFront) -> Iterator[MediaStandIn]:
    with media_standin(front.config) as worker:
        wait_until(lambda: options(front).code == 200, what="the front sees the media worker")
        yield worker


def options(front: RunningFront):
    with UdpPeer(front.sip_port) as peer:
        peer.send(Caller(port=peer.port, number="opt").request("OPTIONS"))
        return peer.until(200, 503)


def call_up(front: RunningFront, peer: UdpPeer, number: str = "1", headers: str = "", user: str = "echo"):
    caller = Caller(port=peer.port, number=number, user=user)
    peer.send(caller.invite(headers=headers))
    assert peer.until(100).code == 100
    answer = peer.until(200, 404, 488, 503)
    if answer.code == 200:
        caller.answered(answer)
        peer.send(caller.ack())
    return caller, answer


def leftovers(url: str, worker: MediaStandIn) -> list[str]:
    """Keys that belong to a call or a reservation; free ports must all be there."""
    with redis.Redis.from_url(url) as client:
        keys = [key.decode() for key in client.keys("vf:*")]
        left = [
            key
            for key in keys
            if key.startswith(("vf:call:", "vf:room:", "vf:load:")) and ":events" not in key
        ]
        ports = client.lrange(f"vf:ports:{worker.worker_id}", 0, -1)
    assert len(ports) == len(set(ports))
    return left + ([] if len(ports) == len(worker._ports) else [f"{len(ports)} ports"])


def test_call_goes_through_and_leaves_nothing_when_the_caller_hangs_up(front, media, redis_url):
    headers = "X-Room-ID: evil\r\nX-Room-ID: lobby\r\nX-Session-ID: s1\r\nX-Tenant-ID: acme\r\n"
    with UdpPeer(front.sip_port) as peer:
        caller, answer = call_up(front, peer, headers=headers)
        opened = wait_until(lambda: media.of(MediaOpen))[0]
        assert (opened.room_id, opened.session_id, opened.tenant) == ("lobby", "s1", "acme")
        assert (opened.format.codec, opened.format.payload_type, opened.format.dtmf_payload_type) == (
            "PCMA",
            8,
            96,
        )
        assert f"m=audio {opened.rtp_port} RTP/AVP 8 96" in answer.body
        assert answer.header("X-Call-ID") == opened.call_id
        wait_until(lambda: media.of(MediaStart))
        [row] = front.calls()
        assert (row["call_id"], row["signalling"], row["state"]) == (opened.call_id, "confirmed", "answered")
        assert json.loads(front.get(f"/calls/{opened.call_id}")[1])["room_id"] == "lobby"
        peer.send(caller.bye())
        assert peer.until(200).header("CSeq") == "2 BYE"
    [closed] = wait_until(lambda: media.of(MediaClose))
    assert closed.reason == "bye"
    wait_until(lambda: not leftovers(redis_url, media), what="nothing left")
    assert front.get(f"/calls/{opened.call_id}")[0] == 404
    assert front.metric('voicefarm_calls_total{result="bye"}') == 1
    assert front.metric('voicefarm_sip_responses_total{code="200"}') == 1
    assert front.metric("voicefarm_sip_dialogs") == 0


def test_hold_reaches_the_media_worker_before_it_is_accepted(front, media):
    with UdpPeer(front.sip_port) as peer:
        caller, _ = call_up(front, peer)
        caller.cseq = 2
        peer.send(caller.invite(body=offer(c="IN IP4 0.0.0.0")))
        answer = peer.until(200)
        assert "a=recvonly" in answer.body
        assert media.of(MediaUpdate)[0].format.direction == "recvonly"
        peer.send(caller.ack())
        media.refuse_updates = True
        caller.cseq = 3
        peer.send(caller.invite())
        refused = peer.until(500)
        peer.send(caller.failure_ack(refused))
        peer.send(caller.bye())
        peer.until(200)


def test_refused_open_gives_everything_back(front, media, redis_url):
    media.refuse = ["draining"]
    with UdpPeer(front.sip_port) as peer:
        caller, answer = call_up(front, peer)
        assert (answer.code, answer.header("Retry-After")) == (503, "7")
        peer.send(caller.failure_ack(answer))
    wait_until(lambda: leftovers(redis_url, media) == [f"{len(media._ports) - 1} ports"])


def test_busy_port_is_replaced_by_another_and_three_are_enough(front, media):
    media.refuse = ["port_busy"]
    with UdpPeer(front.sip_port) as peer:
        _, answer = call_up(front, peer)
        assert answer.code == 200
        first, second = [opened.rtp_port for opened in media.of(MediaOpen)]
        assert first != second
        media.refuse = ["port_busy"] * 3
        _, answer = call_up(front, peer, number="2")
        assert answer.code == 503
        assert len(media.of(MediaOpen)) == 5


def test_silent_worker_costs_a_503_and_is_released_by_the_front(front, media, redis_url):
    media.silent = True
    with UdpPeer(front.sip_port) as peer:
        _, answer = call_up(front, peer)
        assert answer.code == 503
    assert wait_until(lambda: media.of(MediaClose))[0].reason == "setup_failed"
    with redis.Redis.from_url(redis_url) as client:
        wait_until(lambda: not client.keys("vf:load:*"), 20, "the front released")
    wait_until(lambda: front.metric("voicefarm_calls_active") == 0)


def test_callers_who_cancel_at_once_leave_every_port_in_its_list(front, media, redis_url):
    with UdpPeer(front.sip_port) as peer:
        callers = {f"c{n}": Caller(port=peer.port, number=f"c{n}") for n in range(20)}
        for caller in callers.values():
            peer.send(caller.invite())
            peer.send(caller.request("CANCEL", contact=False))
        for _ in callers:
            answer = peer.until(487)
            caller = callers[answer.header("Call-ID").removeprefix("callid-")]
            peer.send(caller.failure_ack(answer))
    wait_until(lambda: not leftovers(redis_url, media), what="every port is back")
    assert front.metric('voicefarm_calls_total{result="cancel"}') == 20


def test_call_ended_by_the_media_worker_is_hung_up(front, media, redis_url):
    with UdpPeer(front.sip_port) as peer:
        call_up(front, peer)
        opened = media.of(MediaOpen)[0]
        wait_until(lambda: media.of(MediaStart))
        media.end_call(opened.call_id, opened.reply_to)
        bye = peer.until("BYE")
        assert bye.start.startswith(f"BYE sip:alice@127.0.0.1:{peer.port}")
        again = peer.until("BYE")
        assert again.data == bye.data
        peer.send(reply(bye))
    wait_until(lambda: not leftovers(redis_url, media))
    assert front.metric('voicefarm_calls_total{result="rtp_timeout"}') == 1


def test_death_of_a_media_worker_hangs_up_its_calls(front, redis_url):
    with media_standin(front.config, "media-1") as worker, UdpPeer(front.sip_port) as peer:
        wait_until(lambda: options(front).code == 200)
        call_up(front, peer)
        wait_until(lambda: worker.of(MediaStart))
        worker.die()
        bye = peer.until("BYE", timeout_s=10)
        peer.send(reply(bye))
    with redis.Redis.from_url(redis_url) as client:
        wait_until(lambda: not [k for k in client.keys("vf:call:*") if b"events" not in k])


def test_redis_restart_leaves_calls_alone(front, media, redis_url):
    with UdpPeer(front.sip_port) as peer:
        caller, _ = call_up(front, peer)
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        wait_until(lambda: options(front).code == 200, what="farm is back")
        assert peer.receive(0.2) is None
        peer.send(caller.bye())
        assert peer.until(200).header("CSeq") == "2 BYE"


def test_no_media_worker_is_503_for_options_and_calls(front):
    answer = options(front)
    assert (answer.code, answer.header("Retry-After"), answer.header("X-Farm-State")) == (
        503,
        "7",
        "no_media",
    )
    with UdpPeer(front.sip_port) as peer:
        _, answer = call_up(front, peer)
        assert answer.code == 503
        assert "no_media" in answer.header("Warning")


def test_full_worker_is_503(front, redis_url):
    with media_standin(front.config, capacity=1), UdpPeer(front.sip_port) as peer:
        wait_until(lambda: options(front).code == 200)
        assert options(front).header("X-Farm-Load") == "0/1"
        caller, _ = call_up(front, peer)
        assert call_up(front, peer, number="2")[1].code == 503
        wait_until(lambda: options(front).header("X-Farm-Load") == "1/1")
        assert options(front).code == 503
        peer.send(caller.bye())
        wait_until(lambda: options(front).code == 200)


def test_drain_keeps_the_running_call_and_takes_no_new_one(front, media):
    with UdpPeer(front.sip_port) as peer:
        caller, _ = call_up(front, peer)
        front.process.send_signal(signal.SIGTERM)
        wait_until(lambda: options(front).header("X-Farm-State") == "draining")
        assert front.get("/readyz")[0] == 503
        refused = Caller(port=peer.port, number="2")
        peer.send(refused.invite())
        answer = peer.until(503)
        peer.send(refused.failure_ack(answer))
        peer.send(caller.bye())
        peer.until(200)
    assert front.process.wait(5) == 0


def test_deadline_of_a_drain_hangs_up(redis_url, tmp_path):
    with front_process(redis_url, tmp_path, ops__drain_s=4.0) as front, media_standin(front.config) as media:
        wait_until(lambda: options(front).code == 200)
        with UdpPeer(front.sip_port) as peer:
            call_up(front, peer)
            wait_until(lambda: media.of(MediaStart))
            front.process.send_signal(signal.SIGTERM)
            peer.send(reply(peer.until("BYE")))
        assert front.process.wait(6) == 0
        assert wait_until(lambda: media.of(MediaClose))[0].reason == "drain"


def test_ctrl_c_says_goodbye_to_every_caller(front, media):
    with UdpPeer(front.sip_port) as peer:
        call_up(front, peer)
        front.process.send_signal(signal.SIGINT)
        peer.send(reply(peer.until("BYE")))
    assert front.process.wait(5) == 0
    assert wait_until(lambda: media.of(MediaClose))[0].reason == "drain"


def test_nothing_a_stranger_sends_silences_the_front(front, media):
    rubbish = [
        b"", b"\r\n\r\n", b"\0" * 200, b"INVITE", b"SIP/2.0 200 OK\r\n\r\n", bytes(range(256)) * 20, b"x" * 60_000,
        Caller(number="v1").request("OPTIONS").replace(b":5070;rport", b":99999;rport=-1;received=8.8.8.8"),
        Caller(number="v2").request("OPTIONS").replace(b"rport;", b"rport=99999;received=a\0b;"),
        Caller(number="v3").request("BYE", to_tag="x"),
        Caller(number="v4").request("OPTIONS") + b"more than it announced",
    ]  # fmt: skip
    with UdpPeer(front.sip_port) as peer:
        for data in rubbish:
            peer.send(data)
    assert options(front).code == 200
    assert b"Traceback" not in front.log.read_bytes()
    assert b"Content-Length" not in front.log.read_bytes()  # no line per packet that a stranger sends


def test_setting_that_is_wrong_ends_the_process_with_its_name():
    env = {**os.environ, "VOICEFARM_SIP__TYPO": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "sipfront"],
        env=env,
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    assert "sip.typo" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("user", ["nobody", "echo%20x"])
def test_user_without_route_is_404(front, media, user):
    with UdpPeer(front.sip_port) as peer:
        caller = Caller(port=peer.port, user=user)
        peer.send(caller.invite())
        answer = peer.until(404)
        peer.send(caller.failure_ack(answer))


def test_deadline_of_a_drain_hangs_up_also_while_redis_is_away(tmp_path):
    """The caller must not be left with silence because nobody could be asked."""
    port = free_port()
    with running(redis_command(port)) as server:
        wait_until(lambda: answers(port), what="redis")
        url = f"redis://127.0.0.1:{port}/0"
        with front_process(url, tmp_path, ops__drain_s=5.0) as front, media_standin(front.config):
            wait_until(lambda: options(front).code == 200)
            with UdpPeer(front.sip_port) as peer:
                call_up(front, peer)
                stop(server)
                front.process.send_signal(signal.SIGTERM)
                peer.send(reply(peer.until("BYE")))
            assert front.process.wait(8) == 0


def test_load_balancer_is_told_when_redis_is_away(tmp_path):
    port = free_port()
    with running(redis_command(port)) as server:
        wait_until(lambda: answers(port), what="redis")
        with (
            front_process(f"redis://127.0.0.1:{port}/0", tmp_path) as front,
            media_standin(front.config),
        ):
            wait_until(lambda: options(front).code == 200)
            stop(server)
            answer = wait_until(lambda: (got := options(front)).code == 503 and got)
            assert answer.header("X-Farm-State") == "registry"
