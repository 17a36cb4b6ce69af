"""Builds the TTS engines of a worker from its configuration: the chosen one, and what speaks when that one fails."""

from aiworker.tts.espeak import EspeakEngine
from aiworker.tts.openai import OpenAiSpeech
from aiworker.tts.port import TtsEngine
from aiworker.tts.tones import TonesEngine
from shared.config import TtsConfig


def build(config: TtsConfig) -> list[TtsEngine]:
    """First choice first. A remote engine is backed by espeak-ng where that is installed."""
    if config.engine == "tones":
        return [TonesEngine()]
    if config.engine == "espeak":
        return [EspeakEngine(config.voice, config.rate_wpm)]
    remote = OpenAiSpeech(config.base_url, config.model, config.voice, config.api_key_env)
    return [remote, EspeakEngine("en-us", config.rate_wpm)]
