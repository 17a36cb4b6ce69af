"""Speech for the bench: espeak-ng in many voices, and the demo's people."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
import yaml

from aiworker.tts.espeak import EspeakEngine
from aiworker.tts.port import Sentence

Pcm = npt.NDArray[np.int16]

DEMO = Path(__file__).resolve().parents[2] / "voicefarm" / "demo"
VOICES = ("en-us", "en-gb", "de", "fr", "es", "it", "pt", "nl", "pl", "sv")
VARIANTS = ("", "+f2", "+m3", "+f4", "+m7", "+whisper", "+croak")
PITCHES = (0.8, 0.9, 1.0, 1.12, 1.25)
TEXT = (
    "Good morning, I would like to ask about my order from last Tuesday. It was three large boxes and a small parcel.",
    "The number is six, five, nine, one, one, two; the other one begins with zero zero four four.",
    "We have been waiting for an hour, and nobody has told us whether the train will leave at all.",
    "Could you please read that to me once more, slowly? My hearing is not what it used to be.",
    "All the new people who know you will be here too, moving through the blue room with a few spoons.",
    "She sells sea shells by the sea shore, while nine men mine in the mountains and hum a low tune.",
)


def demo() -> Iterator[tuple[str, Pcm]]:
    script = yaml.safe_load((DEMO / "caller.yaml").read_text())
    for entry in script["recordings"].values():
        samples, _ = soundfile.read(DEMO / entry["file"], dtype="int16")
        yield entry["file"], np.asarray(samples, np.int16)


def speech(minutes: float) -> Iterator[tuple[str, Pcm]]:
    """So much of it: the demo's people and made voices, each in several pitches."""
    left = minutes * 60 * 8_000
    for name, pcm in itertools.chain(demo(), _made()):
        for pitch in PITCHES:
            if left <= 0:
                return
            changed = soxr.resample(pcm, 1.0, 1 / pitch)
            left -= len(changed)
            yield f"{name}, pitch {pitch}", changed


def _made() -> Iterator[tuple[str, Pcm]]:
    """Needs the extra `embedded`."""
    with asyncio.Runner() as runner:
        engine = EspeakEngine()
        runner.run(engine.load())
        for variant, language, text in itertools.product(VARIANTS, VOICES, TEXT):
            voice = language + variant
            yield voice, runner.run(_say(engine, Sentence(text, voice=voice)))
        runner.run(engine.close())


async def _say(engine: EspeakEngine, sentence: Sentence) -> Pcm:
    return np.concatenate([audio async for audio in engine.synthesise(sentence)])
