"""The demo's human recordings and what is said in them."""

from pathlib import Path

import numpy as np
import soundfile
import yaml
from numpy.typing import NDArray

_DEMO = Path(__file__).resolve().parents[2] / "voicefarm" / "demo"


def recordings() -> dict[str, NDArray[np.int16]]:
    """Sentence -> its sound at 8 kHz."""
    script = yaml.safe_load((_DEMO / "caller.yaml").read_text())
    return {entry["text"]: _sound(entry["file"]) for entry in script["recordings"].values()}


def _sound(name: str) -> NDArray[np.int16]:
    samples, rate_hz = soundfile.read(_DEMO / name, dtype="int16")
    assert rate_hz == 8_000
    return np.asarray(samples, np.int16)
