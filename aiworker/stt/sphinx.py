"""PocketSphinx with a closed grammar: the engine that needs no model hub, for demos and menus.

With its open language model PocketSphinx gets two words of three wrong on telephone speech; choosing among a few dozen
known sentences it gets nearly all of them right. Every utterance is decoded whole, with the cepstral mean of its own
audio, so no call changes what another one gets.

A closed grammar explains any sound as its nearest sentence. So each hit is scored once more against a free loop of
phones: a sentence that explains the sound hardly better than any noise would is not accepted, nor is half a sentence,
nor one that passes over much of what was said.
"""

import math
import os
import re
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from aiworker.stt.audio import at_rate
from aiworker.stt.port import Hypothesis, Samples, Utterance
from shared.errors import EngineError, EngineMissing

_RATE_HZ = 16_000
_SHORTEST_S = 0.1
_PHONES = "phones"
_GRAMMARS_MAX = 8
_SILENT_MAX = 1 / 3
_HALF_SURE_PER_S = 0.02
"""Margin of the sentence over the phone loop, in the decoder's log units per second, at which it may be either. Human
recordings of grammar sentences had 0.07 to 0.3, clean and in noise; other speech mostly less than 0."""

_FRAME_SAMPLES = _RATE_HZ // 50
_KEEP_FRAMES = 3
_LOUD_SHARE = 0.04
_ABOVE_FLOOR = 1.5


class Sphinx:
    """`sentences` is the grammar of calls that bring none."""

    name = "pocketsphinx en-us"
    sample_rate = _RATE_HZ
    batch_max = 1

    def __init__(self, sentences: Iterable[str]) -> None:
        self._default = as_grammar(sentences)
        self._decoder: Any = None
        self._searches: OrderedDict[tuple[str, ...], str] = OrderedDict()
        self._named = 0

    def load(self) -> None:
        try:
            import pocketsphinx  # noqa: PLC0415  an optional extra
        except ImportError as error:
            raise EngineMissing("pocketsphinx is not installed: pip install 'voicefarm[embedded]'") from error
        model = os.path.join(pocketsphinx.get_model_path(), "en-us")
        try:
            self._decoder = pocketsphinx.Decoder(
                hmm=os.path.join(model, "en-us"), dict=os.path.join(model, "cmudict-en-us.dict"), lm=None,
                samprate=_RATE_HZ, loglevel="FATAL",
            )  # fmt: skip
            self._decoder.add_allphone_file(_PHONES, os.path.join(model, "en-us-phone.lm.bin"))
        except (RuntimeError, ValueError) as error:
            raise EngineMissing(
                f"the model that comes with pocketsphinx cannot be loaded: {error}"
            ) from error
        unknown = self._unknown_words(self._default)
        if unknown or not self._default:
            raise EngineMissing(
                f"stt.grammar: words that the dictionary does not have: {', '.join(unknown)}"
                if unknown
                else "stt.grammar has no sentence"
            )
        self._warm_up()

    def _warm_up(self) -> None:
        """Tables, resampler and both searches are set up by the first sound: it shall not be a caller's."""
        noise = np.random.default_rng(0).normal(0, 500, _RATE_HZ // 2).astype(np.int16)
        sound = without_silence(at_rate(Utterance(noise, _RATE_HZ // 2), _RATE_HZ))
        for search in (self._search(self._default), _PHONES):
            self._run(search, sound)

    def bucket(self, utterance: Utterance) -> Hashable:
        return utterance.grammar

    def decode(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        return [self._decode_one(utterance) for utterance in utterances]

    def _decode_one(self, utterance: Utterance) -> Hypothesis:
        if utterance.language.partition("-")[0].lower() != "en":
            return Hypothesis("", problem="language")
        if utterance.seconds < _SHORTEST_S:
            return Hypothesis("")
        sentences = as_grammar(utterance.grammar) or self._default
        if self._unknown_words(sentences):
            return Hypothesis("", problem="grammar")
        samples = at_rate(utterance, _RATE_HZ)
        speech = without_silence(samples)
        try:
            grammar = self._search(sentences)
            text, _ = self._run(grammar, samples)
            if text not in sentences:
                return Hypothesis("")
            _, score = self._run(grammar, speech)
            if self._silent_share() > _SILENT_MAX:
                return Hypothesis("")
            _, noise = self._run(_PHONES, speech)
        except RuntimeError as error:
            raise EngineError(f"{self.name}: {error}") from error
        confidence = confidence_of((score - noise) * _RATE_HZ / len(speech))
        return Hypothesis(text if confidence >= 0.5 else "", confidence)

    def _run(self, search: str, sound: Samples) -> tuple[str, float]:
        decoder = self._decoder
        decoder.activate_search(search)
        decoder.start_utt()
        decoder.process_raw(sound.tobytes(), no_search=False, full_utt=True)
        decoder.end_utt()
        best = decoder.hyp()
        return (best.hypstr, math.log(best.score)) if best and best.score > 0 else ("", -math.inf)

    def _silent_share(self) -> float:
        """How much of the sound the last search took for pauses and noises between the words."""
        parts: list[tuple[str, int]] = [
            (part.word, part.end_frame - part.start_frame) for part in self._decoder.seg()
        ]
        skipped = sum(frames for word, frames in parts if word[0] in "<[")
        return skipped / max(1, sum(frames for _, frames in parts))

    def _search(self, sentences: tuple[str, ...]) -> str:
        """The decoder's search for a grammar; the longest unused one makes room for a new one."""
        if sentences in self._searches:
            self._searches.move_to_end(sentences)
            return self._searches[sentences]
        if len(self._searches) >= _GRAMMARS_MAX:
            _, oldest = self._searches.popitem(last=False)
            self._decoder.activate_search(_PHONES)  # the active search must not be removed
            self._decoder.remove_search(oldest)
        self._named += 1
        name = f"grammar-{self._named}"
        self._decoder.add_jsgf_string(name, jsgf(sentences))
        self._searches[sentences] = name
        return name

    def _unknown_words(self, sentences: Iterable[str]) -> list[str]:
        words = {word for sentence in sentences for word in sentence.split()}
        return sorted(word for word in words if self._decoder.lookup_word(word) is None)


def as_grammar(sentences: Iterable[str]) -> tuple[str, ...]:
    """Sentences as the dictionary spells them: small letters and apostrophes; empty lines and `#` comments left out."""
    plain = (
        re.sub(r"[^a-z' ]+", " ", text.lower()) for text in sentences if not text.lstrip().startswith("#")
    )
    return tuple(dict.fromkeys(" ".join(text.split()) for text in plain if text.strip()))


def without_silence(samples: Samples) -> Samples:
    """Speech with 60 ms around it, for scores: the pauses that the endpoint adds count against a sentence more than
    against phones. Words are found in all of the sound, where a sentence has room to end.
    """
    frames = samples[: len(samples) // _FRAME_SAMPLES * _FRAME_SAMPLES].reshape(-1, _FRAME_SAMPLES)
    level = np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1) + 1.0)
    quiet, loud = np.percentile(level, (5, 95))
    speech = np.flatnonzero(level > max(loud * _LOUD_SHARE, quiet * _ABOVE_FLOOR))
    if not len(speech):
        return samples
    first, last = max(0, speech[0] - _KEEP_FRAMES), speech[-1] + 1 + _KEEP_FRAMES
    return samples[first * _FRAME_SAMPLES : last * _FRAME_SAMPLES]


def jsgf(sentences: Sequence[str]) -> str:
    """A grammar (JSpeech Grammar Format 1.0) of alternatives."""
    return "#JSGF V1.0;\ngrammar farm;\npublic <sentence> = " + " | ".join(sentences) + ";\n"


def confidence_of(margin_per_s: float) -> float:
    """0 to 1, one half where the sentence may be either heard or imagined."""
    return max(0.0, margin_per_s) / (max(0.0, margin_per_s) + _HALF_SURE_PER_S)
