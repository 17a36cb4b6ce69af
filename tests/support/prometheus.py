"""A real Prometheus on a free port that scrapes what a test runs, and a prover of dashboards.

    with prometheus(tmp_path, farm=["http://127.0.0.1:9100", ...]) as prom:
        assert prom.unproved(dashboard) == []

`farm` lists the operators' ports of processes of ours; /metrics and /metrics/calls of each are scraped every second.
"""

import json
import math
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.processes import REPO, free_port, running, wait_until

RULES = REPO / "deploy" / "prometheus" / "rules.yml"
GRAFANA = REPO / "deploy" / "grafana"
NONE_YET = " or on () vector(0)"
"""What deploy/grafana/build.py adds to queries over things that should not happen."""


def missing() -> str:
    absent = [name for name in ("prometheus", "promtool") if not shutil.which(name)]
    return f"{', '.join(absent)} not installed (apt-get install prometheus)" if absent else ""


@dataclass(frozen=True)
class Target:
    """One query of one panel."""

    panel: str
    expr: str


def targets(dashboard: Mapping[str, Any]) -> list[Target]:
    """Every query of a dashboard."""
    found = []
    for panel in dashboard["panels"]:
        found += targets(panel) if panel.get("panels") else []
        found += [Target(panel["title"], target["expr"]) for target in panel.get("targets") or []]
    return found


def load_dashboard(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((GRAFANA / name).read_text())
    return loaded


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The instant vector of an expression. Raises AssertionError with Prometheus's own words when it is wrong."""
        return self._ask("query", query=expr)

    def query_range(self, expr: str, seconds: int = 20, step_s: int = 2) -> list[dict[str, Any]]:
        now = time.time()
        return self._ask("query_range", query=expr, start=now - seconds, end=now, step=step_s)

    def value(self, expr: str) -> float | None:
        """The one value of an expression, or None when there is none."""
        rows = self.query(expr)
        return float(rows[0]["value"][1]) if rows else None

    def up(self) -> dict[str, float]:
        """`job instance` -> 1 or 0."""
        return {
            f"{r['metric']['job']} {r['metric']['instance']}": float(r["value"][1]) for r in self.query("up")
        }

    def unproved(self, dashboard: Mapping[str, Any], *, strict: bool = False) -> list[str]:
        """Queries of a dashboard that gave no number; `strict` takes away the nought that stands for "none yet"."""
        return [
            f"{t.panel}: {t.expr}"
            for t in targets(dashboard)
            if not self._gives_a_number(t.expr, strict=strict)
        ]

    def _gives_a_number(self, expr: str, *, strict: bool) -> bool:
        asked = re.sub(r"\$__rate_interval|\$__interval", "30s", expr)
        if strict:
            asked = asked.replace(NONE_YET, "")
        values = [float(v) for series in self.query_range(asked) for _, v in series["values"]]
        return any(math.isfinite(value) for value in values)

    def _ask(self, page: str, **words: object) -> list[dict[str, Any]]:
        url = f"{self.url}/api/v1/{page}?{urllib.parse.urlencode(words)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as reply:
                rows: list[dict[str, Any]] = json.load(reply)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{words['query']}: {error.read().decode()}") from error
        return rows


def jobs_of(farm: Sequence[str], edge: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Scrape jobs for URLs of a farm's processes and of Kamailios, with the limits of the deployment."""
    deployed = yaml.safe_load((REPO / "deploy" / "prometheus" / "prometheus.yml").read_text())[
        "scrape_configs"
    ]
    calls = next(job for job in deployed if job["job_name"] == "voicefarm-calls")
    hosts = [url.rstrip("/").removeprefix("http://") for url in farm]
    edges = [url.rstrip("/").removeprefix("http://") for url in edge]
    limited = {key: value for key, value in calls.items() if key != "file_sd_configs"}
    return [
        {"job_name": "voicefarm-farm", "static_configs": [{"targets": hosts}]},
        {**limited, "static_configs": [{"targets": hosts}]},
        *([{"job_name": "kamailio", "static_configs": [{"targets": edges}]}] if edges else []),
    ]


@contextmanager
def prometheus(folder: Path, *, farm: Sequence[str], edge: Sequence[str] = ()) -> Iterator[Prometheus]:
    """Runs Prometheus with the farm's rules until the block is left."""
    home = folder / "prometheus"
    home.mkdir()
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": jobs_of(farm, edge),
    }
    (home / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        "prometheus", f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage", "--log.level=warn",
    ]  # fmt: skip
    with running(command, log=home / "log") as process:
        wait_until(lambda: _ready(port, process, home), 20.0, f"prometheus, see {home}/log")
        yield Prometheus(f"http://127.0.0.1:{port}")


def _ready(port: int, process: subprocess.Popen[bytes], home: Path) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"prometheus ended:\n{(home / 'log').read_text()[-2000:]}")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
