"""Calls of every kind against a farm, and what is left of them afterwards.

One call in ten each is cancelled before the answer, never acknowledged, left without a BYE (its RTP stops), offered with
a codec the farm does not have, or sent with an SDP that is none. The rest are ordinary.
"""

import asyncio
import contextlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.farm import Farm
from tests.support.phone import Phone, address, tone

KINDS = ("cancel", "no_ack", "no_bye", "bad_codec", "bad_sdp", "plain", "plain", "plain", "plain", "plain")


@dataclass
class SoakResult:
    """Final responses by kind, and echo packets heard by ordinary calls."""

    responses: Counter[str] = field(default_factory=Counter)
    silent: int = 0
    failures: list[str] = field(default_factory=list)


async def one_call(sip: str, kind: str, user: str, seconds: float, result: SoakResult) -> None:
    phone = Phone(address(sip), headers={"X-Room-ID": "", "X-Tenant-ID": "soak"})
    if kind == "bad_codec":
        phone.offer_codecs = "18"
    await phone.open()
    phone.headers["X-Room-ID"] = phone.call_id
    if kind == "bad_sdp":
        phone.sdp = lambda: "v=0\r\no=- x\r\nm=audio what RTP/AVP\r\n"  # type: ignore[method-assign]
    try:
        await _run(phone, kind, user, seconds, result)
    except (TimeoutError, OSError) as error:
        result.failures.append(f"{kind}: {error!r}")
    finally:
        phone.close()


async def _run(phone: Phone, kind: str, user: str, seconds: float, result: SoakResult) -> None:
    if kind == "cancel":
        invite = asyncio.create_task(phone.call(user))
        await asyncio.sleep(0)  # the INVITE is on the wire; the CANCEL follows it at once
        await phone.cancel()
        final = await invite
        result.responses[f"{kind} {final.status}"] += 1
        if final.status == 200:  # the CANCEL crossed the answer (RFC 3261 section 9.1): the caller hangs up
            await phone.bye()
        return
    final = await phone.call(user, ack=kind != "no_ack")
    result.responses[f"{kind} {final.status}"] += 1
    if final.status != 200:
        return
    if kind == "no_ack":  # its ACK was lost, it still answers the farm's BYE (after 64 T1)
        await phone.serve_until_bye(45.0)
        return
    phone.play(tone(600, seconds))
    await asyncio.sleep(seconds)
    if kind == "no_bye":
        return
    await phone.bye()
    if not phone.loud_packets():
        result.silent += 1


async def soak(
    sip: str, calls: int, rate: float, seconds: float, user: str = "echo", kinds: tuple[str, ...] = KINDS
) -> SoakResult:
    """Places `calls` calls of `seconds` at `rate` per second, of each kind in turn, and waits for all of them."""
    result = SoakResult()
    loop = asyncio.get_running_loop()
    start = loop.time()
    running = []
    for n in range(calls):
        await asyncio.sleep(max(0.0, start + n / rate - loop.time()))
        running.append(asyncio.create_task(one_call(sip, kinds[n % len(kinds)], user, seconds, result)))
    await asyncio.gather(*running)
    return result


@dataclass(frozen=True)
class Holdings:
    """What the farm's processes hold."""

    calls: int
    used_ports: float
    quarantined: float
    dialogs: float
    transactions: float
    call_keys: int
    call_series: int
    udp_sockets: int
    rss_kb: int


def holdings(farm: Farm) -> Holdings:
    """Reads gauges, Redis, /proc and the per-call pages of a farm's fronts and media workers."""
    media = [name for name in farm.commands if name.startswith("media-")]
    fronts = [name for name in farm.commands if name.startswith("front-")]
    with farm.redis() as client:
        keys = [key for key in client.keys("vf:*") if key.split(b":")[1] in {b"call", b"room"}]
    pids = [farm.workers(name.partition("-")[0])[name]["pid"] for name in media + fronts]
    return Holdings(
        calls=int(sum(farm.metric(name, "voicefarm_calls_active") for name in media)),
        used_ports=sum(farm.metric(name, 'voicefarm_rtp_ports{state="used"}') for name in media),
        quarantined=sum(farm.metric(name, 'voicefarm_rtp_ports{state="quarantined"}') for name in media),
        dialogs=sum(farm.metric(name, "voicefarm_sip_dialogs") for name in fronts),
        transactions=sum(farm.metric(name, "voicefarm_sip_transactions") for name in fronts),
        call_keys=len(keys),
        call_series=sum(
            1
            for name in media
            for line in farm.get(name, "/metrics/calls").splitlines()
            if "call_id=" in line
        ),
        udp_sockets=sum(_udp_sockets(pid) for pid in pids),
        rss_kb=sum(_rss_kb(pid) for pid in pids),
    )


def _udp_sockets(pid: int) -> int:
    """UDP sockets: those of SIP, RTP and RTCP, not the pool of connections to Redis."""
    udp = {line.split()[9] for line in Path(f"/proc/{pid}/net/udp").read_text().splitlines()[1:]}
    count = 0
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed while we looked
            count += os.readlink(fd).removeprefix("socket:[").removesuffix("]") in udp
    return count


def _rss_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0
