"""From what a message asks to have played to a source of samples. Whatever makes no sense is refused here, in words.

Must not read files: it only says which file is meant, and never one outside the directory of media files.
"""

from pathlib import PurePosixPath
from typing import Final

import numpy as np

from mediaworker.core.legs import Samples
from mediaworker.core.playing.media_source import NOTHING, Pcm, Retuned, Silence, Source, Tone
from shared.contracts import MediaSource, ToneStep
from shared.errors import Refused
from shared.units import BYTES_PER_SAMPLE, NARROWBAND_HZ, WIDEBAND_HZ

PCM_MAX_S: Final = 20
LONGEST_MS: Final = 24 * 3_600_000
STEPS_MAX: Final = 64
SHORTEST_STEP_MS: Final = 10
FREQUENCIES_MAX: Final = 8
LOOPS_MAX: Final = 1_000_000


def file_path(asked: MediaSource, loops: int = 1) -> str:
    """The path of a file below the directory of media files, "" where no file is meant. Raises Refused."""
    if asked.kind != "file":
        return ""
    _check_loops(loops)
    path = PurePosixPath(asked.path)
    if not asked.path or path.is_absolute() or ".." in path.parts or "\0" in asked.path or "\\" in asked.path:
        raise Refused("bad_request", f"no file {asked.path!r}")
    return str(path)


def source_of(asked: MediaSource, loops: int, rate_hz: int) -> Source:
    """What is not in a file. Raises Refused("bad_request")."""
    _check_loops(loops)
    if asked.kind == "silence":
        _check(1 <= asked.ms <= LONGEST_MS, f"silence of {asked.ms} ms")
        return Silence(asked.ms * rate_hz // 1_000 * loops) if loops else Pcm(np.zeros(rate_hz, np.int16), 0)
    if asked.kind == "tone":
        _check_steps(asked.steps, rate_hz)
        return Tone(asked.steps, loops, rate_hz)
    return _pcm(asked, loops, rate_hz)


def _check_loops(loops: int) -> None:
    _check(0 <= loops <= LOOPS_MAX, f"loops {loops}")


def _pcm(asked: MediaSource, loops: int, rate_hz: int) -> Source:
    _check(asked.rate_hz in {NARROWBAND_HZ, WIDEBAND_HZ}, f"PCM at {asked.rate_hz} Hz")
    _check(len(asked.pcm) % BYTES_PER_SAMPLE == 0, "half a sample of PCM")
    _check(0 < len(asked.pcm) <= PCM_MAX_S * asked.rate_hz * BYTES_PER_SAMPLE, "no PCM, or too much")
    pcm: Samples = np.frombuffer(asked.pcm, "<i2").astype(np.int16, copy=False)
    source = Pcm(pcm, loops)
    return source if asked.rate_hz == rate_hz else Retuned(NOTHING, source, up=rate_hz > asked.rate_hz)


def _check_steps(steps: list[ToneStep], rate_hz: int) -> None:
    _check(0 < len(steps) <= STEPS_MAX, f"a cadence of {len(steps)} steps")
    for step in steps:
        _check(SHORTEST_STEP_MS <= step.ms <= LONGEST_MS, f"a tone of {step.ms} ms")
        _check(len(step.frequencies_hz) <= FREQUENCIES_MAX, "too many frequencies at once")
        _check(all(0 < hz < rate_hz / 2 for hz in step.frequencies_hz), f"frequencies {step.frequencies_hz}")
        _check(-80 <= step.level_dbm0 <= 3.14, f"a level of {step.level_dbm0} dBm0")


def _check(fine: bool, problem: str) -> None:  # noqa: FBT001  a check reads as one
    if not fine:
        raise Refused("bad_request", problem)
