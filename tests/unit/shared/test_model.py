"""The configuration's model: every default is valid, every bound is enforced, every key is documented."""

import ast
import inspect
from typing import Any

import msgspec
import pytest

from shared.config import Config, model, parse_port_range
from shared.config.model import DEFAULT_ROUTES, Section
from shared.contracts import AppKind

pytestmark = pytest.mark.unit

SECTIONS = [f.name for f in msgspec.structs.fields(Config) if f.name != "routes"]


def convert(section: str, **values: Any) -> Any:
    return getattr(msgspec.convert({section: values}, Config), section)


@pytest.mark.parametrize("section", SECTIONS)
def test_defaults_pass_their_own_rules(section: str) -> None:
    defaults = msgspec.to_builtins(getattr(Config(), section))
    assert convert(section, **defaults) == getattr(Config(), section)


@pytest.mark.parametrize("section", SECTIONS)
def test_unknown_key_is_an_error_and_never_passed_over(section: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="no_such_key"):
        convert(section, no_such_key=1)


@pytest.mark.parametrize(
    ("section", "key", "good", "bad"),
    [
        ("sip", "port", [0, 1, 65_535], [-1, 65_536, "5060", 1.5, None]),
        ("sip", "max_dialogs", [1], [0, -1, True]),
        ("sip", "retry_after_s", [1, 60], [0]),
        ("sip", "media_answer_timeout_s", [0, 0.5], [-0.1, "soon"]),
        ("media", "capacity", [1, 5_000], [0]),
        ("media", "quarantine_s", [0], [-1]),
        ("media", "vad_threshold_dbfs", [-60, -45.5], ["quiet"]),
        ("stt", "batch_max", [1, 64], [0, 65]),
        ("stt", "window_s", [12, 30], [11.9, 31]),
        ("stt", "engine", ["auto", "pocketsphinx", "faster-whisper"], ["sphinx", ""]),
        ("stt", "device", ["cpu", "cuda"], ["gpu"]),
        ("tts", "rate_wpm", [80, 450], [79, 451]),
        ("tts", "engine", ["espeak", "openai", "tones"], ["festival"]),
        ("llm", "first_token_ms", [1], [0]),
        ("ops", "log_format", ["json", "text"], ["xml"]),
        ("ops", "log_level", ["debug", "error"], ["DEBUG"]),
        ("ops", "call_series_max", [1], [0]),
        ("jobs", "keep_wav", [True, False], ["yes", 1]),
    ],
)
def test_bounds_of_a_value(section: str, key: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert getattr(convert(section, **{key: value}), key) == value
    for value in bad:
        with pytest.raises(msgspec.ValidationError, match=key):
            convert(section, **{key: value})


def test_configuration_cannot_be_changed_after_it_was_read() -> None:
    with pytest.raises(AttributeError):
        Config().sip.port = 1  # type: ignore[misc]


def test_default_routes_lead_to_every_application() -> None:
    assert {route.app for route in DEFAULT_ROUTES} == set(AppKind.__args__)
    assert all(route.agent for route in DEFAULT_ROUTES if route.app == "agent")


def test_default_rtp_ports_lie_below_the_ephemeral_range() -> None:
    ports = parse_port_range(Config().media.ports)
    assert ports[-1] + 1 < 32_768  # Linux: net.ipv4.ip_local_port_range
    assert len(ports) >= Config().media.capacity


def test_every_key_with_a_meaning_that_its_name_does_not_say_is_documented() -> None:
    """Fields whose unit or effect is open have a text after them: the reference page is made of it."""
    tree = ast.parse(inspect.getsource(model))
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name != Section.__name__]
    assert all(ast.get_docstring(c) for c in classes)
    documented = [
        field.target.id
        for c in classes
        for field, after in zip(c.body, c.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(after, ast.Expr)
    ]
    assert {"trusted_proxies", "quarantine_s", "window_s", "drain_s", "first_token_ms"} <= set(documented)
