"""promtool on the configuration and the rules that are deployed."""

import subprocess

import pytest

from tests.support import prometheus as support
from tests.support.processes import REPO

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(bool(support.missing()), reason=support.missing()),
]

FOLDER = REPO / "deploy" / "prometheus"


def promtool(*words):
    return subprocess.run(
        ["promtool", *words], capture_output=True, text=True, timeout=60, check=False, cwd=FOLDER
    )


@pytest.mark.parametrize(
    "words",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "--lint-fatal", "rules.yml"),
        ("test", "rules", "rules_test.yml"),
    ],
)
def test_promtool_agrees(words):
    done = promtool(*words)

    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_refuses_when_an_alert_is_another(tmp_path):
    """The rule tests can fail."""
    (tmp_path / "rules.yml").write_text((FOLDER / "rules.yml").read_text().replace("> 0.85", "> 0.95"))
    (tmp_path / "rules_test.yml").write_text((FOLDER / "rules_test.yml").read_text())

    assert promtool("test", "rules", str(tmp_path / "rules_test.yml")).returncode != 0
