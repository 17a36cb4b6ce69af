"""What a farm is made of, for every way of asking for it."""

import dataclasses
from collections.abc import Callable

import pytest

from shared.config import Config, load
from shared.errors import FarmError
from voicefarm.core.plan import ROLES, STOP_WITHIN_S, Child, FarmOptions, Ground, NoPort, Plan, make_plan

pytestmark = pytest.mark.unit


def always(_port: int) -> bool:
    return True


def but(*taken: int) -> Callable[[int], bool]:
    return lambda port: port not in taken


GROUND = Ground(
    redis_server="/usr/bin/redis-server", tcp_free=always, udp_free=always, var="/srv/var", environ={}, python="python"
)  # fmt: skip


def child(plan: Plan, name: str) -> Child:
    return next(c for c in plan.children if c.name == name)


def test_one_of_each_by_default() -> None:
    plan = make_plan(FarmOptions(), Config(), GROUND)
    assert [c.name for c in plan.children] == ["redis", *(f"{role}-0" for role in ROLES)]
    assert child(plan, "stt-0").command == ("python", "-m", "aiworker", "stt")
    assert child(plan, "media-0").command == ("python", "-m", "mediaworker")
    assert plan.redis_url == "redis://127.0.0.1:9301/0"
    assert [c.spec.phase for c in plan.children] == [0, 1, 1, 1, 1, 1, 1]


def test_every_process_has_its_own_name_place_and_port() -> None:
    counts = {"front": 2, "media": 3, "stt": 1, "llm": 1, "tts": 2, "jobs": 0}
    plan = make_plan(FarmOptions(counts=counts), Config(), GROUND)
    workers = [c for c in plan.children if c.role != "redis"]
    assert len({c.ops_port for c in workers}) == len(workers) == 9
    assert [c.environ["VOICEFARM_WORKER_INDEX"] for c in workers if c.role == "media"] == ["0", "1", "2"]
    assert {c.environ["VOICEFARM_WORKER_COUNT"] for c in workers if c.role == "media"} == {"3"}
    assert plan.sip_ports == (5060, 5062)
    assert child(plan, "front-1").environ["VOICEFARM_SIP__PORT"] == "5062"
    assert "VOICEFARM_SIP__PORT" not in child(plan, "media-0").environ


def test_what_a_child_is_given_is_a_valid_configuration() -> None:
    plan = make_plan(FarmOptions(host="192.0.2.7", rtp_ports="30000-30999"), Config(), GROUND)
    config = load(environ=dict(child(plan, "front-0").environ))
    assert config.redis.url == plan.redis_url
    assert (config.sip.host, config.sip.advertised_host) == ("0.0.0.0", "192.0.2.7")
    assert (config.media.ports, config.media.advertised_host) == ("30000-30999", "192.0.2.7")
    assert config.media.record_dir == "/srv/var/recordings"
    assert plan.sip_host == "192.0.2.7"


def test_without_a_word_the_farm_is_for_this_machine_only() -> None:
    plan = make_plan(FarmOptions(), Config(), GROUND)
    config = load(environ=dict(child(plan, "media-0").environ))
    assert (config.sip.host, config.media.host) == ("127.0.0.1", "127.0.0.1")
    assert plan.sip_host == "127.0.0.1"


@pytest.mark.parametrize("key", ["VOICEFARM_SIP__HOST", "VOICEFARM_MEDIA__ADVERTISED_HOST"])
def test_an_address_in_the_environment_stays(key: str) -> None:
    plan = make_plan(FarmOptions(), Config(), dataclasses.replace(GROUND, environ={key: "192.0.2.1"}))
    assert not {name for name in child(plan, "front-0").environ if name.endswith("__HOST")}


def test_a_configuration_file_keeps_its_addresses_and_log_format() -> None:
    plan = make_plan(FarmOptions(config_path="/etc/voicefarm.yaml"), Config(), GROUND)
    environ = child(plan, "front-0").environ
    assert environ["VOICEFARM_CONFIG"] == "/etc/voicefarm.yaml"
    assert "VOICEFARM_SIP__HOST" not in environ
    assert "VOICEFARM_OPS__LOG_FORMAT" not in environ
    assert plan.sip_host == "127.0.0.1", "bound to all addresses: this machine reaches it on loopback"


def test_a_configured_recording_directory_stays() -> None:
    config = load(environ={"VOICEFARM_MEDIA__RECORD_DIR": "/data/calls"})
    plan = make_plan(FarmOptions(), config, GROUND)
    assert plan.recordings == "/data/calls"
    assert "VOICEFARM_MEDIA__RECORD_DIR" not in child(plan, "media-0").environ


def test_a_given_redis_is_not_started() -> None:
    plan = make_plan(
        FarmOptions(redis_url="redis://db:6379/3"), Config(), dataclasses.replace(GROUND, redis_server="")
    )
    assert "redis" not in {c.role for c in plan.children}
    assert child(plan, "llm-0").environ["VOICEFARM_REDIS_URL"] == "redis://db:6379/3"


def test_no_redis_says_what_to_install() -> None:
    with pytest.raises(FarmError, match="apt install redis-server"):
        make_plan(FarmOptions(), Config(), dataclasses.replace(GROUND, redis_server=""))


def test_a_farms_ports_begin_in_its_own_block() -> None:
    plan = make_plan(FarmOptions(), Config(), dataclasses.replace(GROUND, first_port=9380))
    assert [c.ops_port for c in plan.children] == list(range(9381, 9381 + len(plan.children)))


def test_taken_ports_are_passed_over() -> None:
    ground = dataclasses.replace(GROUND, tcp_free=but(9301, 9303), udp_free=but(5060))
    plan = make_plan(FarmOptions(), Config(), ground)
    assert child(plan, "redis").ops_port == 9302
    assert [c.ops_port for c in plan.children[1:4]] == [9304, 9305, 9306]
    assert plan.sip_ports == (5062,)


def test_a_sip_port_that_was_asked_for_is_not_replaced() -> None:
    ground = dataclasses.replace(GROUND, udp_free=but(5080))
    with pytest.raises(NoPort, match="5080"):
        make_plan(FarmOptions(sip_port=5080), Config(), ground)
    assert make_plan(FarmOptions(sip_port=5080), Config(), GROUND).sip_ports == (5080,)


def test_no_port_left_is_an_error() -> None:
    with pytest.raises(NoPort, match="metrics"):
        make_plan(FarmOptions(), Config(), dataclasses.replace(GROUND, tcp_free=lambda port: port == 9301))


@pytest.mark.parametrize(("drain_s", "signals"), [(0.0, ["SIGINT"]), (60.0, ["SIGTERM", "SIGINT"])])
def test_drain_gives_running_calls_their_time(drain_s: float, signals: list[str]) -> None:
    plan = make_plan(FarmOptions(drain_s=drain_s), Config(), GROUND)
    ends = child(plan, "media-0").spec.ends
    assert [grace.signal for grace in ends] == signals
    assert ends[0].seconds == (drain_s or STOP_WITHIN_S)
