"""The manifests as kubectl builds them, and what they must be checked against without a cluster."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import yaml

from tests.support.processes import REPO

K8S = REPO / "deploy" / "k8s"
_OLDEST = (1, 27)
"""kubectl of this version has kustomize 5: components, labels, replacements and YAML merge keys."""


def missing() -> str:
    """What a machine needs for this, or nothing. Debian 12's own kubernetes-client 1.20 is too old."""
    if not shutil.which("kubectl"):
        return f"kubectl not installed: take kubectl {_OLDEST[0]}.{_OLDEST[1]} or newer from dl.k8s.io"
    text = subprocess.run(
        ["kubectl", "version", "--client"], capture_output=True, text=True, timeout=20, check=False
    ).stdout
    found = re.search(r"v?(\d+)\.(\d+)\.\d+", text) or re.search(r'Minor:"(\d+)', text)
    version = tuple(int(part) for part in found.groups()) if found and found.lastindex == 2 else (0, 0)
    if version < _OLDEST:
        return f"kubectl {version[0]}.{version[1]} is too old: take {_OLDEST[0]}.{_OLDEST[1]} or newer from dl.k8s.io"
    return ""


def build(overlay: str) -> str:
    """The manifests of an overlay as text. Raises AssertionError with kustomize's words."""
    done = subprocess.run(
        ["kubectl", "kustomize", str(K8S / "overlays" / overlay)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


def workloads(found: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """`kind/name` and pod spec of everything that runs pods."""
    for document in found:
        if document["kind"] in {"Deployment", "StatefulSet", "DaemonSet"}:
            yield f"{document['kind']}/{document['metadata']['name']}", document["spec"]["template"]["spec"]


def _strict(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_TEXT = {"type": "string", "minLength": 1}
_COUNT = {"type": "integer", "minimum": 0}
_DURATION = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}
_LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
_META = _strict(("name", "namespace"), name=_TEXT, namespace=_TEXT, labels=_LABELS, annotations=_LABELS)


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of, "minItems": 1}


def _resource(api: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return _strict(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion={"const": api},
        kind={"const": kind},
        metadata=_META,
        spec=spec,
    )


_POLICIES = _list(
    _strict(
        ("type", "value", "periodSeconds"),
        type={"enum": ["Pods", "Percent"]},
        value=_COUNT,
        periodSeconds=_COUNT,
    )
)
_BEHAVIOUR = _strict(
    stabilizationWindowSeconds=_COUNT, policies=_POLICIES, selectPolicy={"enum": ["Max", "Min", "Disabled"]}
)
_TRIGGER = _strict(
    ("type", "metadata"),
    type={"const": "prometheus"},
    name=_TEXT,
    metricType={"enum": ["AverageValue", "Value"]},
    metadata=_strict(
        ("serverAddress", "query", "threshold"),
        serverAddress=_TEXT,
        query=_TEXT,
        threshold=_TEXT,
        activationThreshold=_TEXT,
        ignoreNullValues={"enum": ["true", "false"]},
    ),
)
_SCALED = _resource(
    "keda.sh/v1alpha1",
    "ScaledObject",
    _strict(
        ("scaleTargetRef", "triggers"),
        scaleTargetRef=_strict(("name",), name=_TEXT, kind=_TEXT, apiVersion=_TEXT),
        minReplicaCount=_COUNT, maxReplicaCount=_COUNT, pollingInterval=_COUNT, cooldownPeriod=_COUNT,
        fallback=_strict(("failureThreshold", "replicas"), failureThreshold=_COUNT, replicas=_COUNT),
        advanced=_strict(
            horizontalPodAutoscalerConfig=_strict(behavior=_strict(scaleUp=_BEHAVIOUR, scaleDown=_BEHAVIOUR))
        ),
        triggers=_list(_TRIGGER),
    ),
)  # fmt: skip
_RELABEL = _strict(
    sourceLabels=_list(_TEXT), targetLabel=_TEXT, regex=_TEXT, replacement=_TEXT, separator=_TEXT,
    action={"enum": ["replace", "keep", "drop", "labeldrop", "labelkeep"]},
)  # fmt: skip
_POD_MONITOR = _resource(
    "monitoring.coreos.com/v1",
    "PodMonitor",
    _strict(
        ("selector", "podMetricsEndpoints"),
        selector=_strict(("matchLabels",), matchLabels=_LABELS),
        sampleLimit=_COUNT, labelLimit=_COUNT, labelValueLengthLimit=_COUNT, jobLabel=_TEXT,
        podMetricsEndpoints=_list(
            _strict(
                ("port",), port=_TEXT, path=_TEXT, interval=_DURATION, scrapeTimeout=_DURATION,
                relabelings=_list(_RELABEL), metricRelabelings=_list(_RELABEL),
            )
        ),
    ),
)  # fmt: skip
_RULE = _resource(
    "monitoring.coreos.com/v1",
    "PrometheusRule",
    _strict(
        ("groups",),
        groups=_list(
            _strict(
                ("name", "rules"),
                name=_TEXT,
                rules=_list(
                    _strict(
                        ("expr",), record=_TEXT, alert=_TEXT, expr=_TEXT, labels=_LABELS, annotations=_LABELS,
                        **{"for": _DURATION},
                    )
                ),
            )
        ),
    ),
)  # fmt: skip

CUSTOM = {"ScaledObject": _SCALED, "PodMonitor": _POD_MONITOR, "PrometheusRule": _RULE}
"""Strict schemas of the custom resources that are used, for the fields that are used: KEDA 2 (ScaledObject, scaler
`prometheus`), Prometheus operator (API reference v1). Anything else is refused."""
