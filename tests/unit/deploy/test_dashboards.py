"""The committed dashboards are those that the builder builds."""

import runpy

import pytest

from tests.support.processes import REPO
from tests.support.prometheus import NONE_YET, load_dashboard, targets

pytestmark = pytest.mark.unit

BUILDER = runpy.run_path(str(REPO / "deploy" / "grafana" / "build.py"))


@pytest.mark.parametrize("name", ["overview.json", "edge.json"])
def test_committed_json_is_what_the_builder_gives(name):
    assert BUILDER["dashboards"]()[name] == (REPO / "deploy" / "grafana" / name).read_text(), (
        "run python deploy/grafana/build.py"
    )


@pytest.mark.parametrize("name", ["overview.json", "edge.json"])
def test_panels_have_their_own_places_numbers_and_queries(name):
    panels = load_dashboard(name)["panels"]

    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels if p["type"] != "row"]
    assert len(set(places)) == len(places)
    assert all(p["targets"] for p in panels if p["type"] != "row")


def test_prover_and_builder_mean_the_same_nought():
    assert BUILDER["NONE_YET"] == NONE_YET


def test_targets_are_found_inside_rows_too():
    nested = {"panels": [{"title": "row", "panels": [{"title": "p", "targets": [{"expr": "up"}]}]}]}

    assert [target.panel for target in targets(nested)] == ["p"]
