"""Which TTS engines a worker gets from its configuration, and in which order."""

import pytest

from aiworker.tts.engines import build
from shared.config import TtsConfig

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (TtsConfig(), ["espeak"]),
        (TtsConfig(engine="tones"), ["tones"]),
        (TtsConfig(engine="openai", voice="alloy"), ["openai", "espeak"]),
    ],
)
def test_chain_is_the_chosen_engine_and_what_backs_it(config: TtsConfig, names: list[str]) -> None:
    engines = build(config)
    assert [engine.name for engine in engines] == names
    assert all(engine.parallel >= 1 for engine in engines)


def test_remote_voice_is_not_asked_of_the_local_engine() -> None:
    local = build(TtsConfig(engine="openai", voice="alloy"))[1]
    assert vars(local)["_voice"] == "en-us"
    assert vars(build(TtsConfig(voice="de"))[0])["_voice"] == "de"


def test_every_engine_of_the_configuration_can_be_built() -> None:
    for name in TtsConfig.__annotations__["engine"].__args__:
        assert build(TtsConfig(engine=name))[0].name == name
