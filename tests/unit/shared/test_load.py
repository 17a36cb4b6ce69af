"""Configuration: file, environment, and errors that name the key."""

from pathlib import Path

import pytest

from shared.config import Config, load, parse_port_range
from shared.errors import ConfigError

pytestmark = pytest.mark.unit


def write(path: Path, text: str) -> str:
    file = path / "voicefarm.yaml"
    file.write_text(text)
    return str(file)


def test_defaults_hold_when_nothing_is_given() -> None:
    assert load(None, {}) == Config()


def test_file_and_environment_are_merged_when_both_are_given(tmp_path: Path) -> None:
    path = write(tmp_path, "sip: {port: 5070, max_dialogs: 7}\nmedia: {capacity: 10}\n")
    config = load(path, {"VOICEFARM_SIP__PORT": "5080", "VOICEFARM_MEDIA__MEDIA_CIDRS": "[10.0.0.0/8]"})
    assert (config.sip.port, config.sip.max_dialogs, config.media.capacity) == (5080, 7, 10)
    assert config.media.media_cidrs == ("10.0.0.0/8",)


def test_networks_of_a_route_are_checked(tmp_path: Path) -> None:
    assert load(write(tmp_path, "routes: [{media_cidrs: [10.0.0.0/8]}]\n"), {}).routes[0].media_cidrs == (
        "10.0.0.0/8",
    )
    with pytest.raises(ConfigError, match=r"routes\[1\].media_cidrs"):
        load(write(tmp_path, "routes: [{}, {media_cidrs: [10.0.0.1/8]}]\n"), {})


def test_short_names_set_the_redis_urls() -> None:
    env = {"VOICEFARM_REDIS_URL": "redis://a:1/0", "VOICEFARM_PCM_REDIS_URL": "redis://b:1/0"}
    config = load(None, env)
    assert (config.redis.url, config.redis.pcm_url) == ("redis://a:1/0", "redis://b:1/0")


def test_config_file_is_found_through_the_environment(tmp_path: Path) -> None:
    path = write(tmp_path, "tts: {engine: tones}")
    assert load(None, {"VOICEFARM_CONFIG": path}).tts.engine == "tones"


def test_other_environment_is_left_alone() -> None:
    assert load(None, {"HOME": "/", "VOICEFARM_WORKER_NAME": "media-3", "PATH": ""}) == Config()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("sip: {port: 70000}", "sip.port"),
        ("sip: {port: five}", "sip.port"),
        ("sip: {prt: 5060}", "sip.prt"),
        ("spi: {}", "spi"),
        ("media: {ports: '20001-20010'}", "media.ports"),
        ("media: {ports: nonsense}", "media.ports"),
        ("media: {ports: '30000-20000'}", "media.ports"),
        ("sip: {trusted_proxies: [10.0.0.0/99]}", "sip.trusted_proxies"),
        ("routes: [{user: '(', app: echo}]", "routes[0].user"),
        ("routes: [{app: agent}]", "routes[0].agent"),
        ("routes: [{app: echo, header: 'From: x'}]", "routes[0].header"),
        ("routes: [{app: echo, header: 'X-A: ('}]", "routes[0].header"),
        ("routes: [{app: dance}]", "routes[0].app"),
        ("stt: {batch_max: 0}", "stt.batch_max"),
        ("ops: {log_level: loud}", "ops.log_level"),
    ],
)
def test_error_names_the_key_when_a_value_is_wrong(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), {})
    assert caught.value.key == key


def test_environment_error_names_the_key() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {"VOICEFARM_MEDIA__CAPACITY": "many"})
    assert caught.value.key == "media.capacity"
    with pytest.raises(ConfigError, match="not YAML"):
        load(None, {"VOICEFARM_MEDIA__CAPACITY": "[1"})


def test_environment_cannot_turn_a_value_into_a_section(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a section"):
        load(write(tmp_path, "sip: 5"), {"VOICEFARM_SIP__PORT": "1"})


def test_unreadable_or_wrong_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(str(tmp_path / "absent.yaml"), {})
    with pytest.raises(ConfigError, match="not YAML"):
        load(write(tmp_path, "a: [1"), {})
    with pytest.raises(ConfigError, match="map of sections"):
        load(write(tmp_path, "- 1"), {})


@pytest.mark.parametrize("data", [b"sip: {host: M\xfcnchen}", b"a: \x00", b"\xff\xfe"])
def test_file_that_is_no_text_is_an_error_that_names_it(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes(data)
    with pytest.raises(ConfigError, match="not YAML") as caught:
        load(str(file), {})
    assert caught.value.key == str(file)


def test_empty_file_is_all_defaults_and_an_empty_section_an_error(tmp_path: Path) -> None:
    assert load(write(tmp_path, "# nothing yet\n"), {}) == Config()
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, "sip:\n"), {})
    assert caught.value.key == "sip"


def test_empty_value_in_the_environment_is_the_empty_text() -> None:
    assert load(None, {"VOICEFARM_REDIS__PCM_URL": ""}).redis.pcm_url == ""
    with pytest.raises(ConfigError) as caught:
        load(None, {"VOICEFARM_SIP__PORT": ""})
    assert caught.value.key == "sip.port"


@pytest.mark.parametrize("text", ["", "1-2-3", " 20000 - 20010 ", "0-10", "1024-1024", "65534-70000", "-2-8"])
def test_what_is_no_port_range_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_port_range(text)
    assert caught.value.key == "media.ports"


def test_port_range_gives_even_ports() -> None:
    assert list(parse_port_range("20000-20005")) == [20000, 20002, 20004]


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({"VOICEFARM_MEDIA__CODECS": "[]"}, "media.codecs"),
        ({"VOICEFARM_MEDIA__CODECS": "[SILK]"}, "media.codecs"),
        ({"VOICEFARM_SIP__SRTP": "perhaps"}, "sip.srtp"),
        ({"VOICEFARM_SIP__SRTP_SUITES": "[]"}, "sip.srtp_suites"),
        ({"VOICEFARM_MEDIA__CODECS": "[PCMU]", "VOICEFARM_ROUTES": "[{codecs: [OPUS]}]"}, "routes[0].codecs"),
    ],
)
def test_codecs_and_keys_that_nothing_could_be_agreed_on_with(environ: dict[str, str], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ=environ)
    assert caught.value.key.startswith(key)
