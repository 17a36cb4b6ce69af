"""An agent as its YAML file describes it: typed, checked, and nothing in it silently ignored.

A wrong value is a ConfigError whose key names the file's agent and the value. It must not read files: `parse` takes the
text. The format is explained in docs/agents.md.
"""

import re
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta, Struct

from shared.errors import ConfigError

_PATH = re.compile(r" - at `\$\.?(.*)`$")
_FIELD = re.compile(r"\{(\w*)\}")
BUILT_IN = frozenset({"caller", "callee", "text", "agent"})
"""Variables that every template may use: who calls whom, what the caller said last, the agent's name."""


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of an agent; unknown keys are errors."""


class EngineSpec(Part, frozen=True, kw_only=True):
    """One language model provider."""

    engine: Literal["script", "openai"] = "script"
    model: str = ""
    """Empty: `llm.model` of the configuration."""
    base_url: str = ""
    """Empty: `llm.base_url` of the configuration."""
    api_key_env: str = ""
    """Environment variable with the key; empty: `llm.api_key_env` of the configuration."""
    options: dict[str, Any] = {}
    """Sent with each request as they are: temperature, max_tokens, ..."""


class Intent(Part, frozen=True, kw_only=True):
    """What the caller may want, how it is recognised, and the answer. The best match wins, ties go to the first."""

    name: str
    keywords: list[str] = []
    """Words or phrases, each of which is enough; more and longer ones make a better match."""
    match: str = ""
    """Regular expression searched in the text; its named groups are variables of the reply. Beats keywords."""
    digits: str = ""
    """A key press, as `1`."""
    reply: Annotated[list[str], Meta(min_length=1)]
    """Templates, used in turn when the caller comes back to the same intent."""
    hangup: bool = False


class Script(Part, frozen=True, kw_only=True):
    """An agent without a model: intents and templates."""

    intents: list[Intent] = []
    otherwise: Annotated[list[str], Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: ["Sorry, I can not help with that."]
    )
    """When no intent matches, in turn."""


class Idle(Part, frozen=True, kw_only=True):
    """What happens when the caller says nothing."""

    after_s: Annotated[float, Meta(ge=0)] = 0.0
    """0: the agent waits for ever."""
    phrase: str = "Are you still there?"
    times: Annotated[int, Meta(ge=0)] = 2
    """How often it asks before it says the farewell and hangs up."""


class Dtmf(Part, frozen=True, kw_only=True):
    """How key presses become a message."""

    max_digits: Annotated[int, Meta(ge=1, le=32)] = 1
    """So many digits, or `#`, end the input."""
    timeout_ms: Annotated[int, Meta(ge=100)] = 1_500
    """So does a pause of this length."""


class Agent(Part, frozen=True, kw_only=True):
    """Everything an agent file may say."""

    name: str
    language: str = "en"
    greeting: str = ""
    prompt: str = "You are a friendly agent on the telephone. Answer in one or two short sentences."
    llm: EngineSpec = EngineSpec()
    fallback: list[EngineSpec] = []
    """Tried in order when `llm` fails before the caller heard anything of the reply."""
    apology: str = "Sorry, something went wrong on my side. Could you say that again?"
    """Said when no engine answered, or one failed in the middle of a reply."""
    unheard: str = "Sorry, I did not catch that."
    """Said when speech was detected but no words; empty: nothing is said."""
    farewell: str = "Thank you for calling. Goodbye."
    voice: str = ""
    """Empty: the TTS worker's own."""
    variables: dict[str, str] = {}
    """Defaults; the trusted header `X-Var-Name` of a call overrides `name`."""
    script: Script = Script()
    idle: Idle = Idle()
    dtmf: Dtmf = Dtmf()
    may_hang_up: bool = False
    """Offers an `openai` engine a tool that ends the call."""
    max_turns: Annotated[int, Meta(ge=1)] = 100
    """After so many turns of the caller the agent says the farewell and hangs up."""
    max_history: Annotated[int, Meta(ge=2)] = 40
    """Messages an engine gets to see besides the prompt."""

    def engines(self) -> list[EngineSpec]:
        """The chain, first choice first."""
        return [self.llm, *self.fallback]


def parse(text: str, source: str) -> Agent:
    """The agent in `text`. Raises ConfigError whose key is `source` and the path of what is wrong."""
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(source, f"not YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(source, "must be a map")
    try:
        agent = msgspec.convert(tree, Agent)
    except msgspec.ValidationError as error:
        raise _named(str(error), source) from error
    _check(agent, source)
    return agent


def fill(template: str, values: dict[str, str]) -> str:
    """`template` with every `{name}` replaced; a name without a value becomes nothing."""
    return " ".join(_FIELD.sub(lambda found: values.get(found[1], ""), template).split())


def call_variables(agent: Agent, metadata: dict[str, str]) -> dict[str, str]:
    """The variables of one call: the agent's defaults, overridden by trusted X-Var- headers."""
    headers = {key.lower(): value for key, value in metadata.items()}
    given = {
        name: headers.get(f"x-var-{name.lower().replace('_', '-')}", value)
        for name, value in agent.variables.items()
    }
    who = {"caller": headers.get("from", ""), "callee": headers.get("to", ""), "agent": agent.name}
    return who | given


def _named(problem: str, source: str) -> ConfigError:
    path = _PATH.search(problem)
    unknown = re.search(r"unknown field `(.*?)`", problem)
    parts = [source, path[1] if path else "", unknown[1] if unknown else ""]
    return ConfigError(".".join(part for part in parts if part), _PATH.sub("", problem))


def _check(agent: Agent, source: str) -> None:
    known = BUILT_IN | set(agent.variables)
    for key in ("greeting", "prompt", "apology", "unheard", "farewell"):
        _check_template(getattr(agent, key), known, f"{source}.{key}")
    for index, text in enumerate(agent.script.otherwise):
        _check_template(text, known, f"{source}.script.otherwise[{index}]")
    for index, intent in enumerate(agent.script.intents):
        _check_intent(intent, known, f"{source}.script.intents[{index}]")


def _check_intent(intent: Intent, known: frozenset[str] | set[str], key: str) -> None:
    if not (intent.keywords or intent.match or intent.digits):
        raise ConfigError(key, f"{intent.name!r} needs keywords, match or digits, or it can never be chosen")
    try:
        groups = set(re.compile(intent.match).groupindex)
    except re.error as error:
        raise ConfigError(f"{key}.match", f"not a regular expression: {error}") from error
    for index, text in enumerate(intent.reply):
        _check_template(text, known | groups, f"{key}.reply[{index}]")


def _check_template(text: str, known: frozenset[str] | set[str], key: str) -> None:
    for name in _FIELD.findall(text):
        if name not in known:
            raise ConfigError(key, f"no variable {name!r}; there are {', '.join(sorted(known))}")
