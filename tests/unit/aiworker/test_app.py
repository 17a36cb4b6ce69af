import pytest

from aiworker.app import ROLES, main

pytestmark = pytest.mark.unit


def test_roles_are_those_of_the_design() -> None:
    assert set(ROLES) == {"stt", "llm", "tts"}


def test_every_role_can_be_served() -> None:
    for find in ROLES.values():
        assert callable(find())


def test_unknown_role_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["asr"])
    assert caught.value.code == 2
    assert "asr" in capsys.readouterr().err


def test_wrong_configuration_names_the_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOICEFARM_STT__BATCH_MAX", "0")
    assert main(["stt"]) == 78
    assert "stt.batch_max" in capsys.readouterr().err
