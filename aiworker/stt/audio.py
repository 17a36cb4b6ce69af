"""Conversion of telephone audio to what a model wants. It keeps no state between utterances."""

import numpy as np
import soxr
from numpy.typing import NDArray

from aiworker.stt.port import Samples, Utterance

_FULL_SCALE = 32_768.0


def at_rate(utterance: Utterance, rate_hz: int) -> Samples:
    """The samples of an utterance at `rate_hz`."""
    if utterance.rate_hz == rate_hz or not len(utterance.samples):
        return utterance.samples
    converted: Samples = soxr.resample(utterance.samples, utterance.rate_hz, rate_hz)
    return converted


def as_float(samples: Samples) -> NDArray[np.float32]:
    """Samples between -1 and 1."""
    return samples.astype(np.float32) / np.float32(_FULL_SCALE)
