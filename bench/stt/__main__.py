"""What decoding costs per utterance, by engine and batch size: `python -m bench.stt [--model DIR_OR_NAME]`.

Without `--model` Whisper runs the tone-language model of the tests: a tiny network, so the figures are what resampling,
log-mel, batching and CTranslate2 cost around any model, not the speed of a real one. PocketSphinx is as in the demo.
Figures are the fastest of some rounds, in wall clock time on whatever else the machine does: compare rows, not runs.
"""

import argparse
import os
import statistics
import time
from collections.abc import Iterator, Sequence

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from aiworker.stt.choose import sentences
from aiworker.stt.port import SttEngine, Utterance
from aiworker.stt.sphinx import Sphinx
from aiworker.stt.whisper import FasterWhisper
from shared.config import SttConfig
from tests.support.recordings import recordings
from tests.support.tone_whisper import TONES, cached_model, speak

_RATE_HZ = 8_000
_ROUNDS = 5


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(prog="bench.stt", description=__doc__.splitlines()[0])
    options.add_argument("--model", default="")
    options.add_argument("--device", default="cpu")
    options.add_argument("--compute-type", default="float32")
    chosen = options.parse_args(argv)
    print("| engine | window s | rows | ms per batch | ms per utterance | utterance s |")
    print("|---|---|---|---|---|---|")
    for window_s in (30.0, 12.0):
        engine = FasterWhisper(
            chosen.model or str(cached_model()),
            device=chosen.device,
            compute_type=chosen.compute_type,
            window_s=window_s,
        )
        said = list(recordings().values()) if chosen.model else list(_tones())
        for row in measure(engine, said, (1, 2, 4, 8, 16)):
            print(f"| faster-whisper {chosen.model or 'tones'} | {window_s:g} {row}")
    sphinx = Sphinx(sentences(SttConfig()))
    for row in measure(sphinx, list(recordings().values()), (1,)):
        print(f"| {sphinx.name} | - {row}")


def measure(engine: SttEngine, sounds: Sequence[np.ndarray], sizes: Sequence[int]) -> Iterator[str]:
    engine.load()
    rows = [Utterance(sound, _RATE_HZ) for sound in sounds]
    for size in sizes:
        batches = [[rows[(start + n) % len(rows)] for n in range(size)] for start in range(_ROUNDS)]
        spent = []
        for batch in batches:
            started = time.perf_counter()
            engine.decode(batch)
            spent.append((time.perf_counter() - started) * 1_000)
        seconds = statistics.mean(row.seconds for batch in batches for row in batch)
        best = min(spent)
        yield f"| {size} | {best:.1f} | {best / size:.1f} | {seconds:.1f} |"


def _tones() -> Iterator[np.ndarray]:
    draw = np.random.default_rng(7)
    for _ in range(16):
        yield speak(list(draw.choice(list(TONES), draw.integers(2, 9))), _RATE_HZ)


if __name__ == "__main__":
    main()
