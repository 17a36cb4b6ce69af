"""`voicefarm call`: a real SIP and RTP call from this machine, with what it hears and what the farm understood.

Exit status 0 when everything that was asked for was found, 1 otherwise.
"""

import argparse
import os
from pathlib import Path

import msgspec

from shared.config import load
from shared.errors import ConfigError
from shared.units import NS_PER_MS
from voicefarm.commands.farm_options import add_var_argument
from voicefarm.core.conversation import Finding
from voicefarm.core.rtp_stream import Samples
from voicefarm.core.script import Recording, Script, Step, parse_script
from voicefarm.core.story import transcripts, turn_times, waterfall
from voicefarm.io.audio_files import read_mono, write_wav
from voicefarm.io.place_call import CallPlan, CallReport, figures, place_call
from voicefarm.io.run_file import FarmRecord, read_farm
from voicefarm.io.screen import say


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "call", help="call the farm (or any SIP address) and see what happens", description=__doc__
    )
    parser.add_argument(
        "target",
        nargs="?",
        default="agent",
        help="sip:USER@HOST:PORT, or USER of the farm that runs here (default agent)",
    )
    parser.add_argument("--script", default="", metavar="FILE", help="play this scripted call (docs/cli.md)")
    parser.add_argument(
        "--play", action="append", default=[], metavar="WAV", help="say this; may be given several times"
    )
    parser.add_argument("--press", default="", metavar="KEYS", help="press these keys after that")
    parser.add_argument(
        "--seconds",
        type=float,
        default=5.0,
        metavar="N",
        help="without a script: stay so long after that (default 5)",
    )
    parser.add_argument(
        "--record", default="", metavar="WAV", help="write what was said (left) and heard (right)"
    )
    parser.add_argument(
        "--expect", action="append", default=[], metavar="TEXT", help="fail unless a transcript contains TEXT"
    )
    parser.add_argument(
        "--expect-sound",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="fail unless so much sound was heard",
    )
    parser.add_argument(
        "--header", action="append", default=[], metavar="NAME:VALUE", help="add a header to the INVITE"
    )
    parser.add_argument("--user", default="caller", help="user part of our own address")
    parser.add_argument(
        "--redis",
        default="",
        metavar="URL",
        help="Redis of the farm, for transcripts (default: of the farm that runs here)",
    )
    parser.add_argument("--json", default="", metavar="FILE", help="write the result")
    add_var_argument(parser)
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    farm = read_farm(args.var)
    script, folder = _script(args)
    redis_url = args.redis or (farm.redis_url if farm else "")
    plan = CallPlan(
        target=_target(args.target, farm), script=script, audio=load_audio(script, folder), user=args.user,
        headers=_headers(args.header), redis_url=redis_url, prefix=farm.prefix if farm else load().redis.prefix,
    )  # fmt: skip
    say(f"calling {plan.target}")
    report = await place_call(plan, say)
    report.findings.extend(_expectations(args, report))
    print_report(report)
    _write_files(args, report)
    return 0 if report.ok else 1


def _write_files(args: argparse.Namespace, report: CallReport) -> None:
    if args.record:
        write_wav(Path(args.record), report.recording)
    if args.json:
        Path(args.json).write_bytes(msgspec.json.format(msgspec.json.encode(as_data(report)), indent=1))


def print_report(report: CallReport) -> None:
    """Waterfalls, findings and figures."""
    for event in report.events:
        times = turn_times(event)
        if times:
            say(f"\nturn {times.turn}: where the time went")
            say("\n".join(waterfall(times)))
    if report.findings:
        say("")
    for finding in report.findings:
        say(f"  {'ok  ' if finding.ok else 'FAIL'} {finding.text}")
    say(f"  {figures(report)}")


def as_data(report: CallReport) -> dict[str, object]:
    """The report as plain data."""
    facts = report.facts
    return {
        "ok": report.ok,
        "call_id": facts.call_id,
        "code": facts.code,
        "reason": facts.reason,
        "setup_ms": max(0, facts.answered_ns - facts.invited_ns) // NS_PER_MS,
        "talked_ms": (facts.ended_ns - facts.answered_ns) // NS_PER_MS if facts.answered_ns else 0,
        "ended_by": "farm" if facts.by_farm else "caller",
        "findings": [{"ok": finding.ok, "text": finding.text} for finding in report.findings],
        "transcripts": transcripts(report.events),
        "turns": [
            {"turn": times.turn, "voice_to_voice_ms": times.voice_to_voice_ms,
             "stages": {stage.name: stage.ms for stage in times.stages}}
            for times in map(turn_times, report.events) if times
        ],
        "rtp": {"packets": report.heard.packets, "lost": report.heard.lost, "jitter_ms": report.heard.jitter_ms,
                "max_delta_ms": report.heard.max_delta_ms, "ssrcs": len(report.heard.ssrcs),
                "sound_ms": report.heard.loud_frames * 20},
    }  # fmt: skip


def load_audio(script: Script, folder: Path) -> dict[str, Samples]:
    """Samples of every recording of a script; files are beside the script."""
    return {name: read_mono(folder / recording.file) for name, recording in script.recordings.items()}


def read_script(path: Path) -> Script:
    try:
        return parse_script(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from error


def _script(args: argparse.Namespace) -> tuple[Script, Path]:
    if args.script:
        return read_script(Path(args.script)), Path(args.script).parent
    recordings = {f"wav{n}": Recording(file=os.path.abspath(path)) for n, path in enumerate(args.play)}
    steps = [Step(say=name) for name in recordings]
    if args.press:
        steps.append(Step(press=args.press))
    steps += [Step(wait_ms=int(args.seconds * 1_000)), Step(hang_up=True)]
    return Script(recordings=recordings, steps=steps), Path()


def _target(given: str, farm: FarmRecord | None) -> str:
    if given.startswith("sip:"):
        return given
    if "@" in given:
        return f"sip:{given}"
    if farm is None or not farm.sip_ports:
        raise ConfigError("target", f"no farm runs here: give a whole address, sip:{given}@HOST:PORT")
    return f"sip:{given}@{farm.sip_host}:{farm.sip_ports[0]}"


def _headers(given: list[str]) -> dict[str, str]:
    headers = {}
    for text in given:
        name, colon, value = text.partition(":")
        if not colon or not name.strip() or any(ord(letter) < 32 for letter in text):
            raise ConfigError("--header", f"{text!r} is not NAME:VALUE")
        headers[name.strip()] = value.strip()
    return headers


def _expectations(args: argparse.Namespace, report: CallReport) -> list[Finding]:
    understood = " / ".join(transcripts(report.events)).lower()
    findings = [
        Finding(text.lower() in understood, f'expected "{text}", understood "{understood}"')
        for text in args.expect
    ]
    if args.expect_sound > 0:
        seconds = report.heard.loud_frames * 20 / 1_000
        findings.append(
            Finding(seconds >= args.expect_sound, f"{seconds:.1f} s of sound, {args.expect_sound:g} wanted")
        )
    return findings
