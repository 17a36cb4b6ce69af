"""Both overlays build, are valid, and say what the farm needs of a cluster. No cluster takes part."""

import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from shared.config import load, parse_port_range
from shared.egress import Egress
from tests.support import kubernetes as support
from tests.support.kubernetes import CUSTOM, build, documents, workloads
from tests.support.processes import REPO

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(bool(support.missing()), reason=support.missing()),
]

OVERLAYS = ("dev", "prod")
VALIDATE = str(Path(sys.executable).with_name("kubernetes-validate"))


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request):
    return request.param


@pytest.fixture(scope="module")
def built(overlay):
    return documents(build(overlay))


@pytest.fixture(scope="module")
def pods(built):
    return dict(workloads(built))


def containers(pod):
    return [*pod.get("initContainers", []), *pod["containers"]]


def ours(pods):
    """Name and container of every process of ours."""
    for name, pod in pods.items():
        for container in pod["containers"]:
            if container.get("args", [""])[0] == "python":
                yield name, container


def environment(container):
    """The environment as the kubelet gives it: references expanded, secrets and fields by stand-ins."""
    values = {}
    for item in container.get("env", []):
        if "secretKeyRef" in item.get("valueFrom", {}):
            values[item["name"]] = "redis://:x@redis:6379/0"
        elif "valueFrom" in item:
            values[item["name"]] = "10.0.0.7" if item["name"].endswith("IP") else "pod-0"
        else:
            values[item["name"]] = re.sub(r"\$\((\w+)\)", lambda m: values[m[1]], item["value"])
    return values


def configuration(built, container, tmp_path):
    """What the container's process loads from its file and environment."""
    maps = [d for d in built if d["kind"] == "ConfigMap" and "voicefarm.yaml" in d.get("data", {})]
    path = tmp_path / "voicefarm.yaml"
    path.write_text(maps[0]["data"]["voicefarm.yaml"])
    return load(str(path), {k: v for k, v in environment(container).items() if k != "VOICEFARM_CONFIG"})


def test_validator_agrees_strictly(overlay, built, tmp_path):
    standard = [document for document in built if document["kind"] not in CUSTOM]
    path = tmp_path / "built.yaml"
    path.write_text(yaml.safe_dump_all(standard))

    done = subprocess.run(
        [VALIDATE, "--strict", str(path)], capture_output=True, text=True, timeout=120, check=False
    )

    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "WARN" not in said
    assert said.count("passed") == len(standard) > 30


def test_validator_refuses_an_unknown_field(tmp_path):
    document = documents(build("dev"))[0]
    document["metadata"]["nmae"] = "typo"
    path = tmp_path / "built.yaml"
    path.write_text(yaml.safe_dump(document))

    assert (
        subprocess.run(
            [VALIDATE, "--strict", str(path)], capture_output=True, timeout=60, check=False
        ).returncode
        != 0
    )


def test_custom_resources_keep_to_their_schemas(overlay, built):
    custom = [document for document in built if document["kind"] in CUSTOM]
    names = {f"{document['kind']}/{document['metadata']['name']}" for document in built}

    assert len(custom) == {"dev": 0, "prod": 11}[overlay]
    for document in custom:
        jsonschema.Draft202012Validator(CUSTOM[document["kind"]]).validate(document)
        if document["kind"] == "ScaledObject":
            assert f"Deployment/{document['spec']['scaleTargetRef']['name']}" in names
            assert all(t["metadata"]["ignoreNullValues"] == "false" for t in document["spec"]["triggers"])
            assert document["spec"]["fallback"]["replicas"] >= document["spec"]["minReplicaCount"]


def test_custom_schema_refuses_an_unknown_field():
    scaled = next(d for d in documents(build("prod")) if d["kind"] == "ScaledObject")
    scaled["spec"]["maxReplicas"] = 3

    with pytest.raises(jsonschema.ValidationError, match="maxReplicas"):
        jsonschema.Draft202012Validator(CUSTOM["ScaledObject"]).validate(scaled)


def test_every_part_of_the_farm_is_there(pods):
    assert {container["args"][2] + "".join(f" {a}" for a in container["args"][3:]) for _, container in ours(pods)} == {
        "sipfront", "mediaworker", "aiworker stt", "aiworker llm", "aiworker tts", "jobs",
    }  # fmt: skip
    assert {"DaemonSet/kamailio", "StatefulSet/redis", "StatefulSet/redis-pcm"} <= set(pods)


def test_every_process_of_ours_can_load_its_configuration(built, pods, tmp_path):
    checked = 0
    for name, container in ours(pods):
        config = configuration(built, container, tmp_path)
        ports = {port["containerPort"] for port in container["ports"]}
        assert config.ops.http_host == "0.0.0.0", name
        assert config.ops.http_port in ports, name
        assert config.redis.url.startswith("redis://:"), name
        checked += 1
    assert checked >= 6


def test_probes_and_drain_ask_the_operators_port(built, pods, tmp_path):
    for name, container in ours(pods):
        port = configuration(built, container, tmp_path).ops.http_port
        named = {item["name"]: item["containerPort"] for item in container["ports"]}
        asked = {
            probe: container[probe]["httpGet"]
            for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        } | {"preStop": container["lifecycle"]["preStop"]["httpGet"]}
        assert {named.get(get["port"], get["port"]) for get in asked.values()} == {port}, name
        assert asked["livenessProbe"]["path"] == "/healthz"
        assert asked["readinessProbe"]["path"] == "/readyz"
        assert asked["preStop"]["path"] == "/drain"


def test_grace_is_longer_than_the_drain(built, pods, tmp_path):
    for name, container in ours(pods):
        drain_s = configuration(built, container, tmp_path).ops.drain_s
        assert pods[name]["terminationGracePeriodSeconds"] >= drain_s + 30, name


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "10.244.1.9", "169.254.169.254", "0.0.0.0"])
def test_no_caller_has_media_sent_into_the_cluster(built, pods, tmp_path, address):
    for name, container in ours(pods):
        if name in {"sipfront", "mediaworker"}:
            media = configuration(built, container, tmp_path).media
            egress = Egress(media.remote_deny, media.remote_allow, own_host=media.advertised_host)
            assert egress.why_refused(address, 20_000), name
            assert not egress.why_refused("203.0.113.5", 20_000), name


def test_media_workers_share_the_ports_of_their_node(overlay, built, pods, tmp_path):
    pod = pods["Deployment/mediaworker"]
    workers = [container for name, container in ours(pods) if name == "Deployment/mediaworker"]
    given = [environment(container) for container in workers]
    config = configuration(built, workers[0], tmp_path)
    ports = parse_port_range(config.media.ports)

    assert pod["hostNetwork"]
    assert len(workers) == {"dev": 1, "prod": 4}[overlay]
    assert [env["VOICEFARM_WORKER_INDEX"] for env in given] == [str(i) for i in range(len(workers))]
    assert {env["VOICEFARM_WORKER_COUNT"] for env in given} == {str(len(workers))}
    assert len({env["VOICEFARM_WORKER_NAME"] for env in given}) == len(workers)
    assert len({env["VOICEFARM_OPS__HTTP_PORT"] for env in given}) == len(workers)
    assert ports[-1] + 1 < 30_000, "NodePorts and ephemeral ports begin there"
    assert len(ports) // 4 >= config.media.capacity
    assert config.media.advertised_host == "10.0.0.7"


def test_no_pod_is_given_service_variables_that_look_like_keys(pods):
    for name, pod in pods.items():
        assert pod["enableServiceLinks"] is False, name


def test_no_container_has_more_rights_than_it_needs(pods):
    for name, pod in pods.items():
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not pod["automountServiceAccountToken"], name
        for container in containers(pod):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"], name
            assert not context["allowPrivilegeEscalation"], name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in container["resources"]["limits"], name


def test_host_network_is_only_in_the_edge_namespace(built):
    for document in built:
        spec = document.get("spec", {})
        if isinstance(spec.get("template"), dict) and spec["template"]["spec"].get("hostNetwork"):
            assert document["metadata"]["namespace"] == "voicefarm-edge"


def test_what_a_pod_names_exists_in_its_namespace(overlay, built):
    have = {(d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"]) for d in built}
    for document in built:
        if document["kind"] not in {"Deployment", "StatefulSet", "DaemonSet"}:
            continue
        space, pod = document["metadata"]["namespace"], document["spec"]["template"]["spec"]
        for volume in pod.get("volumes", []):
            if "configMap" in volume:
                assert ("ConfigMap", space, volume["configMap"]["name"]) in have
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", space, volume["persistentVolumeClaim"]["claimName"]) in have
        if overlay == "dev":
            refs = [e["valueFrom"]["secretKeyRef"] for c in containers(pod) for e in c.get("env", []) if "secretKeyRef" in e.get("valueFrom", {})]  # fmt: skip
            assert all(("Secret", space, ref["name"]) in have for ref in refs if not ref.get("optional"))


def test_budgets_and_policies_select_pods_that_exist(built):
    labels = [
        (d["metadata"]["namespace"], d["spec"]["template"]["metadata"]["labels"])
        for d in built
        if d["kind"] in {"Deployment", "StatefulSet", "DaemonSet"}
    ]
    budgets = [d for d in built if d["kind"] == "PodDisruptionBudget"]
    assert {b["metadata"]["name"] for b in budgets} == {"sipfront", "mediaworker", "stt", "llm", "tts"}
    for budget in budgets:
        wanted = budget["spec"]["selector"]["matchLabels"].items()
        assert any(
            space == budget["metadata"]["namespace"] and wanted <= have.items() for space, have in labels
        )
    policies = [d for d in built if d["kind"] == "NetworkPolicy"]
    assert any(
        p["spec"]["podSelector"] == {} and p["spec"]["policyTypes"] == ["Ingress", "Egress"] for p in policies
    )
    for policy in policies:
        wanted = policy["spec"]["podSelector"].get("matchLabels", {}).items()
        assert any(
            space == policy["metadata"]["namespace"] and wanted <= have.items() for space, have in labels
        )


def test_gpu_is_asked_for_in_production_only(overlay, pods):
    stt = pods["Deployment/stt"]
    limits = stt["containers"][0]["resources"]["limits"]
    given = environment(stt["containers"][0])

    assert ("nvidia.com/gpu" in limits) == (overlay == "prod")
    if overlay == "prod":
        assert given["VOICEFARM_STT__DEVICE"] == "cuda"
        assert stt["runtimeClassName"] == "nvidia"
        assert stt["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    else:
        assert given["VOICEFARM_STT__ENGINE"] == "pocketsphinx"


def test_media_pods_are_left_alone_by_autoscalers_and_replaced_one_by_one(built):
    media = next(d for d in built if d["kind"] == "Deployment" and d["metadata"]["name"] == "mediaworker")
    notes = media["spec"]["template"]["metadata"]["annotations"]

    assert notes["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert notes["karpenter.sh/do-not-disrupt"] == "true"
    assert media["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert (
        media["spec"]["progressDeadlineSeconds"]
        > media["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    )


def test_edge_knows_a_slot_for_every_front_there_can_be(built, pods):
    fronts = environment(pods["DaemonSet/kamailio"]["containers"][1])["FRONTS"].split()
    scalers = [d for d in built if d["kind"] == "HorizontalPodAutoscaler"]
    largest = max([d["spec"]["maxReplicas"] for d in scalers if d["metadata"]["name"] == "sipfront"] or [1])

    assert len(fronts) >= largest
    assert fronts[0] == "sipfront-0.sipfront.voicefarm.svc.cluster.local:5060"


def test_edge_runs_the_files_that_were_tested(built):
    made = next(d for d in built if d["kind"] == "ConfigMap" and d["metadata"]["name"].startswith("kamailio"))

    for name in ("kamailio.cfg", "drain.sh", "fronts.sh"):
        assert made["data"][name] == (REPO / "deploy" / "kamailio" / name).read_text()


def test_rules_of_the_operator_are_those_that_were_tested():
    rule = yaml.safe_load((support.K8S / "components" / "monitoring" / "rules.yaml").read_text())
    tested = yaml.safe_load((REPO / "deploy" / "prometheus" / "rules.yml").read_text())

    assert rule["spec"]["groups"] == tested["groups"]


def test_monitors_name_ports_that_pods_have(overlay, built, pods):
    named = {port["name"] for pod in pods.values() for c in pod["containers"] for port in c.get("ports", [])}
    monitors = [d for d in built if d["kind"] == "PodMonitor"]

    assert bool(monitors) == (overlay == "prod")
    for monitor in monitors:
        assert {end["port"] for end in monitor["spec"]["podMetricsEndpoints"]} <= named


def test_images_run_as_nobody_and_carry_no_weights():
    for path in (REPO / "Dockerfile", REPO / "deploy" / "kamailio" / "Dockerfile"):
        text = path.read_text()
        assert "USER 10001:10001" in text
        assert "ADD " not in text
        assert not re.search(r"(?i)huggingface|\.onnx|model\.bin|download", text)
    packages = {
        p.name for p in REPO.iterdir() if (p / "__init__.py").exists() and p.name not in {"tests", "bench"}
    }
    copied = set(re.findall(r"(?m)^COPY (\w+) \1$", (REPO / "Dockerfile").read_text()))
    let_in = {line[1:] for line in (REPO / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert packages == copied
    assert copied <= let_in
