"""Playing, mixing and recording by message through a real media worker; recordings of a worker that is killed."""

import asyncio
import os
import signal
import wave
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import numpy as np
import pytest
import soundfile

from shared.contracts import MediaMix, MediaPlay, MediaPlayControl, MediaPlayed, MediaRecord, MediaSource
from shared.ids import new_message_id
from tests.support.media_bench import Front, PlacedCall, front, media_worker
from tests.support.processes import redis_server
from tests.support.rtp_peer import RtpPeer, level_at, strongest_hz, tone
from tests.support.waiting import eventually

pytestmark = pytest.mark.process


@dataclass(frozen=True)
class Theatre:
    """A media worker with files to play."""

    redis_url: str
    process: Popen[bytes]
    directory: Path

    def recording(self, call: PlacedCall) -> Path:
        return self.directory / "recordings" / f"{call.call_id}.wav"


def begin(directory: Path, url: str) -> Any:
    files = directory / "files"
    files.mkdir()
    at_44k = (9_000 * np.sin(2 * np.pi * 1_000 * np.arange(2 * 44_100) / 44_100)).astype(np.int16)
    soundfile.write(files / "hello.flac", at_44k, 44_100)
    soundfile.write(files / "music.ogg", at_44k, 44_100, format="OGG", subtype="VORBIS")
    soundfile.write(directory / "secret.wav", at_44k, 44_100)
    return media_worker(url, directory, MEDIA__FILES_DIR=str(files))


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    directory = tmp_path_factory.mktemp("theatre")
    with redis_server() as url, begin(directory, url) as process:
        yield Theatre(url, process, directory)


@pytest.fixture
async def placed(theatre: Theatre) -> AsyncIterator[Front]:
    async with front(theatre.redis_url) as made:
        await made.media()
        yield made


async def ask(placed: Front, call: PlacedCall, kind: type[Any], **fields: Any) -> str:
    """The reason of the answer; the call is meant unless a room is."""
    where = {} if "room_id" in fields else {"call_id": call.call_id}
    request = kind(**({"msg_id": new_message_id(), "reply_to": placed.member.id} | where | fields))
    return (await placed.ask(call.placement.worker, request)).reason


def told(placed: Front, play_id: str) -> list[str]:
    return [message.what for message in placed.member.got(MediaPlayed) if message.play_id == play_id]


def level(peer: RtpPeer, hz: float) -> float:
    """Of one frequency in the last 200 ms that a caller heard; 0 before anything came."""
    pcm = peer.last(200)
    return level_at(pcm, hz) if len(pcm) else 0.0


async def test_a_file_is_played_and_told_of_to_the_sample(placed: Front) -> None:
    call = await placed.call("echo", mode="after_silence")
    source = MediaSource(kind="file", path="hello.flac")
    assert await ask(placed, call, MediaPlay, play_id="hello", source=source) == ""
    assert await ask(placed, call, MediaPlayControl, action="mark", mark="said") == ""
    marked = await placed.member.await_one(MediaPlayed, lambda m: m.mark == "said")
    finished = await placed.member.await_one(MediaPlayed, lambda m: m.what == "finished")
    assert told(placed, "hello") == ["started", "finished"]
    assert finished.samples == finished.position_samples == marked.position_samples == 2 * 8_000
    loud = np.concatenate([packet.pcm for packet in call.peer.heard if packet.loud])
    assert len(loud) == pytest.approx(16_000, abs=480)
    assert strongest_hz(loud) == pytest.approx(1_000, abs=4)

    async def noted() -> bool:
        return len(await placed.events(call.call_id, "play")) == 3

    await eventually(noted)


async def test_music_loops_until_it_is_flushed_and_a_pause_is_silence(placed: Front) -> None:
    call = await placed.call("echo", mode="after_silence")
    source = MediaSource(kind="file", path="music.ogg")
    await ask(placed, call, MediaPlay, play_id="hold", source=source, loops=0, line="background")
    await eventually(lambda: level(call.peer, 1_000) > 7_000)
    assert await ask(placed, call, MediaPlayControl, action="pause", line="background") == ""
    await eventually(lambda: level(call.peer, 1_000) < 10)
    assert await ask(placed, call, MediaPlayControl, action="resume", line="background") == ""
    await eventually(lambda: level(call.peer, 1_000) > 7_000)
    assert await ask(placed, call, MediaPlayControl, action="flush", line="background") == ""
    await eventually(lambda: level(call.peer, 1_000) < 10)
    await placed.member.await_one(MediaPlayed, lambda m: m.what == "flushed")
    assert told(placed, "hold") == ["started", "paused", "resumed", "flushed"]


@pytest.mark.parametrize(("path", "reason"), [("../secret.wav", "bad_request"), ("nothing.wav", "not_found")])
async def test_files_elsewhere_are_refused_and_missing_ones_fail(
    placed: Front, path: str, reason: str
) -> None:
    call = await placed.call("echo", mode="after_silence")
    source = MediaSource(kind="file", path=path)
    answer = await ask(placed, call, MediaPlay, play_id="x", source=source)
    if answer:
        assert answer == reason
    else:
        failed = await placed.member.await_one(MediaPlayed, lambda m: m.what == "failed")
        assert failed.reason == reason


async def test_a_room_hears_announcements_and_not_who_is_muted(placed: Front) -> None:
    one = await placed.call("conference", room="r1")
    other = await placed.call("conference", room="r1")
    one.peer.say(tone(740, 30_000))
    await eventually(lambda: level(other.peer, 740) > 5_000)
    assert await ask(placed, one, MediaMix, mute=True) == ""
    await eventually(lambda: level(other.peer, 740) < 20)
    source = MediaSource(kind="file", path="hello.flac")
    assert await ask(placed, one, MediaPlay, play_id="all", source=source, room_id="r1", tenant="acme") == ""
    for call in (one, other):
        await eventually(lambda call=call: level(call.peer, 1_000) > 7_000)
    assert await ask(placed, one, MediaMix, mute=False, gain_db=-20.0) == ""
    await eventually(lambda: 300 < level(other.peer, 740) < 1_500)


def stereo(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2)


async def test_a_card_number_is_not_in_the_recording_and_its_time_is(placed: Front, theatre: Theatre) -> None:
    call = await placed.call("echo", record=True)
    call.peer.say(tone(740, 60_000))
    path = theatre.recording(call)
    await eventually(lambda: level(call.peer, 740) > 5_000)
    await asyncio.sleep(0.4)
    assert await ask(placed, call, MediaRecord, action="pause") == ""
    await asyncio.sleep(0.6)
    assert await ask(placed, call, MediaRecord, action="resume") == ""
    await asyncio.sleep(0.4)
    await placed.hang_up(call)
    (ended,) = await placed.events(call.call_id, "call.ended")
    await eventually(
        lambda: len(stereo(path)) * 1_000 / 8_000 == pytest.approx(ended["duration_ms"], abs=250)
    )
    frames = stereo(path)[: len(stereo(path)) // 160 * 160].reshape(-1, 320)
    voiced = np.flatnonzero(np.abs(frames.astype(int)).max(axis=1) > 500)
    gaps = np.diff(voiced)
    longest = int(np.argmax(gaps))
    assert 200 < gaps[longest] * 20 < 5_000, "the pause has its time in the file"
    assert not frames[voiced[longest] + 1 : voiced[longest + 1]].any(), "and nothing of either side"
    for kind in ("recording.paused", "recording.resumed"):
        assert len(await placed.events(call.call_id, kind)) == 1


async def test_a_recording_that_a_message_began_and_ended_waits_for_its_call(
    placed: Front, theatre: Theatre
) -> None:
    call = await placed.call("echo")
    assert await ask(placed, call, MediaRecord, action="stop") == "no_recording"
    assert await ask(placed, call, MediaRecord, action="start") == ""
    call.peer.say(tone(740, 60_000))
    await eventually(lambda: level(call.peer, 740) > 5_000)
    assert await ask(placed, call, MediaRecord, action="stop") == ""
    await eventually(
        lambda: theatre.recording(call).exists() and len(stereo(theatre.recording(call))) > 1_000
    )
    client = placed.member.shell.client
    assert not [key async for key in client.scan_iter("rq:job:*") if call.call_id in key.decode()]
    await placed.hang_up(call)

    async def queued() -> bool:
        return any(call.call_id in key.decode() for key in [k async for k in client.scan_iter("rq:job:*")])

    await eventually(queued)


async def test_a_worker_that_slept_keeps_the_recording_in_time(placed: Front, theatre: Theatre) -> None:
    """A machine that stands still for longer than is caught up: the ticks that never were are silence."""
    call = await placed.call("echo", record=True)
    await eventually(lambda: len(call.peer.heard) > 10)
    os.kill(theatre.process.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(0.8)
    finally:
        os.kill(theatre.process.pid, signal.SIGCONT)
    heard = len(call.peer.heard)
    await eventually(lambda: len(call.peer.heard) > heard + 20)
    await placed.hang_up(call)
    (ended,) = await placed.events(call.call_id, "call.ended")
    path = theatre.recording(call)
    await eventually(
        lambda: len(stereo(path)) * 1_000 / 8_000 == pytest.approx(ended["duration_ms"], abs=250)
    )


async def test_a_killed_worker_leaves_playable_recordings(tmp_path: Path) -> None:
    with redis_server() as url, begin(tmp_path, url) as process:
        theatre = Theatre(url, process, tmp_path)
        async with front(url) as placed:
            await placed.media()
            calls = [await placed.call("echo", record=True) for _ in range(3)]
            for call in calls:
                call.peer.say(tone(740, 60_000))
            paths = [theatre.recording(call) for call in calls]
            await eventually(lambda: all(path.exists() and len(stereo(path)) >= 8_000 for path in paths))
            process.kill()
            await asyncio.to_thread(process.wait)
            for call in calls:
                placed._up.pop(call.call_id)
        for path in paths:
            with wave.open(str(path)) as file:
                assert path.stat().st_size >= 44 + 4 * file.getnframes()
            pcm = stereo(path)
            assert strongest_hz(pcm[4_000:, 0]) == pytest.approx(740, abs=10)
            samples, rate_hz = soundfile.read(path)
            assert (rate_hz, samples.shape) == (8_000, pcm.shape)
