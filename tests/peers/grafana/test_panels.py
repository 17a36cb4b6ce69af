"""Every query of every panel gives numbers from a real Prometheus."""

import socket
import sys
from pathlib import Path

import pytest

from tests.support import kamailio as edge_support
from tests.support import prometheus as support
from tests.support import sipp_calls as sipp
from tests.support.kamailio import kamailio
from tests.support.metrics_feed import busy_farm
from tests.support.processes import free_port, running, wait_until
from tests.support.prometheus import load_dashboard, prometheus
from tests.support.sip_front import front

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(bool(support.missing()), reason=support.missing()),
]

CALLER = Path(__file__).parents[1] / "kamailio" / "caller.xml"


def test_every_panel_of_the_overview_has_data_when_every_metric_moves(tmp_path, redis_url):
    port = free_port()
    env = {"VOICEFARM_REDIS_URL": redis_url, "VOICEFARM_OPS__HTTP_PORT": str(port)}
    with (
        running([sys.executable, "-m", "jobs"], env=env, log=tmp_path / "jobs.log"),
        busy_farm() as farm,
        prometheus(tmp_path, farm=[*farm, f"http://127.0.0.1:{port}"]) as prom,
    ):
        wait_until(lambda: len(prom.up()) == 14 and all(prom.up().values()), what="every target scraped")
        overview = load_dashboard("overview.json")
        left = ["not asked yet"]

        def proved():
            left[:] = prom.unproved(overview, strict=True)
            return not left

        wait_until(proved, 25.0, left)
        assert prom.value('count(voicefarm_worker_info{role="jobs"})') == 2
        assert prom.value("sum by (kind) (voicefarm_call_info)") == 2
        wait_until(lambda: prom.value("voicefarm:asr:ratio_rate5m"), what="the recording rules")
        assert prom.query('{job="voicefarm-calls",__name__=~".*_created"}') == []


def test_prover_finds_the_panel_that_shows_nothing(tmp_path):
    board = {"panels": [
        {"title": "typo", "targets": [{"expr": "sum(voicefarm_no_such_metric)"}]},
        {"title": "nought", "targets": [{"expr": "sum(voicefarm_none) or on () vector(0)"}]},
        {"title": "good", "targets": [{"expr": "sum(rate(voicefarm_sip_requests_total[$__rate_interval]))"}]},
    ]}  # fmt: skip
    with busy_farm() as farm, prometheus(tmp_path, farm=farm) as prom:
        wait_until(lambda: "good" not in str(prom.unproved(board)), what="two scrapes")

        assert [found.partition(":")[0] for found in prom.unproved(board)] == ["typo"]
        assert [found.partition(":")[0] for found in prom.unproved(board, strict=True)] == ["typo", "nought"]
        with pytest.raises(AssertionError, match="parse error"):
            prom.query("sum(")


@pytest.mark.skipif(
    bool(edge_support.missing() or sipp.missing()), reason=edge_support.missing() or sipp.missing()
)
def test_every_panel_of_the_edge_has_data_when_calls_go_through(tmp_path):
    with (
        front(free_port(socket.SOCK_DGRAM)) as only,
        kamailio(tmp_path, [only.port]) as edge,
        prometheus(tmp_path, farm=[], edge=[f"http://127.0.0.1:{edge.http_port}"]) as prom,
    ):
        board = load_dashboard("edge.json")

        def proved():
            assert sipp.call(CALLER, edge.sip_port, ["room-1;x"] * 3, tmp_path).good
            return not prom.unproved(board)

        wait_until(proved, 25.0, "every panel of the edge")
        assert prom.value('sum(kamailio_edge_invites{result="routed"})') >= 3
