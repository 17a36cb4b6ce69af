"""Reads agent files from a directory and keeps the parsed ones; a changed file counts for the next call."""

import os
from dataclasses import dataclass
from importlib.resources import files

from aiworker.core.agent import Agent, parse
from aiworker.core.failover import Chain
from aiworker.llm.engines import build
from aiworker.llm.port import LlmEngine
from shared.config import LlmConfig
from shared.errors import ConfigError
from shared.ids import safe_label


@dataclass(frozen=True, slots=True)
class Loaded:
    """An agent with its engines and their health, shared by its calls."""

    agent: Agent
    engines: list[LlmEngine]
    chain: Chain
    stamp: tuple[int, int]
    """Modification time and size of the file it came from."""


class Agents:
    """The agents of one worker."""

    def __init__(self, config: LlmConfig) -> None:
        self._config = config
        self._folder = config.agents_dir or str(files("aiworker") / "agents")
        self._loaded: dict[str, Loaded] = {}

    def get(self, name: str) -> Loaded:
        """The agent `name`. Raises ConfigError when its file is missing or wrong and it was never right.

        A file that became wrong while its agent serves calls leaves the last good version in service.
        """
        path = os.path.join(self._folder, f"{safe_label(name)}.yaml")
        known = self._loaded.get(name)
        try:
            status = os.stat(path)
        except OSError as error:
            if known:
                return known
            raise ConfigError(f"agents.{name}", f"cannot be read: {path}: {error.strerror}") from error
        stamp = (status.st_mtime_ns, status.st_size)
        if known is None or known.stamp != stamp:
            with open(path, encoding="utf-8") as file:
                agent = parse(file.read(), f"agents.{name}")
            engines = build(agent, self._config)
            known = self._loaded[name] = Loaded(agent, engines, Chain(len(engines)), stamp)
        return known

    def names(self) -> list[str]:
        """Every agent in the folder."""
        found = sorted(os.listdir(self._folder)) if os.path.isdir(self._folder) else []
        return [name.removesuffix(".yaml") for name in found if name.endswith(".yaml")]

    async def close(self) -> None:
        for loaded in self._loaded.values():
            for engine in loaded.engines:
                await engine.close()
