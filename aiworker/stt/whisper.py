"""Whisper through faster-whisper and CTranslate2: the utterances of several calls in one batch.

The public pipelines of faster-whisper share one prompt and one set of options over a batch, so the model is driven
directly: stacked log-mel windows, one prompt per row (language and hotwords differ), greedy search. What CTranslate2
asks of a batch: the start-of-transcript token at the same place in every row, hence the buckets. A row that runs away
holds its whole batch, hence the limit on tokens by audio length and the second try alone.

Sources: CTranslate2 `models.Whisper.generate`; faster-whisper `transcribe.py`; thresholds of the Whisper paper
(Radford et al. 2022, section 4.5: compression ratio 2.4, log probability -1, no-speech 0.6).
"""

import math
import os
import zlib
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from aiworker.stt.audio import as_float, at_rate
from aiworker.stt.port import Hypothesis, Utterance
from shared.errors import EngineError, EngineMissing

_RATE_HZ = 16_000
_FRAMES_PER_S = 100
_WINDOW_FRAMES = 3_000
_SHORTEST_S = 0.1
_TOKENS_PER_S = 12
_TOKENS_MORE = 8
_HOTWORD_TOKENS = 64
_MAX_LENGTH = 448
_COMPRESSION_MAX = 2.4
_REPETITIVE_BYTES = 100
_NO_SPEECH_MIN = 0.6
_LOG_PROB_MIN = -1.0


class _Row(NamedTuple):
    """What the model gave for one utterance."""

    tokens: list[int]
    log_prob: float
    no_speech: float


class FasterWhisper:
    """`model` is a name that faster-whisper knows, a hub id, or a directory of a converted model."""

    sample_rate = _RATE_HZ

    def __init__(
        self,
        model: str,
        *,
        device: str = "auto",
        compute_type: str = "default",
        threads: int = 0,
        batch_max: int = 16,
        window_s: float = 30.0,
    ) -> None:
        self._model_name = model
        self._device = device
        self._compute_type = compute_type
        self._threads = threads
        self._short_frames = round(window_s * _FRAMES_PER_S)
        self._model: Any = None
        self._tokenizers: dict[str, Any] = {}
        self._languages: frozenset[str] = frozenset()
        self.batch_max = batch_max

    @property
    def name(self) -> str:
        return f"faster-whisper {os.path.basename(self._model_name.rstrip('/'))}"

    def load(self) -> None:
        try:
            import faster_whisper  # noqa: PLC0415  an optional extra
            from faster_whisper.tokenizer import _LANGUAGE_CODES  # noqa: PLC0415  known nowhere else
            from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415
        except ImportError as error:
            raise EngineMissing(
                "faster-whisper is not installed: pip install 'voicefarm[whisper]'"
            ) from error
        # The hub's errors derive from those of whichever HTTP client its version uses.
        failures: tuple[type[Exception], ...] = (OSError, RuntimeError, ValueError, *HfHubHTTPError.__bases__)
        try:
            self._model = faster_whisper.WhisperModel(
                self._model_name, device=self._device, compute_type=self._compute_type, cpu_threads=self._threads
            )  # fmt: skip
        except failures as error:
            raise EngineMissing(
                f"the Whisper model {self._model_name!r} cannot be loaded ({error}): give stt.model a directory of a "
                "converted model, or a name while the model hub can be reached"
            ) from error
        self._languages = frozenset(_LANGUAGE_CODES)
        self.decode([Utterance(np.zeros(_RATE_HZ, np.int16), _RATE_HZ)])  # allocations of the first batch

    def bucket(self, utterance: Utterance) -> Hashable:
        # A prompt is as long as its hotwords: two rows whose hotwords differ may still share a batch.
        return self._frames(utterance), len(self._hotwords(utterance))

    def decode(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        groups: dict[Hashable, list[int]] = defaultdict(list)
        found: dict[int, Hypothesis] = {}
        for index, utterance in enumerate(utterances):
            problem = self._problem(utterance)
            if problem or utterance.seconds < _SHORTEST_S:
                found[index] = Hypothesis("", problem=problem)
            else:
                groups[self.bucket(utterance)].append(index)
        for group in groups.values():
            rows = [utterances[index] for index in group]
            found.update(zip(group, self._decode_group(rows), strict=True))
        return [found[index] for index in range(len(utterances))]

    # --- one batch

    def _decode_group(self, rows: Sequence[Utterance]) -> list[Hypothesis]:
        raw = self._generate(rows)
        return [
            self._again(row) if self._is_bad(row, one) else self._hypothesis(row, one)
            for row, one in zip(rows, raw, strict=True)
        ]

    def _generate(self, rows: Sequence[Utterance], **options: Any) -> list[_Row]:
        frames = self._frames(rows[0])
        prompts = [self._prompt(row) for row in rows]
        limit = max(token_limit(row.seconds) for row in rows)
        try:
            encoded = self._model.encode(np.stack([self._features(row, frames) for row in rows]))
            # CTranslate2 lets a row have at most half of max_length, and prompt and row together all of it.
            results = self._model.model.generate(
                encoded, prompts, beam_size=1, return_scores=True, return_no_speech_prob=True,
                max_length=min(_MAX_LENGTH, max(2 * limit, limit + len(prompts[0]))), **options,
            )  # fmt: skip
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"{self.name}: {error}") from error
        return [_row(result) for result in results]

    def _again(self, row: Utterance) -> Hypothesis:
        """A second try, alone and with repetition forbidden; a text that runs away twice is no text."""
        second = self._generate([row], no_repeat_ngram_size=3, repetition_penalty=1.1)[0]
        return (
            Hypothesis("", problem="runaway") if self._is_bad(row, second) else self._hypothesis(row, second)
        )

    def _is_bad(self, row: Utterance, one: _Row) -> bool:
        text = self._tokenizer(row).decode(one.tokens)
        return len(one.tokens) >= token_limit(row.seconds) or compression_ratio(text) > _COMPRESSION_MAX

    def _hypothesis(self, row: Utterance, one: _Row) -> Hypothesis:
        if one.no_speech > _NO_SPEECH_MIN and one.log_prob < _LOG_PROB_MIN:
            return Hypothesis("")
        text = self._tokenizer(row).decode(one.tokens).strip()
        return Hypothesis(text, math.exp(one.log_prob) if text else 0.0)

    # --- input

    def _features(self, row: Utterance, frames: int) -> Any:
        from faster_whisper.audio import pad_or_trim  # noqa: PLC0415  an optional extra

        mel = self._model.feature_extractor(as_float(at_rate(row, _RATE_HZ)))
        return pad_or_trim(mel[..., :-1], frames)

    def _frames(self, row: Utterance) -> int:
        """The short window where the utterance fits into it with half a second to spare, else all 30 s."""
        fits = row.seconds * _FRAMES_PER_S + _FRAMES_PER_S // 2 <= self._short_frames
        return self._short_frames if fits else _WINDOW_FRAMES

    def _prompt(self, row: Utterance) -> list[int]:
        tokenizer = self._tokenizer(row)
        hotwords = self._hotwords(row)
        before = [tokenizer.sot_prev, *hotwords] if hotwords else []
        return [*before, *tokenizer.sot_sequence, tokenizer.no_timestamps]

    def _hotwords(self, row: Utterance) -> list[int]:
        if not row.hotwords:
            return []
        encoded: list[int] = self._tokenizer(row).encode(" " + ", ".join(row.hotwords))
        return encoded[:_HOTWORD_TOKENS]

    def _tokenizer(self, row: Utterance) -> Any:
        from faster_whisper.tokenizer import Tokenizer  # noqa: PLC0415  an optional extra

        multilingual = bool(self._model.model.is_multilingual)
        language = _code(row.language) if multilingual and _code(row.language) in self._languages else "en"
        if language not in self._tokenizers:
            self._tokenizers[language] = Tokenizer(
                self._model.hf_tokenizer, multilingual, task="transcribe", language=language
            )
        return self._tokenizers[language]

    def _problem(self, row: Utterance) -> str:
        """Why this model cannot decode a row, if it cannot: never another language in silence."""
        known = self._languages if self._model.model.is_multilingual else {"en"}
        return "" if _code(row.language) in known else "language"


def token_limit(seconds: float) -> int:
    """More tokens than anybody can say in that time, and not more than the model can give."""
    return min(_MAX_LENGTH // 2, _TOKENS_MORE + math.ceil(seconds * _TOKENS_PER_S))


def compression_ratio(text: str) -> float:
    """How repetitive a text is; a short one never is: people do say "no, no, no"."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if len(raw) >= _REPETITIVE_BYTES else 1.0


def _code(language: str) -> str:
    return language.partition("-")[0].lower()


def _row(result: Any) -> _Row:
    tokens: list[int] = result.sequences_ids[0]
    # CTranslate2 gives the mean over the tokens; the end token counts as well (faster-whisper does the same).
    mean = float(result.scores[0])
    log_prob = mean * len(tokens) / (len(tokens) + 1) if tokens and math.isfinite(mean) else -math.inf
    return _Row(tokens, log_prob, float(result.no_speech_prob))
