"""The words of the command line: arguments, addresses, errors and their exit status."""

import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from shared.contracts import CallEvent
from shared.errors import ConfigError
from voicefarm.app import main, parser
from voicefarm.commands.call import _expectations, _headers, _script, _target, as_data
from voicefarm.commands.farm_options import options_of
from voicefarm.core.rtp_stream import Heard
from voicefarm.io.place_call import CallReport, figures
from voicefarm.io.run_file import FarmRecord, read_farm, run_path, write_farm
from voicefarm.io.telephone import CallFacts, NoCall, _address_of

pytestmark = pytest.mark.unit

FARM = FarmRecord(
    pid=1, started_ms=0, redis_url="redis://h/0", prefix="vf", sip_host="192.0.2.1", sip_ports=[5062], recordings="/r",
    ready=True, processes=[],
)  # fmt: skip


def report() -> CallReport:
    heard = Heard(packets=50, loud_frames=100)
    facts = CallFacts(invited_ns=0, answered_ns=20_000_000, ended_ns=1_020_000_000, call_id="c", by_farm=True)
    events = [
        CallEvent(
            call_id="c", kind="transcript", at_ns=0, by="", data={"kind": "final", "text": "Hello there"}
        ),
        CallEvent(
            call_id="c", kind="turn.latency", at_ns=0, by="", data={"turn": 1, "voice_to_voice_ms": 600}
        ),
    ]
    return CallReport(
        facts=facts, heard=heard, spoken=[], findings=[], events=events, recording=np.zeros((0, 2), np.int16)
    )


@pytest.mark.parametrize("word", ["demo", "up", "call", "tail", "doctor"])
def test_every_word_explains_itself(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main([word, "--help"])
    assert done.value.code == 0
    assert "--var" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [
        [], ["fly"], ["up", "--sip-port", "0"], ["up", "--sip-port", "70000"], ["up", "--fronts", "-1"],
        ["up", "--rtp-ports", "20001-20100"], ["up", "--stt", "many"],
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(argv)
    assert done.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_wrong_configuration_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "farm.yaml"
    path.write_text("sip: {prot: 1}")
    assert main(["doctor", "--config", str(path), "--var", str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err
        == "voicefarm: configuration: sip.prot: Object contains unknown field `prot`\n"
    )


def test_a_call_to_nobody_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", "agent", "--var", str(tmp_path)]) == 2
    assert "no farm runs here" in capsys.readouterr().err


def test_the_farm_that_was_asked_for() -> None:
    argv = [
        "up",
        "--fronts",
        "2",
        "--stt",
        "3",
        "--jobs",
        "0",
        "--host",
        "192.0.2.1",
        "--drain",
        "5",
        "--rtp-ports",
        "30000-30100",
    ]
    options = options_of(parser().parse_args(argv))
    assert options.counts == {"front": 2, "media": 1, "stt": 3, "llm": 1, "tts": 1, "jobs": 0}
    assert (options.host, options.drain_s, options.rtp_ports) == ("192.0.2.1", 5.0, "30000-30100")


@pytest.mark.parametrize(
    ("given", "farm", "target"),
    [
        ("sip:x@h:1", None, "sip:x@h:1"), ("x@h", None, "sip:x@h"), ("agent", FARM, "sip:agent@192.0.2.1:5062"),
    ],
)  # fmt: skip
def test_where_a_call_goes(given: str, farm: FarmRecord | None, target: str) -> None:
    assert _target(given, farm) == target


@pytest.mark.parametrize("uri", ["tel:123", "sip:", "nonsense", "sip:a@no-such-host.invalid"])
def test_an_address_that_cannot_be_called(uri: str) -> None:
    with pytest.raises(NoCall):
        _address_of(uri)


def test_headers_of_the_invite() -> None:
    assert _headers(["X-Room-ID: a:b", "X-B:c"]) == {"X-Room-ID": "a:b", "X-B": "c"}
    for wrong in ("no colon", ": x", "X-A: b\r\nX-Room-ID: c"):
        with pytest.raises(ConfigError, match="NAME:VALUE"):
            _headers([wrong])


def test_a_call_without_a_script_plays_presses_and_stays() -> None:
    args = parser().parse_args(
        ["call", "x", "--play", "a.wav", "--play", "b.wav", "--press", "12", "--seconds", "1.5"]
    )
    script, folder = _script(args)
    assert [step.kind for step in script.steps] == ["say", "say", "press", "wait_ms", "hang_up"]
    assert script.steps[3].wait_ms == 1_500
    assert all(Path(recording.file).is_absolute() for recording in script.recordings.values())
    assert folder == Path()


@pytest.mark.parametrize(("more", "ok"), [(["--expect", "hello"], True), (["--expect", "bye"], False),
                                          (["--expect-sound", "2"], True), (["--expect-sound", "2.1"], False)])  # fmt: skip
def test_expectations_are_judged(more: list[str], ok: bool) -> None:
    (finding,) = _expectations(parser().parse_args(["call", "x", *more]), report())
    assert finding.ok is ok


def test_the_result_as_data() -> None:
    data = as_data(report())
    assert data["setup_ms"] == 20
    assert data["talked_ms"] == 1_000
    assert data["transcripts"] == ["Hello there"]
    assert data["turns"] == [{"turn": 1, "voice_to_voice_ms": 600.0, "stages": {"bus + playout": 600.0}}]
    assert "1.0 s, 50 RTP packets" in figures(report())


def test_the_run_file_is_found_only_while_its_farm_lives(tmp_path: Path) -> None:
    var = str(tmp_path)
    assert read_farm(var) is None
    alive = msgspec.structs.replace(FARM, pid=os.getpid())
    write_farm(var, alive)
    assert read_farm(var) == alive
    dead = msgspec.structs.replace(FARM, pid=2**22 + 1)
    write_farm(var, dead)
    assert read_farm(var) is None
    run_path(var).write_text("{half")
    assert read_farm(var) is None
