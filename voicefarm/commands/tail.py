"""`voicefarm tail`: what happens in a call, while it happens; without a name, in every call of the farm."""

import argparse
import asyncio
import contextlib

import msgspec

from shared.config import load
from shared.contracts import CallEvent
from shared.errors import BusError, FarmError
from voicefarm.commands.farm_options import add_var_argument
from voicefarm.core.story import answered_ns, format_line, tell, turn_times, waterfall
from voicefarm.io.events import EventLogs
from voicefarm.io.run_file import read_farm
from voicefarm.io.screen import say

SHORT = 8
"""Characters of a call id that tell calls apart on a screen: its end, for the beginning is the time."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("tail", help="watch calls while they happen", description=__doc__)
    parser.add_argument(
        "call",
        nargs="?",
        default="",
        help="call id (or its end), or `newest`; default: every call, also new ones",
    )
    parser.add_argument(
        "--redis", default="", metavar="URL", help="Redis of the farm (default: of the one that runs here)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per event, everything in it")
    parser.add_argument("--waterfall", action="store_true", help="where the time of each turn went")
    add_var_argument(parser)
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    farm = read_farm(args.var)
    config = load()
    logs = EventLogs(
        args.redis or (farm.redis_url if farm else config.redis.url),
        farm.prefix if farm else config.redis.prefix,
    )
    try:
        if args.call:
            await follow_one(logs, await _find(logs, args.call), as_json=args.json, bars=args.waterfall)
        else:
            await follow_all(logs, as_json=args.json, bars=args.waterfall)
    finally:
        await logs.close()
    return 0


async def _find(logs: EventLogs, wanted: str) -> str:
    live = [call.call_id for call in await logs.calls()]
    if wanted == "newest":
        if not live:
            raise FarmError("no call is up")
        return live[-1]
    found = next((call_id for call_id in live if call_id.endswith(wanted)), "")
    if not found and not await logs.has_log(wanted):
        raise FarmError(f"no call {wanted} is up, and nothing is written of one")
    return found or wanted


async def follow_all(logs: EventLogs, *, as_json: bool = False, bars: bool = False) -> None:
    """Every call that is or comes up, until cancelled. Redis being away is waited out."""
    async with asyncio.TaskGroup() as group:
        while True:
            try:
                async for call_id in logs.new_calls():
                    group.create_task(_follow_guarded(logs, call_id, as_json=as_json, bars=bars))
            except BusError as error:
                say(f"  {error}")
                await asyncio.sleep(1.0)


async def _follow_guarded(logs: EventLogs, call_id: str, *, as_json: bool, bars: bool) -> None:
    with contextlib.suppress(BusError):  # the loop above says so
        await follow_one(logs, call_id, as_json=as_json, bars=bars)


async def follow_one(logs: EventLogs, call_id: str, *, as_json: bool = False, bars: bool = False) -> None:
    """One call from its beginning to its end."""
    seen: list[CallEvent] = []
    async for event in logs.follow(call_id):
        seen = [*seen, event] if len(seen) < 2 else seen
        if as_json:
            say(msgspec.json.encode(event).decode())
        else:
            _show(event, answered_ns(seen), call_id, bars=bars)


def _show(event: CallEvent, origin_ns: int, call_id: str, *, bars: bool) -> None:
    line = tell(event, origin_ns)
    if line:
        say(f"{call_id[-SHORT:]} {format_line(line)}")
    times = turn_times(event) if bars else None
    if times:
        say("\n".join(waterfall(times)))
