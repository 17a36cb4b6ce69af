"""Log lines: fields become keys, call_id stays, tracebacks are kept."""

import json
import logging
from collections.abc import Iterator

import pytest

from shared.log import get_log, set_up_logs

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_line_carries_fields(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("media-0.ab", "info", "json")
    get_log("m").info("leg opened", call_id="c1", port=20_000)
    line = json.loads(capsys.readouterr().err)
    assert line.pop("ts") > 0
    assert line == {
        "level": "info", "worker": "media-0.ab", "module": "m", "event": "leg opened", "call_id": "c1", "port": 20_000,
    }  # fmt: skip


def test_text_line_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("front-0.cd", "debug", "text")
    log = get_log("m")
    log.debug("a", x=1)
    log.warning("b")
    log.error("c")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("DEBUG   front-0.cd a x=1")
    assert [line.split()[1] for line in lines] == ["DEBUG", "WARNING", "ERROR"]


def test_exception_keeps_the_trace(capsys: pytest.CaptureFixture[str]) -> None:
    for fmt in ("json", "text"):
        set_up_logs("w", "info", fmt)
        try:
            int("broken")
        except ValueError:
            get_log("m").exception("failed", task="t")
        assert "ValueError: invalid literal" in capsys.readouterr().err


def test_level_silences_lower_lines(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("w", "error", "json")
    get_log("m").info("unseen")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["ts", "level", "worker", "module", "event", "trace"])
def test_field_with_a_name_of_ours_stands_beside_it(capsys: pytest.CaptureFixture[str], name: str) -> None:
    set_up_logs("front-0.cd", "info", "json")
    get_log("m").info("said", **{name: "theirs"})
    line = json.loads(capsys.readouterr().err)
    assert line[f"{name}_"] == "theirs"
    assert (line["worker"], line["event"], line["level"]) == ("front-0.cd", "said", "info")


def test_renamed_fields_do_not_hide_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("front-0.cd", "info", "json")
    get_log("m").info("said", worker="a", worker_="b")
    line = json.loads(capsys.readouterr().err)
    assert (line["worker"], line["worker_"], line["worker__"]) == ("front-0.cd", "b", "a")
