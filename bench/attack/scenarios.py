"""The attacks. Each runs against a real worker and tells what came of it: nothing may have been heard or leaked."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np

from bench.attack.attackers import (
    Attacker,
    Make,
    attack_frames,
    rtcp_forgeries,
    rtp_of_many,
    rtp_tone,
    tone_frames,
)
from bench.attack.victims import CALLER_SSRC, Ground, Victim, peer_clock, ssrc_of_ours
from shared.errors import Refused
from tests.support.rtp_peer import RtpPeer, strongest_hz, tone
from tests.support.srtp_peer import keys
from tests.support.waiting import eventually

CALLER_HZ = 740.0
OLD_HZ = 500.0
"""What a caller said before: replayed, it must not be heard a second time."""


@dataclass
class Outcome:
    """`injected`: frames with the attackers' tone, by place; `leaked`: datagrams that reached attackers."""

    name: str
    sent: int = 0
    leaked: int = 0
    injected: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    caller_frames: int = 0
    """Frames of the caller's own tone that came back to it: the call was really up."""

    @property
    def clean(self) -> bool:
        return not self.leaked and not any(self.injected.values()) and self.caller_frames > 0

    def count(self, attackers: list[Attacker]) -> None:
        self.sent += sum(attacker.sent * len(attacker.ports) for attacker in attackers)
        self.leaked += sum(attacker.heard for attacker in attackers)


async def _listen(outcome: Outcome, victim: Victim, seconds: float) -> None:
    """The caller speaks its own tone and is heard for so long."""
    victim.peer.say(tone(CALLER_HZ, int(seconds * 1_000)))
    await asyncio.sleep(seconds)
    await eventually(lambda: any(packet.loud for packet in victim.peer.heard))
    outcome.caller_frames = sum(packet.loud for packet in victim.peer.heard)


async def _look(ground: Ground, outcome: Outcome, victim: Victim, name: str = "") -> None:
    """After the call: every place where the attackers' tone could be."""
    audio = [
        packet.pcm for packet in victim.peer.heard if packet.payload_type == 0
    ]  # RTCP may come on the same port
    places = {
        "heard": np.concatenate([*audio, np.zeros(0, np.int16)]),
        "recorded": await ground.recording(victim),
        "utterances": ground.utterances(victim),
    }
    for place, pcm in places.items():
        outcome.injected[name + place] = attack_frames(pcm)


def _strangers(peer: RtpPeer, port: int) -> list[Attacker]:
    """Another host at the caller's port number, the caller's host at another port, one that knows the SSRC, RTCP forgers."""
    ports = [port, port + 1]
    known = rtp_tone(CALLER_SSRC, first=7, stamp=1_000)
    forged = rtcp_forgeries(CALLER_SSRC)
    with contextlib.suppress(OSError):
        return [
            Attacker(ports, [rtp_of_many(1), known, forged], bind=("127.0.0.2", peer.port)),
            Attacker(ports, [rtp_of_many(2), known], bind=("127.0.0.1", 0)),
            Attacker(ports, [rtp_tone(0x0BAD), forged], bind=("127.0.0.3", peer.port + 1)),
        ]
    raise RuntimeError("127.0.0.2 cannot be bound here")


async def before_during_after(ground: Ground, seconds: float) -> Outcome:
    """Sprays on both ports from before the INVITE until the quarantine is over; the caller's first packet comes late."""
    outcome = Outcome("spray before, during and after")
    call_id, placement = await ground.front.reserve("echo")
    peer = ground.peer(placement, mute=True)
    attackers = _strangers(peer, placement.port)
    with contextlib.ExitStack() as running:
        for attacker in attackers:
            running.enter_context(attacker)
        await asyncio.sleep(seconds / 4)
        victim = await ground.open(call_id, placement, peer)
        await asyncio.sleep(seconds / 4)
        peer.mute = False
        await _listen(outcome, victim, seconds)
        await ground.hang_up(victim)
        await asyncio.sleep(seconds / 4)
    outcome.count(attackers)
    await _look(ground, outcome, victim)
    return outcome


async def into_speech_to_text(ground: Ground, seconds: float) -> Outcome:
    """The same against a call whose caller is transcribed: what the recogniser gets is the caller's and nobody else's."""
    outcome = Outcome("spray on a transcribed call")
    call_id, placement = await ground.front.reserve("transcribe")
    peer = ground.peer(placement)
    attackers = _strangers(peer, placement.port)
    victim = await ground.open(call_id, placement, peer, "transcribe")
    with contextlib.ExitStack() as running:
        for attacker in attackers:
            running.enter_context(attacker)
        peer.say(tone(CALLER_HZ, int(seconds * 1_000)))
        await asyncio.sleep(seconds)
        await eventually(lambda: len(ground.utterances(victim)) > 0)
    outcome.caller_frames = len(ground.utterances(victim)) // 160
    outcome.count(attackers)
    await ground.hang_up(victim)
    await _look(ground, outcome, victim)
    return outcome


async def from_the_callers_address(ground: Ground, seconds: float) -> Outcome:
    """An attacker who can forge the caller's address but does not see its packets: another SSRC, while the caller speaks."""
    outcome = Outcome("forged source address, other SSRC")
    call_id, placement = await ground.front.reserve("echo")
    peer = ground.peer(placement)
    victim = await ground.open(call_id, placement, peer)
    await eventually(lambda: peer.heard)
    makes: list[Make] = [rtp_tone(0x0BAD), rtp_of_many(3)]
    attacker = Attacker([placement.port], makes, sender=peer.socket)
    with attacker:
        await _listen(outcome, victim, seconds)
    outcome.count([attacker])
    await ground.hang_up(victim)
    await _look(ground, outcome, victim)
    return outcome


async def port_reuse(ground: Ground, seconds: float) -> Outcome:
    """The caller of a call that is over, and an attacker, go on; a new call gets the port."""
    outcome = Outcome("port used again right after hangup")
    call_id, placement = await ground.front.reserve("echo")
    old_peer = ground.peer(placement)
    old = await ground.open(call_id, placement, old_peer)
    await eventually(lambda: old_peer.heard)
    stamp = peer_clock(old)
    old_peer.mute = True
    stubborn = Attacker(
        [placement.port], [rtp_tone(CALLER_SSRC, first=stamp[0], stamp=stamp[1])], sender=old_peer.socket
    )
    strangers = _strangers(old_peer, placement.port)
    with contextlib.ExitStack() as running:
        await ground.hang_up(old)
        for attacker in (stubborn, *strangers):
            running.enter_context(attacker)
        victim = await _at_port(ground, placement.port)
        await _listen(outcome, victim, seconds)
        await ground.hang_up(victim)
    outcome.count([stubborn, *strangers])
    outcome.leaked += len({packet.ssrc for packet in old_peer.heard}) - 1
    await _look(ground, outcome, victim)
    return outcome


async def _at_port(ground: Ground, port: int) -> Victim:
    """A call at a given port, as soon as its quarantine lets it have one."""
    while True:
        try:
            call_id, placement = await ground.front.reserve("echo")
        except Refused:  # all pairs are in quarantine
            await asyncio.sleep(0.05)
            continue
        peer = ground.peer(placement)
        victim = await ground.open(call_id, placement, peer)
        if placement.port == port:
            return victim
        await ground.hang_up(victim)


async def rtcp_forged(ground: Ground, seconds: float) -> Outcome:
    """RTCP BYE and lying reports with the right SSRCs, from strangers on both ports, and to the RTP port from the caller's own
    address; the call and its figures go on.
    """
    return await _rtcp_forged(ground, seconds, mux=False)


async def rtcp_forged_on_a_shared_port(ground: Ground, seconds: float) -> Outcome:
    """The same from strangers where both share the RTP port (RFC 5761)."""
    return await _rtcp_forged(ground, seconds, mux=True)


async def _rtcp_forged(ground: Ground, seconds: float, *, mux: bool) -> Outcome:
    outcome = Outcome(f"RTCP BYE and reports forged{', RTCP on the RTP port' if mux else ''}")
    call_id, placement = await ground.front.reserve("echo")
    peer = ground.peer(placement)
    victim = await ground.open(call_id, placement, peer, mux=mux)
    await eventually(lambda: peer.heard)
    forged = rtcp_forgeries(CALLER_SSRC, about=ssrc_of_ours(victim))
    ports = [placement.port, placement.port + 1]
    attackers = [
        Attacker(ports, [forged], bind=("127.0.0.2", peer.port + 1)),
        Attacker(ports, [forged], bind=("127.0.0.1", 0)),
    ]
    if not mux:
        attackers.append(Attacker([placement.port], [forged], sender=peer.socket))
    with contextlib.ExitStack() as running:
        for attacker in attackers:
            running.enter_context(attacker)
        await _listen(outcome, victim, seconds)
    outcome.count(attackers)
    await ground.hang_up(victim)
    (ended,) = await ground.front.events(call_id, "call.ended")
    believed = ended["reason"] != "bye" or ended["rtp"].get("loss_out_ratio", -1) > 0
    outcome.injected["figures"] = int(believed)
    await _look(ground, outcome, victim)
    return outcome


async def srtp_attacked(ground: Ground, seconds: float) -> Outcome:
    """From the caller's own address: plain RTP with its SSRC and numbers, flipped bits, replays at once, late and after a
    change of keys; the same with RTCP.
    """
    outcome = Outcome("SRTP: plain packets, bit flips, replays")
    first, second = keys(), keys(local=3, remote=4)
    call_id, placement = await ground.front.reserve("echo")
    peer = ground.peer(placement, srtp=first)
    victim = await ground.open(call_id, placement, peer, srtp=first)
    peer.say(tone(OLD_HZ, int(seconds * 500)))
    await eventually(lambda: peer.heard and not peer.saying and not strongest_hz(peer.last(100)))
    quiet_from = len(peer.heard)
    old = list(victim.srtp.wire)
    plain = rtp_tone(CALLER_SSRC, first=peer_clock(victim)[0], stamp=peer_clock(victim)[1])
    attackers = [
        Attacker([placement.port], [plain, _flipped(victim), _replays(old)], sender=victim.srtp.plain),
        Attacker([placement.port + 1], [rtcp_forgeries(CALLER_SSRC)], sender=peer.rtcp),
    ]
    with contextlib.ExitStack() as running:
        for attacker in attackers:
            running.enter_context(attacker)
        await _listen(outcome, victim, seconds / 2)
        await ground.rekey(victim, second)
        await _listen(outcome, victim, seconds / 2)
    outcome.count(attackers)
    after = [packet.pcm for packet in peer.heard[quiet_from:]]
    outcome.injected["replayed"] = tone_frames(np.concatenate(after), OLD_HZ)
    await ground.hang_up(victim)
    await _look(ground, outcome, victim)
    return outcome


def _replays(datagrams: list[bytes]) -> Make:
    return lambda number: datagrams[number % len(datagrams)]


def _flipped(victim: Victim) -> Make:
    """The caller's newest datagram with one bit another: header, payload and tag in turns."""

    def make(number: int) -> bytes:
        data = bytearray(victim.srtp.wire[-1])
        data[2 + number * 7 % (len(data) - 2)] ^= 1 << number % 8
        return bytes(data)

    return make


async def control(ground: Ground, seconds: float) -> Outcome:
    """Not an attack that fails: somebody on the caller's own network, with its address, SSRC and numbers, on a call without
    SRTP. Plain RTP cannot tell; the bench must.
    """
    outcome = Outcome("control: on the path of a call without SRTP")
    call_id, placement = await ground.front.reserve("echo")
    peer = ground.peer(placement)
    victim = await ground.open(call_id, placement, peer)
    await eventually(lambda: len(peer.heard) > 10)
    peer.mute = True
    seq, stamp = peer_clock(victim)
    attacker = Attacker(
        [placement.port], [rtp_tone(CALLER_SSRC, first=seq, stamp=stamp)], sender=peer.socket, rate=50
    )
    with attacker:
        await asyncio.sleep(seconds)
    outcome.count([attacker])
    await ground.hang_up(victim)
    await _look(ground, outcome, victim)
    return outcome


Scenario = Callable[[Ground, float], Awaitable[Outcome]]

SCENARIOS: tuple[Scenario, ...] = (
    before_during_after, into_speech_to_text, from_the_callers_address, port_reuse, rtcp_forged,
    rtcp_forged_on_a_shared_port, srtp_attacked,
)  # fmt: skip


async def run(ground: Ground, scenario: Scenario, seconds: float) -> Outcome:
    """One scenario, with what the worker refused meanwhile."""
    before = ground.refused()
    outcome = await scenario(ground, seconds)
    await asyncio.sleep(2.2)  # the page is up to two seconds old
    outcome.refused = dict(ground.refused() - before)
    return outcome
