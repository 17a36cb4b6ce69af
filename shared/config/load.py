"""Loads the configuration: defaults, then a YAML file, then the environment.

The environment overrides single keys: `VOICEFARM_SIP__PORT=5070` is `sip.port`; values are read as YAML, so numbers,
booleans and lists work. A wrong value is a ConfigError that names the key; nothing is replaced silently.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from shared.config.model import Config
from shared.errors import ConfigError

_PREFIX = "VOICEFARM_"
_SHORT = {"VOICEFARM_REDIS_URL": "redis.url", "VOICEFARM_PCM_REDIS_URL": "redis.pcm_url"}
_NOT_KEYS = {"VOICEFARM_CONFIG", "VOICEFARM_WORKER_NAME", "VOICEFARM_WORKER_INDEX", "VOICEFARM_WORKER_COUNT"}
_PATH = re.compile(r" - at `\$\.?(.*)`$")


def load(path: str | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration from `path` (default: $VOICEFARM_CONFIG) and the environment.

    Raises ConfigError, whose `key` is the dotted name of what is wrong.
    """
    env = os.environ if environ is None else environ
    path = path or env.get("VOICEFARM_CONFIG")
    tree = _read_file(path) if path else {}
    for name, value in sorted(env.items()):
        key = _key_of(name)
        if key:
            _set(tree, key, value)
    config = _convert(tree)
    _check(config)
    return config


def parse_port_range(text: str) -> range:
    """The even ports of `first-last`. Raises ConfigError for anything that is not such a range."""
    match = re.fullmatch(r"(\d+)-(\d+)", text.strip())
    if not match:
        raise ConfigError("media.ports", f"{text!r} is not first-last")
    first, last = int(match[1]), int(match[2])
    if first % 2 or not 1024 <= first < last <= 65535:
        raise ConfigError("media.ports", f"{text!r}: first must be even, 1024 <= first < last <= 65535")
    return range(first, last, 2)


def _read_file(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            tree = yaml.safe_load(file) or {}
    except OSError as error:
        raise ConfigError(path, f"cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(path, f"not YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(path, "must be a map of sections")
    return tree


def _key_of(name: str) -> str | None:
    if name in _SHORT:
        return _SHORT[name]
    if not name.startswith(_PREFIX) or name in _NOT_KEYS:
        return None
    return name.removeprefix(_PREFIX).lower().replace("__", ".")


def _set(tree: dict[str, Any], key: str, value: str) -> None:
    *sections, last = key.split(".")
    node = tree
    for section in sections:
        child = node.setdefault(section, {})
        if not isinstance(child, dict):
            raise ConfigError(key, f"{section} is not a section")
        node = child
    try:
        node[last] = yaml.safe_load(value) if value else value
    except yaml.YAMLError as error:
        raise ConfigError(key, f"not YAML: {value!r}") from error


def _convert(tree: dict[str, Any]) -> Config:
    try:
        return msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:
        text = str(error)
        match = _PATH.search(text)
        unknown = re.search(r"unknown field `(.*?)`", text)
        key = match[1] if match else ""
        if unknown:
            key = f"{key}.{unknown[1]}" if key else unknown[1]
        raise ConfigError(key or "configuration", _PATH.sub("", text)) from error


def _check(config: Config) -> None:
    parse_port_range(config.media.ports)
    networks = {
        "sip.trusted_proxies": config.sip.trusted_proxies,
        "sip.allowed": config.sip.allowed,
        "media.media_cidrs": config.media.media_cidrs,
        "media.remote_deny": config.media.remote_deny,
        "media.remote_allow": config.media.remote_allow,
    }
    networks |= {
        f"routes[{index}].media_cidrs": route.media_cidrs for index, route in enumerate(config.routes)
    }
    for key, values in networks.items():
        for value in values:
            _check_network(key, value)
    _check_codecs(config)
    for index, route in enumerate(config.routes):
        _check_route(f"routes[{index}]", route.user, route.header)
        if route.app == "agent" and not route.agent:
            raise ConfigError(f"routes[{index}].agent", "an agent route names its agent")


def _check_codecs(config: Config) -> None:
    """What nothing could be agreed on with is no setting."""
    if not config.media.codecs:
        raise ConfigError("media.codecs", "at least one codec is needed")
    if not config.sip.srtp_suites:
        raise ConfigError("sip.srtp_suites", "at least one suite is needed: sip.srtp off turns SRTP off")
    for index, route in enumerate(config.routes):
        missing = [name for name in route.codecs if name not in config.media.codecs]
        if missing:
            raise ConfigError(f"routes[{index}].codecs", f"{missing[0]} is not in media.codecs")


def _check_network(key: str, value: str) -> None:
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        raise ConfigError(key, str(error)) from error


def _check_route(key: str, user: str, header: str) -> None:
    patterns = {"user": user}
    if header:
        name, colon, pattern = header.partition(":")
        if not colon or not name.strip().lower().startswith("x-"):
            raise ConfigError(f"{key}.header", f"{header!r} is not `X-Name: regex`")
        patterns["header"] = pattern.strip()
    for field, pattern in patterns.items():
        try:
            re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"{key}.{field}", f"not a regular expression: {error}") from error
