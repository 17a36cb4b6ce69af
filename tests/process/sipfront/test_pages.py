"""/calls of a real front: the farm's calls, its own only, one of them, and what is shown while Redis is away."""

import json
from pathlib import Path

import pytest

from tests.support.front_process import RunningFront, front_process
from tests.support.media_standin import media_standin
from tests.support.processes import free_port, redis_command, running, stop, wait_until
from tests.support.sip_messages import Caller, UdpPeer

pytestmark = pytest.mark.process


def call_up(front: RunningFront, peer: UdpPeer, number: str) -> str:
    """A call that is talking; its id."""
    caller = Caller(port=peer.port, number=number)
    peer.send(caller.invite())
    answer = peer.until(200)
    caller.answered(answer)
    peer.send(caller.ack())
    call_id = answer.header("X-Call-ID")
    wait_until(lambda: page(front, f"/calls/{call_id}").get("signalling") == "confirmed")
    return call_id


def page(front: RunningFront, path: str) -> dict[str, object]:
    found = json.loads(front.get(path)[1])
    assert isinstance(found, dict)
    return found


def ids(front: RunningFront, query: str = "") -> set[object]:
    calls = page(front, f"/calls{query}")["calls"]
    assert isinstance(calls, list)
    return {call["call_id"] for call in calls}


def serves(front: RunningFront) -> bool:
    with UdpPeer(front.sip_port) as peer:
        peer.send(Caller(port=peer.port, number=f"o{peer.port}").request("OPTIONS"))
        return peer.until(200, 503).code == 200


def test_pages_show_the_farms_calls_and_its_own_while_redis_is_away(tmp_path: Path) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    (tmp_path / "b").mkdir()
    with (
        running(redis_command(port)) as server,
        front_process(url, tmp_path) as one,
        front_process(url, tmp_path / "b") as other,
        media_standin(one.config),
    ):
        wait_until(lambda: serves(one) and serves(other), what="both fronts see the media worker")
        with UdpPeer(one.sip_port) as first, UdpPeer(other.sip_port) as second:
            mine, theirs = call_up(one, first, "1"), call_up(other, second, "2")
            assert ids(one) == ids(other) == {mine, theirs}
            assert ids(one, "?front=mine") == {mine}
            row = page(one, f"/calls/{mine}")
            assert (row["signalling"], row["codec"], row["direction"]) == ("confirmed", "PCMA", "sendrecv")
            assert (row["ptime_ms"], row["srtp"]) == (20, "")
            assert float(str(row["age_s"])) >= 0
            strange = page(one, f"/calls/{theirs}")
            assert strange["app"] == "echo"
            assert "signalling" not in strange, "only its own front knows"
            assert one.get("/calls/nobody") == (404, '{"problem": "no such call"}\n')
            stop(server)
            wait_until(lambda: page(one, "/calls")["farm"] is False, what="the page says what is missing")
            assert ids(one) == {mine}
            away = page(one, f"/calls/{mine}")
            assert (away["signalling"], away["worker"], away["room_id"]) == (
                "confirmed", row["worker"], row["room_id"],
            )  # fmt: skip
