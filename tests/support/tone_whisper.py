"""A Whisper model whose language is tones: each half second in which one of ten tones prevails is one word.

The weights are written by hand into the real architecture (CTranslate2's WhisperSpec), so faster-whisper loads and runs
it like any other model, in milliseconds and with an exact answer. How it works, with one layer on each side:

- encoder: the first convolution lights one channel per tone when its mel bin stands above the frame's mean; position
  encodings mark the half-second slot a frame is in.
- decoder: the n-th word asks, by its position, for slot n; cross-attention answers with the mean of that slot's tone
  channels; the projection turns the strongest tone into its word, or, where none is strong, into the end of text.

Build time is well under a second; nothing is downloaded.
"""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers
from ctranslate2.specs import whisper_spec
from numpy.typing import NDArray

TONES = {
    "hello": 420, "yes": 560, "no": 740, "help": 940, "billing": 1160, "agent": 1420, "weather": 1720, "stop": 2060,
    "please": 2460, "thanks": 2920,
}  # fmt: skip
"""Word -> Hz: inside the telephone band, several mel bins apart."""

SLOT_S = 0.5
_LANGUAGES = [
    "en", "zh", "de", "es", "ru", "ko", "fr", "ja", "pt", "tr", "pl", "ca", "nl", "ar", "sv", "it", "id", "hi",
    "fi", "vi", "he", "uk", "el", "ms", "cs", "ro", "da", "hu", "ta", "no", "th", "ur", "hr", "bg", "lt", "la",
    "mi", "ml", "cy", "sk", "te", "fa", "lv", "bn", "sr", "az", "sl", "kn", "et", "mk", "br", "eu", "is", "hy",
    "ne", "mn", "bs", "kk", "sq", "sw", "gl", "mr", "pa", "si", "km", "sn", "yo", "so", "af", "oc", "ka", "be",
    "tg", "sd", "gu", "am", "yi", "lo", "uz", "fo", "ht", "ps", "tk", "nn", "mt", "sa", "lb", "my", "bo", "tl",
    "mg", "as", "tt", "haw", "ln", "ha", "ba", "jw", "su",
]  # fmt: skip
_D, _HEADS, _MELS = 128, 2, 80
_POSITIONS, _TEXT = 1_500, 448
_SLOTS = int(30 / SLOT_S)
_FIRST_SLOT = 32  # channels below: tones; from here: slots; the last two pin the scale of the layer norms


def speak(
    words: Sequence[str], rate_hz: int = 8_000, *, level: float = 0.3, lead_s: float = 0.0
) -> NDArray[np.int16]:
    """The sound of some words, after `lead_s` of silence."""
    t = np.arange(int(SLOT_S * rate_hz)) / rate_hz
    edge = np.clip(np.minimum(t, t[::-1]) / 0.01, 0.0, 1.0)
    tones = [level * edge * np.sin(2 * np.pi * TONES[word] * t) for word in words]
    sound = np.concatenate([np.zeros(int(lead_s * rate_hz)), *tones])
    return (sound * 32_767).astype(np.int16)


def cached_model(*, multilingual: bool = False, endless: bool = False, lead_s: float = 0.0) -> Path:
    """A model directory that is built once per version of this file and shared by all test runs."""
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    name = f"voicefarm-tones-{os.getuid()}-{digest}-{multilingual:d}{endless:d}-{lead_s:g}"
    path = Path(tempfile.gettempdir()) / name
    if not path.is_dir():
        with tempfile.TemporaryDirectory(dir=path.parent) as fresh:
            built = Path(fresh) / "model"
            build(built, multilingual=multilingual, endless=endless, lead_s=lead_s)
            try:
                built.rename(path)
            except OSError:
                assert path.is_dir()  # another test run was faster
    return path


def build(out: Path, *, multilingual: bool = False, endless: bool = False, lead_s: float = 0.0) -> None:
    """Writes the model. `endless`: it never ends its text. `lead_s`: silence before the first slot, such as pre-roll."""
    text, merges, special, stamps = _tokens(multilingual=multilingual)
    vocabulary = text + special + stamps
    spec = whisper_spec.WhisperSpec(1, _HEADS, 1, _HEADS)
    _fill(spec, len(vocabulary))
    _hear(spec.encoder, lead_s)
    _write(spec.decoder, vocabulary, first=3 if multilingual else 1, endless=endless)
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = []
    spec.config.lang_ids = [vocabulary.index(f"<|{code}|>") for code in _LANGUAGES] if multilingual else []
    spec.config.alignment_heads = [(0, head) for head in range(_HEADS)]
    spec.register_vocabulary(vocabulary)
    spec.validate()
    spec.optimize()
    out.mkdir(parents=True)
    spec.save(str(out))
    _tokenizer(text, merges, special, stamps).save(str(out / "tokenizer.json"))
    features = {
        "feature_size": _MELS,
        "sampling_rate": 16_000,
        "hop_length": 160,
        "chunk_length": 30,
        "n_fft": 400,
    }
    (out / "preprocessor_config.json").write_text(json.dumps(features))


# --- vocabulary


def _bytes() -> list[str]:
    """The printable stand-ins for the 256 bytes in a byte-level BPE vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    shifted = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(shifted)) for byte in range(256)]


def _spelled(word: str, alphabet: list[str]) -> list[str]:
    return [alphabet[byte] for byte in f" {word}".encode()]


def _tokens(*, multilingual: bool) -> tuple[list[str], list[tuple[str, str]], list[str], list[str]]:
    alphabet = _bytes()
    text, merges = list(alphabet), []
    for word in TONES:
        piece, *rest = _spelled(word, alphabet)
        for letter in rest:
            merges.append((piece, letter))
            piece += letter
            if piece not in text:
                text.append(piece)
    if multilingual:
        text.append("")  # CTranslate2 tells a multilingual vocabulary by this token
    codes = [f"<|{code}|>" for code in _LANGUAGES] if multilingual else []
    tasks = ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"]
    special = ["<|endoftext|>", "<|startoftranscript|>", *codes, *(f"<|{task}|>" for task in tasks)]
    return text, merges, special, [f"<|{n * 0.02:.2f}|>" for n in range(1_501)]


def _tokenizer(
    text: list[str], merges: list[tuple[str, str]], special: list[str], stamps: list[str]
) -> tokenizers.Tokenizer:
    ids = {token: number for number, token in enumerate(text)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=ids, merges=merges))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [tokenizers.AddedToken(token, special=True, normalized=False) for token in special]
    )
    tokenizer.add_tokens([tokenizers.AddedToken(token, special=False, normalized=False) for token in stamps])
    return tokenizer


# --- weights


def _fill(spec: whisper_spec.WhisperSpec, words: int) -> None:
    """Every weight zero, every norm neutral: what is not written afterwards passes its input on."""
    encoder, decoder = spec.encoder, spec.decoder
    for conv, inputs in ((encoder.conv1, _MELS), (encoder.conv2, _D)):
        conv.weight, conv.bias = _zeros(_D, inputs, 3), _zeros(_D)
    encoder.position_encodings.encodings = _zeros(_POSITIONS, _D)
    decoder.position_encodings.encodings = _zeros(_TEXT, _D)
    decoder.embeddings.weight = _zeros(words, _D)
    decoder.projection.weight = _zeros(words, _D)
    self_attention, cross_attention = [(3 * _D, _D), (_D, _D)], [(_D, _D), (2 * _D, _D), (_D, _D)]
    for layer in (*encoder.layer, *decoder.layer):
        _linears(layer.self_attention, self_attention)
        _linears(layer.ffn, [(8, _D), (_D, 8)])
    _linears(decoder.layer[0].attention, cross_attention)
    for norm in (encoder, decoder):
        _neutral(norm.layer_norm)


def _linears(module: object, shapes: list[tuple[int, int]]) -> None:
    _neutral(module.layer_norm)
    linear = module.linear if hasattr(module, "linear") else (module.linear_0, module.linear_1)
    for part, shape in zip(linear, shapes, strict=True):
        part.weight, part.bias = _zeros(*shape), _zeros(shape[0])


def _neutral(norm: object) -> None:
    norm.gamma, norm.beta = np.ones(_D, np.float32), _zeros(_D)


def _hear(encoder: object, lead_s: float) -> None:
    for channel, hz in enumerate(TONES.values()):
        encoder.conv1.weight[channel, :, 1] = -8.0 / _MELS
        encoder.conv1.weight[channel, _mel_bin(hz), 1] += 8.0
        encoder.conv1.bias[channel] = -8.0
        encoder.conv2.weight[channel, channel, 1] = 1.0
    positions = encoder.position_encodings.encodings
    slots = ((np.arange(_POSITIONS) * 0.02 - lead_s) // SLOT_S).astype(int)
    positions[np.arange(_POSITIONS), _FIRST_SLOT + np.clip(slots, 0, _SLOTS - 1)] = 8.0
    positions[:, -2:] = -40.0, 40.0


def _write(decoder: object, vocabulary: list[str], *, first: int, endless: bool) -> None:
    slots = np.arange(_SLOTS)
    asked = np.clip(np.arange(_TEXT) - first, 0, _SLOTS - 1)
    decoder.position_encodings.encodings[np.arange(_TEXT), _FIRST_SLOT + asked] = 8.0
    query, key_value, output = decoder.layer[0].attention.linear
    query.weight[slots, _FIRST_SLOT + slots] = 3.5
    key_value.weight[slots, _FIRST_SLOT + slots] = 3.5
    alphabet = _bytes()
    for channel, word in enumerate(TONES):
        key_value.weight[_D + channel, channel] = 5.0
        output.weight[channel, channel] = 1.0
        decoder.projection.weight[vocabulary.index("".join(_spelled(word, alphabet))), channel] = 6.0
    quiet = vocabulary.index(_last_word(alphabet) if endless else "<|endoftext|>")
    decoder.projection.weight[quiet, _FIRST_SLOT : _FIRST_SLOT + _SLOTS] = 2.7


def _last_word(alphabet: list[str]) -> str:
    return "".join(_spelled("thanks", alphabet))


def _mel_bin(hz: float) -> int:
    """The filter of the Slaney mel scale (linear up to 1 kHz, then 27 steps per factor 6.4) nearest to a tone."""
    mel = hz * 3 / 200 if hz < 1_000 else 15 + math.log(hz / 1_000) * 27 / math.log(6.4)
    top = 15 + math.log(8) * 27 / math.log(6.4)
    centres = np.linspace(0.0, top, _MELS + 2)[1:-1]
    return int(np.argmin(np.abs(centres - mel)))


def _zeros(*shape: int) -> NDArray[np.float32]:
    return np.zeros(shape, np.float32)
