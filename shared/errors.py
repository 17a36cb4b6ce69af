"""The error tree. Every error says who erred and carries what the outside is told.

FarmError
+-- ConfigError        the operator's file or environment: names the key
+-- ContractError      a message between our processes
|   +-- UnknownMessage   a tag this process does not know
|   +-- UnknownVersion   a version newer than this process
+-- BusError           Redis cannot be reached or refuses
+-- Refused            a request cannot be served now or ever: `reason` is a metric label, `retry_after_s` for 503
+-- EngineError        an STT, LLM or TTS engine
+-- EngineTimeout    no useful progress before the deadline
+-- EngineMissing    its package or model is not installed: says what to install
"""


class FarmError(Exception):
    """Root of everything the farm raises on purpose."""


class ConfigError(FarmError):
    """A configuration value is wrong; `key` is its dotted name."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem


class ContractError(FarmError):
    """A message that is not what its contract says."""


class UnknownMessage(ContractError):
    """A tag that this process does not know."""


class UnknownVersion(ContractError):
    """A version newer than this process: its sender was deployed before its reader."""


class BusError(FarmError):
    """The bus did not take or give what was asked."""


class Refused(FarmError):
    """A request that is not served; `reason` is a short metric label."""

    def __init__(self, reason: str, detail: str = "", retry_after_s: int | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class EngineError(FarmError):
    """An engine failed; the chain tries the next one."""


class EngineTimeout(EngineError):
    """An engine made no useful progress before its deadline."""


class EngineMissing(EngineError):
    """An engine's package or model is absent."""
