"""Concealment against plain repetition on real speech, by two measures of each lost stretch and its ends.

Segmental SNR (mean over frames of the signal's power over the error's, each held between -10 and 35 dB, as usual) and log-spectral
distance. Plain repetition plays the last 20 ms again and again with the same fading, the best that needs no pitch.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from mediaworker.core.inbound import plc
from tests.support.recordings import recordings

pytestmark = pytest.mark.simulation

FRAME = 160
LOUD = 300.0
"""Root mean square from which on a frame counts: silence is concealed by anything."""

Pcm = npt.NDArray[np.int16]
Fill = Callable[[Pcm, int], Pcm]


def speech() -> Pcm:
    whole = [sound[: len(sound) // FRAME * FRAME] for sound in recordings().values()]
    return np.concatenate(whole)


def ours(history: Pcm, run: int) -> Pcm:
    return plc.conceal(history[None], np.array([run]))[0]


def repetition(history: Pcm, run: int) -> Pcm:
    return (history[-FRAME:] * plc.GAIN[run * FRAME : (run + 1) * FRAME]).astype(np.int16)


def carried(pcm: Pcm, lost: list[bool], fill: Fill, *, blend: bool) -> Pcm:
    """What is heard: lost frames filled, the rest as it is, faded in after a hole."""
    out = pcm.copy()
    run, before = 0, pcm[:480]
    for n in range(3, len(pcm) // FRAME):
        here = slice(n * FRAME, (n + 1) * FRAME)
        if run == 0:
            before = out[here.start - 480 : here.start]
        if lost[n]:
            out[here] = fill(before, run) if run < plc.FADE_FRAMES else 0
            run += 1
            continue
        if run and blend:
            made_up = fill(before, run) if run < plc.FADE_FRAMES else np.zeros(FRAME, np.int16)
            out[here] = plc.blend(made_up[None], pcm[here][None], np.array([run]))[0]
        run = 0
    return out


def measures(pcm: Pcm, heard: Pcm, lost: list[bool]) -> tuple[float, float]:
    """Segmental SNR in dB of the lost frames, and log-spectral distance in dB there and across both ends of the holes."""
    snr, distance = [], []
    for n in range(3, len(pcm) // FRAME - 1):
        if not lost[n] or np.sqrt(np.mean(pcm[n * FRAME : (n + 1) * FRAME].astype(float) ** 2)) < LOUD:
            continue
        wanted, got = (sound[n * FRAME : (n + 1) * FRAME].astype(float) for sound in (pcm, heard))
        noise = np.mean((wanted - got) ** 2) + 1e-9
        snr.append(np.clip(10 * np.log10(np.mean(wanted**2) / noise), -10, 35))
        starts = (n * FRAME - 80, n * FRAME, n * FRAME + 80)
        distance += [_distance(pcm[start : start + FRAME], heard[start : start + FRAME]) for start in starts]
    return float(np.mean(snr)), float(np.mean(distance))


def _distance(wanted: Pcm, got: Pcm) -> float:
    window = np.hanning(FRAME)
    bands = [10 * np.log10(np.abs(np.fft.rfft(values * window)) ** 2 + 1e3) for values in (wanted, got)]
    return float(np.sqrt(np.mean((bands[0] - bands[1]) ** 2)))


def losses(rng: np.random.Generator, frames: int, share: float, run: float) -> list[bool]:
    """A two-state chain: so many frames are lost, in runs of this mean length."""
    leave = 1 / run
    enter = share * leave / (1 - share)
    lost, state = [], False
    for _ in range(frames):
        state = rng.random() >= leave if state else rng.random() < enter
        lost.append(state)
    return lost


@pytest.mark.parametrize(("share", "run"), [(0.025, 1.1), (0.1, 1.1), (0.1, 2.5)])
def test_concealment_is_better_than_plain_repetition(share: float, run: float):
    pcm = speech()
    rng = np.random.default_rng(7)
    results = []
    for _ in range(8):
        lost = losses(rng, len(pcm) // FRAME, share, run)
        kinds = ((ours, True), (repetition, False))
        results.append([measures(pcm, carried(pcm, lost, fill, blend=blend), lost) for fill, blend in kinds])
    (snr, distance), (plain_snr, plain_distance) = np.mean(results, axis=0)
    print(
        f"\n{share:.1%} lost in runs of {run}: segmental SNR {snr:.2f} dB (repetition {plain_snr:.2f}), "
        f"log-spectral distance {distance:.2f} dB (repetition {plain_distance:.2f})"
    )
    assert snr > plain_snr + 1
    assert distance < plain_distance
