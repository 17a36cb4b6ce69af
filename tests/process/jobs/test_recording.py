"""Finalising a recording against a real Redis and real files."""

import json

import pytest
import redis
import soundfile as sf

from jobs.audio import RecordingUnfit
from jobs.recording import finalise
from shared.contracts import decode
from shared.keys import Keys
from tests.support.finished_calls import agent_call, stereo_wav, write_log

pytestmark = pytest.mark.process


@pytest.fixture
def client(redis_url, monkeypatch):
    monkeypatch.setenv("VOICEFARM_REDIS_URL", redis_url)
    with redis.Redis.from_url(redis_url) as connection:
        yield connection


def kinds(client, key):
    return [decode(fields[b"m"]).kind for _, fields in client.xrange(key)]


def test_finalise_leaves_checked_files_a_manifest_and_an_event(client, tmp_path):
    samples = stereo_wav(tmp_path / "c1.wav", 3.0)
    key = write_log(client, "vf", "c1", agent_call())

    path = finalise("c1", str(tmp_path / "c1.wav"))

    made = json.loads((tmp_path / "c1.json").read_text())
    assert path == str(tmp_path / "c1.json")
    assert [file["format"] for file in made["files"]] == ["flac", "opus", "wav"]
    assert made["duration_s"] == 3.0
    assert [line["who"] for line in made["transcript"]] == ["agent", "caller", "agent"]
    assert (sf.read(str(tmp_path / "c1.flac"), dtype="int16")[0] == samples).all()
    last = decode(client.xrange(key)[-1][1][b"m"])
    assert (last.kind, last.data["format"], last.data["seconds"]) == ("recording", "flac", 3.0)
    assert last.data["manifest"] == path
    assert 0 < client.pttl(key) <= 10_000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c1.flac", "c1.json", "c1.opus", "c1.wav"]


def test_finalise_changes_nothing_when_it_runs_again(client, tmp_path):
    stereo_wav(tmp_path / "c1.wav", 1.0)
    key = write_log(client, "vf", "c1", agent_call())
    finalise("c1", str(tmp_path / "c1.wav"))
    before = {p.name: (p.stat().st_mtime_ns, p.stat().st_ino) for p in tmp_path.iterdir()}

    finalise("c1", str(tmp_path / "c1.wav"))

    assert {p.name: (p.stat().st_mtime_ns, p.stat().st_ino) for p in tmp_path.iterdir()} == before
    assert kinds(client, key).count("recording") == 1


def test_finalise_says_what_an_earlier_run_could_not_say(client, tmp_path):
    """Killed between the manifest and the event."""
    stereo_wav(tmp_path / "c1.wav", 1.0)
    finalise("c1", str(tmp_path / "c1.wav"))
    key = write_log(client, "vf", "c1", agent_call())

    finalise("c1", str(tmp_path / "c1.wav"))

    assert kinds(client, key)[-1] == "recording"


def test_finalise_makes_no_log_when_there_is_none(client, tmp_path):
    stereo_wav(tmp_path / "c1.wav", 1.0)

    finalise("c1", str(tmp_path / "c1.wav"))

    assert client.keys("*") == []
    assert json.loads((tmp_path / "c1.json").read_text())["events"] == []


def test_finalise_deletes_the_wav_after_the_check_when_told_to(client, tmp_path, monkeypatch):
    monkeypatch.setenv("VOICEFARM_JOBS__KEEP_WAV", "false")
    monkeypatch.setenv("VOICEFARM_JOBS__OPUS", "false")
    stereo_wav(tmp_path / "c1.wav", 1.0)

    finalise("c1", str(tmp_path / "c1.wav"))
    finalise("c1", str(tmp_path / "c1.wav"))

    assert sorted(p.name for p in tmp_path.iterdir()) == ["c1.flac", "c1.json"]


def test_finalise_waits_for_the_end_of_a_call_that_lives(client, tmp_path):
    stereo_wav(tmp_path / "c1.wav", 1.0)
    write_log(client, "vf", "c1", agent_call()[:-1])
    client.hset(Keys("vf").call("c1"), "call_id", "c1")

    with pytest.raises(RecordingUnfit, match="not ended"):
        finalise("c1", str(tmp_path / "c1.wav"))
    client.delete(Keys("vf").call("c1"))

    assert finalise("c1", str(tmp_path / "c1.wav"))


def test_finalise_passes_over_events_of_the_future(client, tmp_path):
    stereo_wav(tmp_path / "c1.wav", 1.0)
    key = write_log(client, "vf", "c1", agent_call())
    client.xadd(key, {b"m": b"\x81\xa1t\xa5later"})

    finalise("c1", str(tmp_path / "c1.wav"))

    assert len(json.loads((tmp_path / "c1.json").read_text())["events"]) == len(agent_call())


def test_finalise_leaves_nothing_under_a_final_name_when_the_wav_is_cut(client, tmp_path):
    path = tmp_path / "c1.wav"
    stereo_wav(path, 1.0)
    path.write_bytes(path.read_bytes()[:-2])

    with pytest.raises(RecordingUnfit, match="2 bytes short"):
        finalise("c1", str(path))

    assert [p.name for p in tmp_path.iterdir()] == ["c1.wav"]
