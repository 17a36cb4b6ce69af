"""The arguments that describe a farm, shared by `up` and `demo`, and the making of a farm from them."""

import argparse
import dataclasses
import os

from shared.config import Config, load, parse_port_range
from shared.errors import ConfigError, FarmError
from voicefarm.core.plan import ROLES, FarmOptions, make_plan
from voicefarm.io.farm import Farm, Say
from voicefarm.io.ports import claim_block, ground
from voicefarm.io.run_file import read_farm

_COUNTS = {
    "front": ("--fronts", "SIP fronts; the second one listens two ports higher"),
    "media": ("--media-workers", "media workers: one per core that calls may fill"),
    "stt": ("--stt", "speech recognition workers"),
    "llm": ("--llm", "dialogue workers"),
    "tts": ("--tts", "speech synthesis workers"),
    "jobs": ("--jobs", "workers for recordings and other work after a call"),
}


def add_farm_arguments(parser: argparse.ArgumentParser) -> None:
    for role, (flag, text) in _COUNTS.items():
        parser.add_argument(
            flag, dest=f"count_{role}", type=_count, default=1, metavar="N", help=f"{text} (default 1)"
        )
    parser.add_argument(
        "--redis", default="", metavar="URL", help="use this server; default: a private one is started"
    )
    parser.add_argument(
        "--config", default="", metavar="FILE", help="configuration file (default: $VOICEFARM_CONFIG)"
    )
    parser.add_argument(
        "--sip-port",
        type=_port,
        default=0,
        metavar="PORT",
        help="default: as configured, or the next free one",
    )
    parser.add_argument(
        "--rtp-ports",
        type=_rtp_ports,
        default="",
        metavar="FIRST-LAST",
        help="range for audio, first one even",
    )
    parser.add_argument("--host", default="", metavar="ADDRESS", help="address at which callers of other machines reach this one; "
                        "without it the farm listens on this machine only")  # fmt: skip
    parser.add_argument(
        "--drain",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="let running calls end for so long on Ctrl-C",
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=180.0,
        metavar="SECONDS",
        help="give up when it is not ready by then (default 180)",
    )
    add_var_argument(parser)


def add_var_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--var", default="var", metavar="DIR", help="logs, recordings and the farm's run file (default var)"
    )


def options_of(args: argparse.Namespace) -> FarmOptions:
    config_path = args.config or os.environ.get("VOICEFARM_CONFIG", "")
    return FarmOptions(
        counts={role: getattr(args, f"count_{role}") for role in ROLES},
        redis_url=args.redis,
        config_path=os.path.abspath(config_path) if config_path else "",
        sip_port=args.sip_port,
        host=args.host,
        rtp_ports=args.rtp_ports,
        var=args.var,
        drain_s=args.drain,
    )


def build_farm(options: FarmOptions, say: Say) -> tuple[Farm, Config]:
    """A farm ready to run. Raises FarmError when its configuration, a port or another farm is in the way."""
    running = read_farm(options.var)
    if running:
        raise FarmError(
            f"a farm with --var {options.var} runs already (pid {running.pid}); end it or give another --var"
        )
    config = load(options.config_path or None)
    options = _with_configured_redis(options, config)
    claim = claim_block()
    try:
        ground_now = ground(options.var, claim)
        plan = make_plan(options, config, ground_now)
    except BaseException:
        claim.close()
        raise
    return Farm(plan, ground_now.var, config.redis.prefix, say, claim), config


def _with_configured_redis(options: FarmOptions, config: Config) -> FarmOptions:
    """A server that a file or the environment names is used; the built-in default address means none was named."""
    if options.redis_url or config.redis.url == Config().redis.url:
        return options
    return dataclasses.replace(options, redis_url=config.redis.url)


def _count(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 256:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and 256")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 65_535:
        raise argparse.ArgumentTypeError(f"{value} is not a port")
    return value


def _rtp_ports(text: str) -> str:
    if not text:
        return ""
    try:
        parse_port_range(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(error.problem) from error
    return text
