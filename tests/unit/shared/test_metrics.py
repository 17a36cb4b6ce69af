"""The table of metrics builds, is consistent, and gives each role its own."""

import pytest
from prometheus_client import generate_latest

from shared.metrics import CALL_FAMILIES, FAMILIES, Metrics, families

pytestmark = pytest.mark.unit

ROLES = ("front", "media", "stt", "llm", "tts", "jobs")


@pytest.mark.parametrize("role", ROLES)
def test_every_role_exports_its_families(role: str) -> None:
    text = generate_latest(Metrics(role).registry).decode()
    for family in families(role):
        assert f"# TYPE {family.name}" in text


def test_names_are_unique_and_carry_their_unit() -> None:
    names = [family.name for family in FAMILIES + CALL_FAMILIES]
    assert len(names) == len(set(names))
    for family in FAMILIES + CALL_FAMILIES:
        assert family.name.startswith("voicefarm_")
        assert not family.name.endswith("_total")
        assert family.help
        assert bool(family.buckets) == (family.kind == "histogram")
        assert set(family.roles.split()) <= set(ROLES)


def test_only_call_series_have_a_call_label() -> None:
    assert all("call_id" not in family.labels for family in FAMILIES)
    assert all(
        family.labels[0] == "call_id" and family.name.startswith("voicefarm_call_")
        for family in CALL_FAMILIES
    )


def test_instruments_count_under_their_labels() -> None:
    metrics = Metrics("front")
    metrics.counter("voicefarm_sip_responses", "200").inc()
    metrics.gauge("voicefarm_sip_dialogs").set(3)
    metrics.histogram("voicefarm_sip_setup_seconds").observe(0.03)
    text = generate_latest(metrics.registry).decode()
    assert 'voicefarm_sip_responses_total{code="200"} 1.0' in text
    assert "voicefarm_sip_dialogs 3.0" in text
    assert 'voicefarm_sip_setup_seconds_bucket{le="0.05"} 1.0' in text


def test_another_role_does_not_know_the_name() -> None:
    with pytest.raises(KeyError):
        Metrics("tts").counter("voicefarm_sip_responses", "200")
