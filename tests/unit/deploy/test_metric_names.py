"""Rules, dashboards and the reference name only metrics and labels that exist."""

import json
import re

import pytest
import yaml

from shared.metrics import CALL_FAMILIES, FAMILIES
from tests.support.processes import REPO
from tests.support.prometheus import load_dashboard, targets

pytestmark = pytest.mark.unit

RULES = REPO / "deploy" / "prometheus" / "rules.yml"
REFERENCE = REPO / "docs" / "metrics-reference.md"


def exported():
    """Every series name that the farm exports."""
    names = set()
    for family in (*FAMILIES, *CALL_FAMILIES):
        if family.kind == "counter":
            names.add(f"{family.name}_total")
        elif family.kind == "gauge":
            names.add(family.name)
        else:
            names |= {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}
    return names


def labels_of(series):
    base = re.sub(r"_(bucket|sum|count)$", "", series)
    for family in (*FAMILIES, *CALL_FAMILIES):
        if series in (family.name, f"{family.name}_total") or (
            family.kind == "histogram" and base == family.name
        ):
            return {*family.labels, "le", "job", "instance", "exported_job"}
    raise AssertionError(series)


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def expressions():
    yield from (rule["expr"] for rule in rules())
    yield from (target.expr for target in targets(load_dashboard("overview.json")))
    keda = (REPO / "deploy" / "k8s").rglob("*.yaml")
    for path in keda:
        for document in yaml.safe_load_all(path.read_text()):
            text = json.dumps(document)
            yield from (
                json.loads(f'"{found}"') for found in re.findall(r'"query": "((?:[^"\\]|\\.)*)"', text)
            )


def test_every_metric_in_an_expression_is_exported():
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    used = {name for expr in expressions() for name in re.findall(r"voicefarm[a-zA-Z0-9_:]+", expr)}

    assert len(used) > 30
    assert used - exported() - recorded == set()


def test_every_label_that_is_matched_belongs_to_its_metric():
    pairs = [pair for expr in expressions() for pair in re.findall(r"(voicefarm_\w+)\{(.*?)\}", expr)]

    assert pairs
    for series, matchers in pairs:
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers):
            assert label in labels_of(series), (series, label)


def test_every_family_is_on_the_overview_or_known_to_be_elsewhere():
    """A metric that nobody looks at is found here; it is then shown or removed."""
    shown = {name for expr in expressions() for name in re.findall(r"voicefarm[a-z0-9_]+", expr)}
    unseen = {
        family.name
        for family in (*FAMILIES, *CALL_FAMILIES)
        if not any(name == family.name or name.startswith(f"{family.name}_") for name in shown)
    }

    assert unseen <= {"voicefarm_call_rtp_packets"}


def test_every_alert_says_how_bad_it_is_and_where_the_runbook_tells_of_it():
    runbook = (REPO / "docs" / "runbook.md").read_text()
    sections = {
        re.sub(r"[^a-z0-9 -]", "", line[3:].lower()).replace(" ", "-")
        for line in runbook.splitlines()
        if line.startswith("## ")
    }

    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"critical", "warning", "info"}, rule["alert"]
            page, _, anchor = rule["annotations"]["runbook"].partition("#")
            assert page == "docs/runbook.md"
            assert anchor in sections, (rule["alert"], anchor)


def test_every_alert_has_a_test():
    tested = (REPO / "deploy" / "prometheus" / "rules_test.yml").read_text()

    assert [rule["alert"] for rule in rules() if "alert" in rule and rule["alert"] not in tested] == []


def test_reference_lists_every_family():
    text = REFERENCE.read_text()

    assert [f.name for f in (*FAMILIES, *CALL_FAMILIES) if f"`{f.name}`" not in text] == []
