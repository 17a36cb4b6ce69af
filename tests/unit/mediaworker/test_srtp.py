"""SRTP of legs, alone and under an engine whose phone has libsrtp of its own."""

import gc
from collections import Counter

import numpy as np
import pylibsrtp
import pytest

from mediaworker.core.address import address_key
from mediaworker.core.engine import Engine
from mediaworker.core.inbound.sources import SSRC_SILENCE_NS, Sources
from mediaworker.core.reporting import rtcp
from mediaworker.core.rows import Rows
from mediaworker.core.srtp import OLD_KEYS_NS, SSRCS_MAX, Protection, SrtpLegs
from shared.contracts import SrtpKeys, SrtpSuite
from shared.errors import Refused
from tests.support.engine_caller import PORT, Caller, hand_over, leg_setup, loudest_hz, rtp, tone
from tests.support.srtp_peer import PROFILES, SrtpPeer, keys

pytestmark = pytest.mark.unit

SUITES = list(PROFILES)
SOURCE = address_key("10.0.0.1", 4_000)
RR = rtcp.compound(77, "peer", None, None)


class Bed:
    """Row 0 has keys, row 1 has none."""

    def __init__(self, suite: SrtpSuite = "AES_CM_128_HMAC_SHA1_80") -> None:
        self.rows = Rows(2, 1)
        self.rejected: Counter[str] = Counter()
        self.sources = Sources(self.rows)
        self.legs = SrtpLegs(self.rows, self.sources, self.rejected)
        for row in (0, 1):
            self.rows.take(0)
            self.rows.negotiated[row] = SOURCE + (row << 32)
        self.keys = keys(suite)
        self.legs.open(0, Protection(self.keys))
        self.legs.open(1, None)
        self.peer = SrtpPeer(self.keys)

    def arrive(self, data: bytes, *, row: int = 0, source: int = SOURCE, at_ns: int = 0) -> bytes | None:
        """What is left of a datagram, None when it is dropped."""
        block = np.full((1, 512), 0xEE, np.uint8)
        block[0, : len(data)] = np.frombuffer(data, np.uint8)
        lengths = np.array([len(data)])
        kept = self.legs.unseal(
            np.array([row]), block, lengths, np.array([source], np.uint64), np.array([at_ns])
        )
        return None if kept is not None else block[0, : lengths[0]].tobytes()


@pytest.mark.parametrize("suite", SUITES)
def test_both_directions_and_their_rtcp(suite: SrtpSuite):
    bed = Bed(suite)
    packet = rtp(1, 160, bytes(range(160)))
    sealed = bed.legs.seal(0, packet)
    assert len(sealed) == len(packet) + PROFILES[suite][2]
    assert packet[12:] not in sealed
    assert bed.peer.unprotect(sealed) == packet
    assert bed.arrive(bed.peer.protect(packet)) == packet
    report = bed.legs.seal_rtcp(0, RR)
    assert report != RR
    assert bed.peer.unprotect_rtcp(report) == RR
    assert bed.legs.unseal_rtcp(0, bed.peer.protect_rtcp(RR), 0) == RR
    assert bed.rejected == {}


@pytest.mark.parametrize(
    ("suite", "key", "sealed"),
    [
        (
            "AES_CM_128_HMAC_SHA1_80",
            "e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6",
            "4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb",
        ),
        (
            "AES_CM_128_HMAC_SHA1_32",
            "e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6",
            "4e55dc4ce79978d88ca4d215949d2402b78d6acc",
        ),
        (
            "AEAD_AES_128_GCM",
            "000102030405060708090a0b0c0d0e0fa0a1a2a3a4a5a6a7a8a9aaab",
            "c5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392",
        ),
    ],
)
def test_the_packets_that_implementations_compare_themselves_by(suite: SrtpSuite, key: str, sealed: str):
    """The reference packet of libsrtp's and others' tests: key, salt and what becomes of 16 octets of 0xab."""
    bed = Bed()
    secret = bytes.fromhex(key)
    bed.legs.open(0, Protection(SrtpKeys(suite=suite, local=secret, remote=secret)))
    header = bytes.fromhex("800f1234decafbadcafebabe")
    assert bed.legs.seal(0, header + b"\xab" * 16) == header + bytes.fromhex(sealed)
    assert bed.arrive(header + bytes.fromhex(sealed)) == header + b"\xab" * 16


def test_rows_without_keys_are_left_alone():
    bed = Bed()
    packet = rtp(1, 160, bytes(160))
    assert len(bed.legs) == 1
    assert bed.arrive(packet, row=1, source=5) == packet
    assert bed.legs.seal_of(1) is None
    assert bed.legs.seal_rtcp(1, RR) == bed.legs.unseal_rtcp(1, RR, 0) == RR
    assert bed.rows.secure.tolist() == [True, False]


def test_what_does_not_authenticate_is_counted_and_dropped():
    bed = Bed()
    good = bed.peer.protect(rtp(1, 160, bytes(160)))
    assert bed.arrive(rtp(1, 160, bytes(160))) is None
    for bit in (0, 7, 8 * 1 + 3, 8 * 5, 8 * 40 + 1, 8 * len(good) - 1):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        assert bed.arrive(bytes(flipped)) is None
    assert sum(bed.rejected.values()) == 7
    assert bed.rejected["srtp_auth"] >= 5
    assert bed.arrive(good) is not None, "what was refused has spoilt nothing"
    assert bed.arrive(good) is None
    assert bed.rejected["srtp_replay"] == 1


def test_a_replay_far_behind_is_refused_too():
    bed = Bed()
    sent = [bed.peer.protect(rtp(seq, 160 * seq, bytes(160))) for seq in range(1_000)]
    assert all(bed.arrive(data) for data in sent)
    assert not any(bed.arrive(data) for data in sent)
    assert bed.rejected == {"srtp_replay": 1_000}


def test_the_source_is_looked_at_before_the_cipher_and_cheap_faults_before_both():
    bed = Bed()
    good = bed.peer.protect(rtp(1, 160, bytes(160)))
    assert bed.arrive(good, source=address_key("10.0.0.2", 4_000)) is None
    assert bed.arrive(good, at_ns=int(bed.rows.opened_ns[0]) - 1) is None, "before the leg was opened"
    assert bed.rejected == {"source": 2}
    assert bed.arrive(good[:11]) is None
    assert bed.arrive(b"\x40" + good[1:]) is None
    assert bed.rejected == {"source": 2, "short": 1, "version": 1}
    bed.rows.source[0] = SOURCE + 1
    assert bed.arrive(good) is None
    assert bed.rejected["source"] == 3
    assert bed.arrive(good, source=SOURCE + 1) is not None


def test_another_ssrc_is_not_decrypted_while_the_pinned_one_speaks():
    bed = Bed()
    bed.rows.pinned[0] = True
    bed.rows.ssrc[0] = int.from_bytes((77).to_bytes(4, "big"), "little")
    bed.rows.arrived_ns[0] = 0
    other = bed.peer.protect(rtp(1, 160, bytes(160), ssrc=78))
    assert bed.arrive(other, at_ns=SSRC_SILENCE_NS - 1) is None
    assert bed.rejected == {"ssrc": 1}
    assert bed.arrive(other, at_ns=SSRC_SILENCE_NS) is not None


def test_ssrcs_of_a_leg_are_bounded():
    bed = Bed()
    for ssrc in range(SSRCS_MAX):
        assert bed.arrive(bed.peer.protect(rtp(1, 160, bytes(160), ssrc=ssrc + 1)))
    assert bed.arrive(bed.peer.protect(rtp(1, 160, bytes(160), ssrc=900))) is None
    assert bed.rejected == {"srtp_ssrcs": 1}
    assert bed.arrive(bed.peer.protect(rtp(2, 160, bytes(160), ssrc=1))), "known ones go on"
    bed = Bed()
    for ssrc in range(200):
        bed.arrive(rtp(1, 160, bytes(160), ssrc=ssrc))
    assert bed.rejected == {"srtp_auth": 200}, "those that do not authenticate are not remembered"


def test_the_rollover_counter_of_both_directions():
    bed = Bed()
    for seq in range(65_000, 65_536 * 2 + 500, 250):
        packet = rtp(seq, 160 * seq, bytes(160))
        assert bed.arrive(bed.peer.protect(packet)) == packet
        assert bed.peer.unprotect(bed.legs.seal(0, packet)) == packet
    assert bed.rejected == {}


def test_the_same_keys_go_on_where_they_were():
    """A fresh context with an old key would send the same keystream twice, and forget what was replayed."""
    bed = Bed()
    first = bed.peer.protect(rtp(1, 160, bytes(160)))
    assert bed.arrive(first)
    bed.peer.unprotect(bed.legs.seal(0, rtp(70, 160, bytes(160))))
    bed.legs.rekey(0, keys(), 0)
    assert bed.arrive(first) is None
    assert bed.rejected == {"srtp_replay": 1}
    assert bed.legs.seal(0, rtp(70, 160, b"\xff" * 160)) == b"", "that number was used"
    assert bed.rejected["srtp_seal"] == 1


def test_new_keys_take_over_and_the_old_ones_fade_out():
    bed = Bed()
    on_the_way = [bed.peer.protect(rtp(seq, 160, bytes(160))) for seq in (1, 2, 3)]
    report = bed.peer.protect_rtcp(RR)
    bed.legs.rekey(0, keys(local=8, remote=9), now_ns=1_000)
    fresh = SrtpPeer(keys(local=8, remote=9))
    assert bed.arrive(fresh.protect(rtp(40_000, 160, bytes(160))))
    assert fresh.unprotect(bed.legs.seal(0, rtp(5, 160, bytes(160))))
    assert bed.arrive(on_the_way[0])
    assert bed.arrive(on_the_way[0]) is None, "once"
    assert bed.legs.unseal_rtcp(0, report, 1_000) == RR
    assert bed.arrive(on_the_way[1], at_ns=1_000 + OLD_KEYS_NS)
    assert bed.arrive(on_the_way[2], at_ns=1_001 + OLD_KEYS_NS) is None
    assert bed.rejected == {"srtp_replay": 1, "srtp_auth": 1}


def test_one_direction_may_change_alone():
    bed = Bed()
    bed.peer.unprotect(bed.legs.seal(0, rtp(70, 160, bytes(160))))
    bed.legs.rekey(0, keys(local=1, remote=9), now_ns=0)
    assert bed.legs.seal(0, rtp(70, 160, bytes(160))) == b""
    assert bed.arrive(SrtpPeer(keys(remote=9)).protect(rtp(1, 1, bytes(160))))


def test_keys_may_come_and_go_with_a_reinvite():
    bed = Bed()
    bed.legs.rekey(1, keys(), 0)
    assert bed.rows.secure[1]
    assert bed.arrive(rtp(1, 160, bytes(160)), row=1, source=SOURCE + (1 << 32)) is None
    bed.legs.rekey(1, None, 0)
    assert bed.legs.seal_of(1) is None
    assert bed.arrive(rtp(1, 160, bytes(160)), row=1)


def test_the_last_report_of_a_closed_leg_is_protected():
    bed = Bed()
    bed.legs.close(0)
    assert len(bed.legs) == 0
    assert bed.peer.unprotect_rtcp(bed.legs.seal_rtcp(0, RR)) == RR
    bed.legs.open(0, None)
    assert bed.legs.seal_rtcp(0, RR) == RR


def test_packets_that_fit_no_buffer_are_refused_without_an_exception():
    bed = Bed()
    assert bed.legs.seal(0, rtp(1, 1, bytes(1_400))) == b""
    assert bed.legs.seal_rtcp(0, bytes(1_500)) == b""
    assert bed.legs.unseal_rtcp(0, bytes(1_600), 0) is None
    long = np.zeros((1, 2_048), np.uint8)
    long[0, 0] = 0x80
    assert bed.legs.unseal(
        np.array([0]), long, np.array([1_600]), np.array([SOURCE], np.uint64), np.array([0])
    ) is not None  # fmt: skip
    assert bed.rejected == {"srtp_seal": 2, "srtcp_format": 1, "srtp_format": 1}


def test_rtcp_on_the_rtp_port_is_left_to_the_reports():
    bed = Bed()
    sealed = bed.peer.protect_rtcp(RR)
    assert bed.arrive(sealed) is None, "without mux it is a packet like others"
    assert bed.rejected == {"srtp_auth": 1}
    bed.rows.mux[0] = True
    assert bed.arrive(sealed) == sealed
    assert bed.legs.unseal_rtcp(0, sealed, 0) == RR
    assert bed.arrive(rtp(1, 1, bytes(160))) is None, "RTP needs its protection all the same"


def test_audio_whose_type_looks_like_rtcp_is_no_way_round_protection():
    """RFC 5761 section 4 forbids such types with mux; a caller may name them, and is not heard."""
    caller = SecureCaller(secure_engine(), leg_setup(srtp=keys(), rtcp_mux=True, payload_type=72))
    caller.say(tone(440, 1_600))
    for number in range(20):
        plain = rtp(caller.seq + number, caller.stamp + 160 * number, bytes(160), kind=72, ssrc=caller.ssrc)
        hand_over(caller.engine, caller.row, plain, caller.now_ns)
    assert caller.engine.stats(caller.row).packets_in == 0
    caller.engine.rows.pinned[caller.row] = True
    caller.engine.rows.ssrc[caller.row] = int.from_bytes(caller.ssrc.to_bytes(4, "big"), "little")
    hand_over(caller.engine, caller.row, rtp(1, 1, bytes(160), kind=72, ssrc=caller.ssrc), caller.now_ns)
    assert caller.engine.stats(caller.row).packets_in == 0


def test_rtcp_that_does_not_authenticate_is_refused_and_a_replay_too():
    bed = Bed()
    good = bed.peer.protect_rtcp(RR)
    assert bed.legs.unseal_rtcp(0, RR, 0) is None
    assert bed.legs.unseal_rtcp(0, b"", 0) is None
    assert bed.legs.unseal_rtcp(0, good[:-1] + bytes([good[-1] ^ 1]), 0) is None
    assert bed.legs.unseal_rtcp(0, good, 0) == RR
    assert bed.legs.unseal_rtcp(0, good, 0) is None
    assert bed.rejected["srtcp_replay"] == 1
    assert sum(bed.rejected.values()) == 4


@pytest.mark.parametrize(
    "bad",
    [
        SrtpKeys(suite="AES_CM_128_HMAC_SHA1_80", local=bytes(30), remote=b"secret-of-somebody"),
        SrtpKeys(suite="AEAD_AES_128_GCM", local=b"secret-of-somebody-else-entirely", remote=bytes(28)),
        SrtpKeys(suite="NULL_AUTH", local=bytes(30), remote=bytes(30)),  # type: ignore[arg-type]
    ],
)
def test_keys_that_do_not_fit_are_refused_without_being_shown(bad: SrtpKeys):
    with pytest.raises(Refused) as refused:
        Protection(bad)
    assert refused.value.reason == "bad_request"
    assert "secret" not in str(refused.value)
    assert "secret" not in repr(bad)


def test_keys_stay_nowhere_in_the_objects():
    made = keys(local=201, remote=202)
    leg = Protection(made)
    needles = (made.local, made.remote, made.local[:16], made.remote[:16])
    seen: set[int] = set()
    queue: list[object] = [leg]
    while queue:
        thing = queue.pop()
        if id(thing) in seen or isinstance(thing, type) or callable(thing):
            continue
        seen.add(id(thing))
        if isinstance(thing, bytes):
            assert not any(needle in thing for needle in needles)
        queue.extend(gc.get_referents(thing))
    assert not any(needle.hex() in repr(leg) for needle in needles)


# --- a whole leg


def secure_engine() -> Engine:
    return Engine(4, seed=3)


class SecureCaller(Caller):
    """A caller whose packets are protected on the way; `sent` has what left the farm, as it left."""

    peer: SrtpPeer

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.setup.srtp is not None
        self.peer = SrtpPeer(self.setup.srtp)

    def arrive(self, data: bytes, arrived_ns: int | None = None) -> None:
        super().arrive(self.peer.protect(data), arrived_ns)

    def tick(self, times: int = 1):
        for _ in range(times):
            super().tick()
            self.sent += [packet.data for packet in self.engine.loose() if packet.row == self.row]
        return self.results[-1]


@pytest.mark.parametrize("suite", SUITES)
def test_an_echo_call_over_srtp(suite: SrtpSuite):
    caller = SecureCaller(secure_engine(), leg_setup(echo=True, srtp=keys(suite)))
    caller.say(tone(440, 16_000))
    assert loudest_hz(caller.said()[-8_000:]) == pytest.approx(440, abs=5)
    assert caller.engine.rejected == {}
    assert caller.engine.sending(caller.engine.rows.phase_of(caller.row)).size == 0
    clear = [caller.peer.unprotect(data) for data in caller.sent]
    assert len(clear) == 100
    numbers = [int.from_bytes(data[2:4], "big") for data in clear]
    assert np.diff(numbers).tolist() == [1] * 99


def test_a_secure_leg_never_takes_a_plain_packet_and_never_sends_one():
    caller = SecureCaller(secure_engine(), leg_setup(echo=True, srtp=keys()))
    caller.say(tone(440, 1_600))
    for number in range(50):
        plain = rtp(caller.seq + number, caller.stamp + 160 * number, bytes(160))
        hand_over(caller.engine, caller.row, plain, caller.now_ns)
    assert caller.engine.rejected == {"srtp_auth": 50}
    assert caller.engine.stats(caller.row).packets_in == 10
    for data in caller.sent:
        with pytest.raises(pylibsrtp.Error):
            SrtpPeer(keys(local=9)).unprotect(data)


def test_a_failed_packet_never_pins():
    caller = SecureCaller(secure_engine(), leg_setup(srtp=keys(), media_cidrs=("198.51.100.0/24",)))
    hand_over(caller.engine, caller.row, rtp(1, 1, bytes(160)), 0, host="198.51.100.4")
    assert not caller.engine.rows.pinned[caller.row]
    assert caller.engine.take_moved() == set()
    caller.say(tone(440, 1_600))
    assert int(caller.engine.rows.source[caller.row]) == address_key("192.0.2.10", PORT)


def test_a_reinvite_changes_keys_in_a_call():
    caller = SecureCaller(secure_engine(), leg_setup(echo=True, srtp=keys()))
    caller.say(tone(440, 3_200))
    caller.engine.update(caller.row, caller.setup.remote, caller.setup.format, keys(local=5, remote=6))
    old, caller.peer = caller.peer, SrtpPeer(keys(local=5, remote=6))
    before = len(caller.sent)
    caller.say(tone(440, 3_200))
    assert caller.engine.rejected == {}
    assert all(caller.peer.unprotect(data) for data in caller.sent[before:])
    with pytest.raises(pylibsrtp.Error):
        old.unprotect(caller.sent[-1])
    caller.engine.update(caller.row, caller.setup.remote, caller.setup.format, None)
    caller.tick()
    assert not caller.engine.rows.secure[caller.row]
    assert caller.row in caller.engine.sending(caller.engine.rows.phase_of(caller.row))


def test_bad_keys_leave_an_open_leg_and_the_engine_as_they_were():
    caller = SecureCaller(secure_engine(), leg_setup(echo=True, srtp=keys()))
    bad = SrtpKeys(suite="AEAD_AES_128_GCM", local=bytes(30), remote=bytes(30))
    with pytest.raises(Refused):
        caller.engine.update(caller.row, caller.setup.remote, caller.setup.format, bad)
    caller.say(tone(440, 1_600))
    assert caller.engine.rejected == {}
    legs = sum(caller.engine.rows.live)
    with pytest.raises(Refused):
        caller.engine.open(leg_setup(srtp=bad), 0)
    assert sum(caller.engine.rows.live) == legs


def test_a_row_used_again_without_keys_is_plain():
    engine = secure_engine()
    caller = SecureCaller(engine, leg_setup(srtp=keys()))
    row = caller.row
    engine.close(row)
    plain = Caller(engine, leg_setup(echo=True))
    assert plain.row == row
    plain.say(tone(440, 8_000))
    assert engine.rejected == {}
    assert loudest_hz(plain.said()[-4_000:]) == pytest.approx(440, abs=5)
