"""The one configuration of the farm: `load()` gives a `Config`, or a ConfigError that names the key."""

from shared.config.load import load, parse_port_range
from shared.config.model import (
    Config,
    JobsConfig,
    LlmConfig,
    MediaConfig,
    OpsConfig,
    RedisConfig,
    Route,
    SipConfig,
    SttConfig,
    TtsConfig,
)

__all__ = [
    "Config", "JobsConfig", "LlmConfig", "MediaConfig", "OpsConfig", "RedisConfig", "Route", "SipConfig", "SttConfig", "TtsConfig",
    "load", "parse_port_range",
]  # fmt: skip
