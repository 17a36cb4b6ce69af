"""`voicefarm up`: starts a farm on this machine and keeps it up until Ctrl-C."""

import argparse
import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Sequence

from shared.errors import BusError
from voicefarm.commands.farm_options import add_farm_arguments, build_farm, options_of
from voicefarm.io.farm import Farm, NotReady
from voicefarm.io.screen import say


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "up", help="start a farm on this machine and keep it up", description=__doc__
    )
    add_farm_arguments(parser)
    parser.add_argument("--then", nargs=argparse.REMAINDER, metavar="COMMAND",
                        help="run COMMAND when the farm is ready, then end it and exit as COMMAND did")  # fmt: skip
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    farm, _ = build_farm(options_of(args), say)
    async with running(farm, args.wait) as life:
        say(await summary(farm, args.var))
        if args.then:
            return await _then(args.then, life)
        await life
    return 0


@contextlib.asynccontextmanager
async def running(farm: Farm, wait_s: float) -> AsyncIterator["asyncio.Task[None]"]:
    """The farm, ready, until the block is left or a signal came (then the task given has ended). Raises NotReady."""
    say(f"starting {len(farm.plan.children)} processes")
    life = asyncio.create_task(farm.run(), name="farm")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, farm.stop)
    try:
        await _until_ready(farm, life, wait_s)
        yield life
    finally:
        if not life.done() and not farm.stopping:
            farm.stop()
        await life
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _until_ready(farm: Farm, life: "asyncio.Task[None]", wait_s: float) -> None:
    ready = asyncio.create_task(farm.wait_ready(wait_s))
    await asyncio.wait({ready, life}, return_when=asyncio.FIRST_COMPLETED)
    if life.done():
        ready.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        try:
            await ready
        except NotReady:
            if not farm.stopping:
                raise
            await life


async def _then(command: Sequence[str], life: "asyncio.Task[None]") -> int:
    process = await asyncio.create_subprocess_exec(*command)
    code = asyncio.create_task(process.wait())
    await asyncio.wait({code, life}, return_when=asyncio.FIRST_COMPLETED)
    if not code.done():
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    return await code


async def summary(farm: Farm, var: str) -> str:
    """What runs where, and how to call it."""
    if farm.stopping:
        return "ended before it was ready"
    where = farm.sip_uri_host
    lines = [f"the farm is up: {await _engines(farm)}"]
    if where:
        lines.append(f"  call    sip:agent@{where}  (or echo, parrot, transcribe, conf1)")
    lines += [
        f"  redis   {farm.plan.redis_url}",
        f"  logs    {os.path.join(var, 'log')}/   what runs: {os.path.join(var, 'run', 'farm.json')}",
        f"  watch   voicefarm tail --var {var}   check: voicefarm doctor --var {var}",
        "  Ctrl-C ends it",
    ]
    return "\n".join(lines)


async def _engines(farm: Farm) -> str:
    try:
        workers = await farm.workers()
    except BusError:
        return "its registry does not answer"
    named = sorted({f"{w.role} {w.engine}" for w in workers if w.engine and w.role in {"stt", "llm", "tts"}})
    return ", ".join([f"{len(workers)} workers", *named])
