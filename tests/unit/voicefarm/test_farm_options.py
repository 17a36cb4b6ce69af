"""The arguments that describe a farm, and what stands in the way of making one."""

import argparse
import os
import socket
from pathlib import Path

import pytest

from shared.config import Config
from shared.errors import ConfigError, FarmError
from voicefarm.commands.farm_options import add_farm_arguments, build_farm, options_of
from voicefarm.core.plan import ROLES, FarmOptions
from voicefarm.io.ports import is_free
from voicefarm.io.run_file import FarmRecord, write_farm

pytestmark = pytest.mark.unit


def options(*argv: str) -> FarmOptions:
    parser = argparse.ArgumentParser()
    add_farm_arguments(parser)
    return options_of(parser.parse_args(argv))


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("VOICEFARM_")]:
        monkeypatch.delenv(name)


def test_one_of_each_role_unless_told() -> None:
    assert options().counts == dict.fromkeys(ROLES, 1)
    assert options("--fronts", "2", "--jobs", "0").counts == {
        **dict.fromkeys(ROLES, 1),
        "front": 2,
        "jobs": 0,
    }


def test_configuration_file_is_made_absolute_and_may_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert options("--config", "x.yaml").config_path == os.path.abspath("x.yaml")
    monkeypatch.setenv("VOICEFARM_CONFIG", "/etc/farm.yaml")
    assert options().config_path == "/etc/farm.yaml"
    assert options("--config", "/x.yaml").config_path == "/x.yaml"
    assert FarmOptions().config_path == ""


@pytest.mark.parametrize(
    "argv",
    [
        ["--fronts", "-1"], ["--fronts", "257"], ["--fronts", "two"], ["--sip-port", "0"], ["--sip-port", "65536"],
        ["--rtp-ports", "20001-20100"], ["--rtp-ports", "all"], ["--rtp-ports", "80-90"], ["--wait", "long"],
    ],
)  # fmt: skip
def test_wrong_value_is_refused_with_its_name(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options(*argv)
    assert argv[0] in capsys.readouterr().err


def build(tmp_path: Path, **changes: object) -> None:
    values: dict[str, object] = {"var": str(tmp_path), "redis_url": "redis://127.0.0.1:1/0"}
    build_farm(FarmOptions(**(values | changes)), lambda _: None)  # type: ignore[arg-type]


def test_second_farm_in_the_same_place_is_refused_by_the_pid_of_the_first(tmp_path: Path) -> None:
    write_farm(str(tmp_path), FarmRecord(
        pid=os.getpid(), started_ms=0, redis_url="", prefix="vf", sip_host="h", sip_ports=[], recordings="",
        ready=True, processes=[],
    ))  # fmt: skip
    with pytest.raises(FarmError, match=rf"runs already \(pid {os.getpid()}\)"):
        build(tmp_path)


def test_wrong_configuration_is_told_before_anything_is_claimed(tmp_path: Path) -> None:
    file = tmp_path / "farm.yaml"
    file.write_text("sip: {port: many}")
    with pytest.raises(ConfigError) as caught:
        build(tmp_path, config_path=str(file))
    assert caught.value.key == "sip.port"


def test_taken_sip_port_is_named_and_the_claim_given_back(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("0.0.0.0", 0))
        port = holder.getsockname()[1]
        free_before = [p for p in range(9_300, 9_700, 40) if is_free(p, socket.SOCK_STREAM, "127.0.0.1")]
        with pytest.raises(FarmError, match=str(port)):
            build(tmp_path, sip_port=port)
    assert [p for p in free_before if is_free(p, socket.SOCK_STREAM, "127.0.0.1")] == free_before


def test_server_named_in_the_file_is_used_and_the_built_in_address_is_not(tmp_path: Path) -> None:
    file = tmp_path / "farm.yaml"
    file.write_text("redis: {url: 'redis://192.0.2.5/3'}")
    farm, config = build_farm(FarmOptions(var=str(tmp_path), config_path=str(file)), lambda _: None)
    assert farm.plan.redis_url == config.redis.url == "redis://192.0.2.5/3"
    assert not [child for child in farm.plan.children if child.role == "redis"]
    private, _ = build_farm(FarmOptions(var=str(tmp_path)), lambda _: None)
    assert private.plan.redis_url != Config().redis.url
    assert [child.role for child in private.plan.children].count("redis") == 1
    for made in (farm, private):
        made._claim.close()
