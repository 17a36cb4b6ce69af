"""`voicefarm call`: what is shown and written of a call, scripts and their recordings, and what was expected of it."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from shared.contracts import CallEvent
from shared.errors import ConfigError
from voicefarm.commands.call import (
    _expectations,
    _write_files,
    add,
    as_data,
    load_audio,
    print_report,
    read_script,
)
from voicefarm.core.conversation import Finding
from voicefarm.core.rtp_stream import Heard
from voicefarm.io.place_call import CallReport
from voicefarm.io.telephone import CallFacts

pytestmark = pytest.mark.unit

MS = 1_000_000


def event(kind: str, /, **data: object) -> CallEvent:
    return CallEvent(call_id="c", kind=kind, at_ns=0, by="w", data=data)


def report(*findings: Finding, answered: bool = True, events: list[CallEvent] | None = None) -> CallReport:
    facts = CallFacts(
        invited_ns=1_000 * MS, answered_ns=1_250 * MS if answered else 0, ended_ns=4_250 * MS, call_id="c",
        code=200 if answered else 486, reason="OK" if answered else "Busy Here",
    )  # fmt: skip
    heard = Heard(packets=150, loud_frames=100)
    return CallReport(
        facts=facts, heard=heard, spoken=[], findings=list(findings), events=events or [],
        recording=np.arange(320, dtype=np.int16).reshape(160, 2),
    )  # fmt: skip


def arguments(*argv: str) -> argparse.Namespace:
    top = argparse.ArgumentParser()
    add(top.add_subparsers())
    return top.parse_args(["call", *argv])


def test_findings_and_waterfalls_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    times = event("turn.latency", turn=2, endpoint_ms=500, llm_first_token_ms=90, voice_to_voice_ms=640)
    print_report(report(Finding(True, "heard it"), Finding(False, "missed that"), events=[times]))
    shown = capsys.readouterr().out
    assert "turn 2: where the time went" in shown
    assert "640" in shown
    assert "ok   heard it" in shown
    assert "FAIL missed that" in shown
    assert "150 RTP packets heard" in shown


def test_one_failed_finding_fails_the_call() -> None:
    assert report(Finding(True, "a")).ok
    assert report().ok
    assert not report(Finding(True, "a"), Finding(False, "b")).ok


def test_report_as_data_has_durations_and_no_talk_where_nobody_answered() -> None:
    talked, refused = as_data(report()), as_data(report(answered=False))
    assert (talked["setup_ms"], talked["talked_ms"], talked["code"]) == (250, 3_000, 200)
    assert (refused["setup_ms"], refused["talked_ms"], refused["code"]) == (0, 0, 486)
    assert refused["reason"] == "Busy Here"


def test_recording_and_result_are_written_where_asked(tmp_path: Path) -> None:
    wav, result = tmp_path / "sub" / "call.wav", tmp_path / "call.json"
    _write_files(arguments("--record", str(wav), "--json", str(result)), report(Finding(True, "Zoë")))
    pcm, rate_hz = soundfile.read(wav, dtype="int16")
    assert (pcm.shape, rate_hz) == ((160, 2), 8_000)
    found = json.loads(result.read_text())
    assert found["ok"]
    assert found["findings"] == [{"ok": True, "text": "Zoë"}]


def test_nothing_is_written_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _write_files(arguments(), report())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "ok"),
    [
        (["--expect", "good DAY"], [True]),
        (["--expect", "good night"], [False]),
        (["--expect", "good", "--expect", "night"], [True, False]),
        (["--expect-sound", "2"], [True]),
        (["--expect-sound", "2.1"], [False]),
        ([], []),
    ],
)
def test_expectations_are_judged_one_by_one(argv: list[str], ok: list[bool]) -> None:
    said = [
        event("transcript", kind="partial", text="night"),
        event("transcript", kind="final", text="Good day"),
    ]
    assert [finding.ok for finding in _expectations(arguments(*argv), report(events=said))] == ok


def test_recordings_lie_beside_their_script(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hi.wav", np.full(160, 7, np.int16), 8_000)
    path = tmp_path / "call.yaml"
    path.write_text("recordings: {hi: {file: hi.wav}}\nsteps: [{say: hi}, {hang_up: true}]\n")
    script = read_script(path)
    audio = load_audio(script, path.parent)
    assert audio["hi"].tolist() == [7] * 160
    with pytest.raises(ConfigError, match=r"hi\.wav"):
        load_audio(script, tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_script(tmp_path / "absent.yaml")
