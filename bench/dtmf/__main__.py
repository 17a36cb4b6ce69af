"""In-band digits: `python -m bench.dtmf [--minutes N] [DIRECTORY...]`.

Prints how many digits are found in hours of speech (wanted: none), how many of the digits that ITU-T Q.24 describes are
missed (none), and what listening costs a leg. Speech is every sound file below the directories; without one it is made with
espeak-ng, in many voices, speeds and pitches. Debian's packages asterisk-core-sounds-{en,es,fr,it,ru}-wav, unpacked
somewhere with `dpkg -x`, are 2.2 hours of people.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from bench.dtmf import voices
from mediaworker.core.dtmf.detector import ToneDetector
from mediaworker.core.dtmf.tones import PAIRS, amplitude
from mediaworker.core.g711 import MU_LAW

Pcm = npt.NDArray[np.int16]
FRAME = 160
LEGS = 64
RATE_HZ = 8_000
SUFFIXES = {".wav", ".flac", ".ogg", ".mp3"}


def main() -> None:
    options = argparse.ArgumentParser(prog="bench.dtmf", description=(__doc__ or "").splitlines()[0])
    options.add_argument("directories", nargs="*", type=Path)
    options.add_argument("--minutes", type=float, default=60.0, help="of made speech")
    given = options.parse_args()
    talk_off(given.directories, given.minutes)
    recognition()
    cost()


# --- speech


def talk_off(directories: list[Path], minutes: float) -> None:
    started = time.process_time()
    pieces = files(directories) if directories else voices.speech(minutes)
    sources = "files" if directories else "espeak-ng"
    seconds, found = listen(pieces)
    hours = seconds / 3_600
    print(
        f"speech ({sources}): {hours:.2f} hours, {len(found)} digits found in it, {len(found) / hours:.2f} per hour"
    )
    for name, at_s, press in found:
        print(f"  {press.digit} for {press.duration_ms} ms at {at_s:.2f} s of {name}")
    print(f"  ({time.process_time() - started:.1f} s of CPU, reading or making the speech included)")


def files(directories: list[Path]) -> Iterator[tuple[str, Pcm]]:
    for directory in directories:
        for path in sorted(directory.rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                samples, rate_hz = soundfile.read(path, dtype="int16", always_2d=True)
                if len(samples):
                    yield str(path), soxr.resample(samples[:, 0], rate_hz, RATE_HZ)


def listen(pieces: Iterator[tuple[str, Pcm]]) -> tuple[float, list[tuple[str, float, object]]]:
    """Plays the pieces one after the other on LEGS lines, coded with mu-law; seconds played and digits found."""
    detector, rows = ToneDetector(LEGS), np.arange(LEGS)
    lines: list[tuple[str, Pcm, int]] = [("", np.zeros(0, np.int16), 0)] * LEGS
    frame = np.zeros((LEGS, FRAME), np.int16)
    samples, found, silent = 0, [], 0
    while silent < LEGS:
        silent = 0
        for row in range(LEGS):
            name, pcm, at = lines[row]
            if at >= len(pcm):
                name, pcm = next(pieces, ("", np.zeros(0, np.int16)))
                at = 0
                samples += len(pcm)
            part = pcm[at : at + FRAME]
            frame[row, : len(part)] = part
            frame[row, len(part) :] = 0
            lines[row] = (name, pcm, at + FRAME)
            silent += not len(pcm)
        line = MU_LAW.decoder[MU_LAW.encoder[frame.view(np.uint16)]]
        for press in detector.step(rows, line):
            name, _, at = lines[press.row]
            found.append((name, at / RATE_HZ, press))
    return samples / RATE_HZ, found


# --- digits


def recognition(each: int = 40) -> None:
    """40 ms tones at -25 dBm0 per frequency, anywhere in a frame, at any phase."""
    print("digits of 40 ms, mu-law; found of sent:")
    for low, high in ((-25, -25), (-25, -21), (-17, -25)):
        for off in (-0.015, 0.0, 0.015):
            sent, right = dial(low, high, off, each)
            print(f"  {low:+d}/{high:+d} dBm0, {100 * off:+.1f} %: {right} of {sent}")
    for off in (-0.035, 0.035):
        sent, right = dial(-10, -10, off, each)
        print(f"  {100 * off:+.1f} % (to be refused): {right} of {sent}")


def dial(low: float, high: float, off: float, each: int) -> tuple[int, int]:
    random = np.random.default_rng(1)
    digits = list(PAIRS) * each
    pcm = np.zeros((len(digits), 10 * FRAME))
    time_s = np.arange(320) / RATE_HZ
    for row, digit in enumerate(digits):
        start = random.integers(320, 480)
        for hz, level in zip(PAIRS[digit], (low, high), strict=True):
            phase = random.uniform(0, 2 * np.pi)
            wave = np.sin(2 * np.pi * hz * (1 + off) * time_s + phase)
            pcm[row, start : start + 320] += amplitude(level) * wave
    line = MU_LAW.decoder[MU_LAW.encoder[np.rint(pcm).astype(np.int16).view(np.uint16)]]
    detector, rows = ToneDetector(len(digits)), np.arange(len(digits))
    heard = [""] * len(digits)
    for start in range(0, pcm.shape[1], FRAME):
        for press in detector.step(rows, line[:, start : start + FRAME]):
            heard[press.row] += press.digit
    return len(digits), sum(a == b for a, b in zip(heard, digits, strict=True))


# --- cost


def cost() -> None:
    print("CPU of listening to legs that speak 40 % of the time:")
    pieces = list(voices.demo())
    whole = np.concatenate([pcm for _, pcm in pieces])
    for legs in (50, 250, 1_000):
        used = step_s(whole, legs)
        print(
            f"  {legs} legs: {1e6 * used / legs:.2f} us per leg and 20 ms, {100 * used / 0.02:.2f} % of a core"
        )


def step_s(speech: Pcm, legs: int, ticks: int = 250) -> float:
    """CPU seconds of one tick."""
    random = np.random.default_rng(1)
    detector, rows = ToneDetector(legs), np.arange(legs)
    starts = random.integers(0, len(speech) - ticks * FRAME, legs)
    speaks = random.random(legs) < 0.4
    frames = []
    for tick in range(ticks):
        at = starts[:, None] + tick * FRAME + np.arange(FRAME)
        frames.append(speech[at] * speaks[:, None])
    used = time.process_time()
    for frame in frames:
        detector.step(rows, frame)
    return (time.process_time() - used) / ticks


if __name__ == "__main__":
    main()
