"""The script of a call: recordings and steps, typed, from YAML. A wrong script is a ConfigError that names the place.

Format and an example: docs/cli.md and voicefarm/demo/caller.yaml.
"""

import re
from typing import Annotated

import msgspec
import yaml
from msgspec import Meta

from shared.errors import ConfigError

Ms = Annotated[int, Meta(ge=0, le=600_000)]
Share = Annotated[float, Meta(ge=0, le=1)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Recording(_Part, frozen=True, kw_only=True):
    """A WAV and what is said in it; without a text nothing is compared."""

    file: str
    text: str = ""


class Listen(_Part, frozen=True, kw_only=True):
    """Wait until the farm has spoken and is silent for `silence_ms`; it must begin within `within_ms`."""

    within_ms: Ms = 10_000
    silence_ms: Ms = 900
    at_most_ms: Ms = 60_000
    """It must have ended by then."""


class Interrupt(_Part, frozen=True, kw_only=True):
    """Say something `after_ms` into what the farm says; it must fall silent `stopped_within_ms` after that began."""

    say: str
    after_ms: Ms = 1_000
    within_ms: Ms = 10_000
    stopped_within_ms: Ms = 1_000


class Ended(_Part, frozen=True, kw_only=True):
    """The farm must hang up within this time."""

    within_ms: Ms = 10_000


class Step(_Part, frozen=True, kw_only=True):
    """One step; exactly one of the keys is given."""

    say: str | None = None
    listen: Listen | None = None
    interrupt: Interrupt | None = None
    wait_ms: Ms | None = None
    press: str | None = None
    ended: Ended | None = None
    hang_up: bool | None = None

    @property
    def kind(self) -> str:
        return next(name for name in self.__struct_fields__ if getattr(self, name) is not None)


class Script(_Part, frozen=True, kw_only=True):
    """A call."""

    name: str = "call"
    recordings: dict[str, Recording] = {}
    steps: list[Step] = []
    words: Share = 1.0
    """Share of the words of each text that its transcript must have, in order."""


def parse_script(text: str, where: str) -> Script:
    """The script in `text`. Raises ConfigError."""
    try:
        script = msgspec.convert(yaml.safe_load(text), Script)
    except yaml.YAMLError as error:
        raise ConfigError(where, f"not YAML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(where, str(error)) from error
    for number, step in enumerate(script.steps):
        _check(script, step, f"{where}: steps[{number}]")
    return script


def _check(script: Script, step: Step, where: str) -> None:
    given = [name for name in step.__struct_fields__ if getattr(step, name) is not None]
    if len(given) != 1:
        known = ", ".join(step.__struct_fields__)
        raise ConfigError(
            where, f"a step has exactly one of {known}, this one has {', '.join(given) or 'none'}"
        )
    wanted = step.say or (step.interrupt.say if step.interrupt else None)
    if wanted is not None and wanted not in script.recordings:
        raise ConfigError(where, f"no recording is named {wanted!r}")
    if step.press is not None and not re.fullmatch(r"[0-9*#A-D]+", step.press):
        raise ConfigError(where, f"{step.press!r} are not telephone keys")


def words_of(text: str) -> list[str]:
    """The words of a text for comparing: lower case, without punctuation."""
    return re.findall(r"[a-z0-9']+", text.lower())


def share_of_words(wanted: str, got: str) -> float:
    """Share of the wanted words that are found in order: the longest common subsequence over the longer text."""
    left, right = words_of(wanted), words_of(got)
    if not left or not right:
        return float(left == right)
    row = [0] * (len(right) + 1)
    for word in left:
        before = row[:]
        for n, other in enumerate(right, 1):
            row[n] = before[n - 1] + 1 if word == other else max(before[n], row[n - 1])
    return row[-1] / max(len(left), len(right))
