"""Wires an AI worker: role, configuration, logs, event loop. Each role imports only what it needs.

Exit status: 0 after a drain, 2 for a wrong command line, 69 when an engine is missing, 78 for a wrong configuration
(the last three of sysexits.h), so that a supervisor can tell what a restart will not mend.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence

import uvloop

from shared.config import Config, load
from shared.errors import ConfigError, EngineMissing
from shared.log import get_log, set_up_logs

log = get_log(__name__)

_EX_UNAVAILABLE = 69
_EX_CONFIG = 78

Serve = Callable[[Config, str], Awaitable[None]]


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m aiworker ROLE`."""
    parser = argparse.ArgumentParser(prog="aiworker", description="One AI worker of the farm.")
    parser.add_argument("role", choices=sorted(ROLES))
    role: str = parser.parse_args(argv).role
    name = os.environ.get("VOICEFARM_WORKER_NAME") or f"{role}-0"
    try:
        config = load()
    except ConfigError as error:
        sys.stderr.write(f"aiworker {role}: {error}\n")
        return _EX_CONFIG
    set_up_logs(name, config.ops.log_level, config.ops.log_format)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(role, config, name))
    except ConfigError as error:
        log.error("configuration", key=error.key, problem=error.problem)  # noqa: TRY400  says it all
        return _EX_CONFIG
    except EngineMissing as error:
        log.error("engine missing", role=role, problem=str(error))  # noqa: TRY400  says it all
        return _EX_UNAVAILABLE
    return 0


async def _serve(role: str, config: Config, name: str) -> None:
    await ROLES[role]()(config, name)


def _stt() -> Serve:
    from aiworker.io.stt_worker import serve  # noqa: PLC0415  a role does not pay for the others' engines

    return serve


def _llm() -> Serve:
    from aiworker.io.llm_worker import serve  # noqa: PLC0415

    return serve


def _tts() -> Serve:
    from aiworker.io.tts_worker import serve  # noqa: PLC0415

    return serve


ROLES: dict[str, Callable[[], Serve]] = {"stt": _stt, "llm": _llm, "tts": _tts}
