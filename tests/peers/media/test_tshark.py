"""Our figures of a jittery stream against tshark's, and tshark's opinion of the stream we send."""

import random
import socket
import threading
import time
from pathlib import Path

import pytest

from mediaworker.core.engine import Engine
from mediaworker.core.legs import LegStats
from mediaworker.io.schedule import MediaLoop
from mediaworker.io.sockets import open_sockets
from tests.support import capture
from tests.support.engine_caller import leg_setup, rtp

pytestmark = [pytest.mark.peers, pytest.mark.skipif(bool(capture.missing()), reason=capture.missing() or "-")]

PACKETS = 250
PORT = 20_900
"""A pair that no other test uses; below the ephemeral range."""


def jittery_sender(phone: socket.socket, port: int, done: threading.Event) -> None:
    """Packets up to 15 ms late, a few out of order, a few lost."""
    chance = random.Random(4)
    start = time.monotonic() + 0.1
    plan = sorted(
        (number * 0.02 + chance.uniform(0, 0.015) + (0.03 if chance.random() < 0.02 else 0), number)
        for number in range(PACKETS)
        if chance.random() > 0.02 or number in {0, PACKETS - 1}
    )
    for due, number in plan:
        time.sleep(max(0.0, start + due - time.monotonic()))  # the paced sender is what is tested against
        phone.sendto(rtp(number, 160 * number, bytes([0x90]) * 160), ("127.0.0.1", port))
    done.set()


def echo_call(phone: socket.socket) -> LegStats:
    engine = Engine(2, seed=1)
    sockets = open_sockets(engine, "127.0.0.1")
    row = engine.open(leg_setup(phone.getsockname()[1], host="127.0.0.1", echo=True), time.monotonic_ns())
    sockets.bind_pair(PORT, row)
    engine.start(row, time.monotonic_ns())
    loop, done = MediaLoop(engine, sockets), threading.Event()
    sender = threading.Thread(target=jittery_sender, args=(phone, PORT, done))
    sender.start()
    while not done.is_set() or engine.stats(row).depth_frames > 0:
        loop.step()
    sender.join()
    stats = engine.stats(row)
    engine.close(row)
    sockets.close(row)
    sockets.close_all()
    return stats


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> tuple[LegStats, list[capture.RtpStream], int]:
    path: Path = tmp_path_factory.mktemp("media") / "call.pcap"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.1", 0))
        with capture.capture(path, f"port {PORT}"):
            stats = echo_call(phone)
        return stats, capture.rtp_streams(path), phone.getsockname()[1]


def test_jitter_and_loss_agree_with_tshark(call: tuple[LegStats, list[capture.RtpStream], int]):
    stats, streams, _ = call
    seen = next(stream for stream in streams if stream.target_port == PORT)
    # The capture may miss packets of the first moment, never those in the middle.
    assert stats.packets_in - 15 <= seen.packets <= stats.packets_in
    assert 0 < seen.lost <= stats.lost_in <= seen.lost + 2
    assert stats.jitter_mean_ms == pytest.approx(seen.mean_jitter, rel=0.1)
    assert stats.jitter_max_ms == pytest.approx(seen.max_jitter, rel=0.1)


def test_our_stream_is_whole_in_tsharks_eyes(call: tuple[LegStats, list[capture.RtpStream], int]):
    stats, streams, phone_port = call
    ours = [stream for stream in streams if stream.target_port == phone_port]
    assert [(stream.lost, stream.problems) for stream in ours] == [(0, "")]
    assert stats.packets_out - 15 <= ours[0].packets <= stats.packets_out
