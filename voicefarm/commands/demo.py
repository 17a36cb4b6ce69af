"""`voicefarm demo`: starts a farm (or uses the one that runs here), calls its agent with a human voice, shows everything.

Without --once it then stays up and shows every further call. Exit status 0 when the call went as scripted.
"""

import argparse
import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from shared.contracts import CallEvent
from shared.errors import FarmError
from voicefarm.commands.call import load_audio, read_script
from voicefarm.commands.farm_options import add_farm_arguments, build_farm, options_of
from voicefarm.commands.tail import follow_all
from voicefarm.commands.up import running, summary
from voicefarm.core.rtp_stream import Samples
from voicefarm.core.story import turn_times, waterfall
from voicefarm.core.timeline import middle_turn, table, timeline
from voicefarm.io.audio_files import read_stereo, write_wav
from voicefarm.io.events import EventLogs
from voicefarm.io.farm import Farm
from voicefarm.io.place_call import CallPlan, CallReport, figures, place_call
from voicefarm.io.run_file import read_farm
from voicefarm.io.screen import say

_RECORDING_WITHIN_S = 30.0


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "demo", help="start a farm and let a human voice call its agent", description=__doc__
    )
    add_farm_arguments(parser)
    parser.add_argument("--once", action="store_true", help="end after the call")
    parser.set_defaults(run=run)


@dataclass(frozen=True, slots=True)
class _Where:
    """The farm that is called."""

    sip: str
    redis_url: str
    prefix: str
    recordings: str
    var: str


async def run(args: argparse.Namespace) -> int:
    found = read_farm(args.var)
    if found:
        if not (found.ready and found.sip_ports):
            raise FarmError(f"a farm is being started here (pid {found.pid}): wait until it is ready")
        say(f"using the farm that runs here (pid {found.pid})")
        sip = f"{found.sip_host}:{found.sip_ports[0]}"
        where = _Where(sip, found.redis_url, found.prefix, found.recordings, args.var)
        return 0 if await _call(where) else 1
    farm, config = build_farm(options_of(args), say)
    async with running(farm, args.wait) as life:
        if life.done():
            return 1
        say(await summary(farm, args.var))
        where = _Where(
            farm.sip_uri_host, farm.plan.redis_url, config.redis.prefix, farm.plan.recordings, args.var
        )
        return await _show(where, farm, once=args.once)


async def _show(where: _Where, farm: Farm, *, once: bool) -> int:
    call = asyncio.create_task(_call(where))
    ending = asyncio.create_task(farm.ending.wait())
    await asyncio.wait({call, ending}, return_when=asyncio.FIRST_COMPLETED)
    if not call.done():  # the farm was ended first
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        return 1
    if not once:
        say(_invitation(where.sip))
        await _watch(where, ending)
    ending.cancel()
    return 0 if call.result() else 1


async def _call(where: _Where) -> bool:
    with as_file(files("voicefarm.demo")) as folder:
        script = read_script(folder / "caller.yaml")
        plan = CallPlan(
            target=f"sip:agent@{where.sip}", script=script, audio=load_audio(script, folder), user="demo",
            redis_url=where.redis_url, prefix=where.prefix, last_event="recording", linger_s=_RECORDING_WITHIN_S,
        )  # fmt: skip
    say(f"\ncalling {plan.target}: a human voice, {len(script.steps)} steps, about 45 s\n")
    report = await place_call(plan, say)
    _print(report)
    _keep(report, where)
    say("the call went as scripted" if report.ok else "the call did NOT go as scripted; logs are in var/log")
    return report.ok


def _print(report: CallReport) -> None:
    turns = [times for times in map(turn_times, report.events) if times]
    middle = middle_turn(turns)
    if middle:
        say(f"\nfrom the caller's last sound to the agent's first, ms; turn {middle.turn} is the median:")
        say("\n".join([*table(turns), "", *waterfall(middle)]))
    say("")
    for finding in report.findings:
        say(f"  {'ok  ' if finding.ok else 'FAIL'} {finding.text}")
    say(f"  {figures(report)}\n")


def _keep(report: CallReport, where: _Where) -> None:
    """The farm's recording as WAV and the picture, under var/demo."""
    call_id = report.facts.call_id
    if not report.facts.answered_ns:
        return
    pcm, rate_hz = _farm_recording(report, where.recordings)
    folder = Path(where.var) / "demo"
    wav, picture = folder / f"{call_id}.wav", folder / f"{call_id}.png"
    write_wav(wav, pcm, rate_hz)
    say(f"  recording {wav}")
    try:
        from voicefarm.io.picture import draw_call  # noqa: PLC0415  Pillow is an extra
    except ImportError:
        say("  no picture: pip install 'voicefarm[demo]'")
        return
    draw_call(picture, f"voicefarm demo, call {call_id}", pcm, rate_hz, timeline(report.events))
    say(f"  picture   {picture}\n")


def _farm_recording(report: CallReport, recordings: str) -> tuple[Samples, int]:
    """What the farm recorded; when it is not there, what the caller heard."""
    for path in _recording_paths(report.events, report.facts.call_id, recordings):
        if path.is_file():
            return read_stereo(path)
    say("  the farm's recording is not there: this is the caller's own")
    return report.recording, 8_000


def _recording_paths(events: Sequence[CallEvent], call_id: str, recordings: str) -> list[Path]:
    finalised = [
        Path(str(event.data["path"]))
        for event in events
        if event.kind == "recording" and "path" in event.data
    ]
    return [*finalised, Path(recordings) / f"{call_id}.wav", Path(recordings) / f"{call_id}.flac"]


def _invitation(sip: str) -> str:
    host = sip.rpartition(":")[0]
    return "\n".join(
        [
            "the farm stays up; call it with any SIP softphone, without registration or password, G.711:",
            f"  sip:agent@{sip}       the agent; with the embedded STT engine it knows the sentences of",
            "                                aiworker/stt/demo_sentences.txt, with Whisper any",
            f"  sip:echo@{sip}        hear yourself at once; parrot: after you have spoken",
            f"  sip:conf1@{sip}       a conference room; transcribe: only text",
            f'  for example: baresip -e "/dial sip:agent@{sip}"',
            f"  it listens on {host} only; for phones of other machines: make run HOST=ADDRESS"
            if host == "127.0.0.1"
            else f"  phones of other machines reach it at {host}",
            "calls are shown here as they happen; Ctrl-C ends the farm",
        ]
    )


async def _watch(where: _Where, ending: "asyncio.Task[bool]") -> None:
    """Shows every call until the farm is ended."""
    logs = EventLogs(where.redis_url, where.prefix)
    watch = asyncio.create_task(follow_all(logs, bars=True))
    try:
        await ending
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
        await logs.close()
