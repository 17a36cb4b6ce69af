"""The concealment of `mediaworker.core.inbound.plc`, one sample at a time, written from its docstring."""

import math


def _likeness(past: list[int], lag: int, step: int) -> float:
    """Normalised correlation of the last 160 samples with those `lag` before, every `step`-th of them."""
    last = past[320:480:step]
    before = past[320 - lag : 480 - lag : step]
    product = sum(float(a) * b for a, b in zip(last, before, strict=True))
    return product / math.sqrt(sum(float(b) * b for b in before) + 1.0)


def pitch(past: list[int]) -> int:
    rough = max(range(40, 121, 2), key=lambda lag: _likeness(past, lag, 2))
    near = [min(120, max(40, lag)) for lag in (rough - 1, rough, rough + 1)]
    return max(near, key=lambda lag: _likeness(past, lag, 1))


def _repeated(past: list[int], lag: int, periods: int, step: int) -> float:
    length, quarter = lag * periods, lag // 4
    phase = step % length
    share = min(1.0, max(0.0, (phase - (length - quarter) + 1) / (quarter + 1)))
    sound, before = past[480 - length + phase], past[max(480 - 2 * length + phase, 0)]
    return sound + (before - sound) * share


def conceal(past: list[int], run: int) -> list[int]:
    """160 samples that continue `past` (480 samples), `run` frames into a hole."""
    if run >= 3:
        return [0] * 160
    lag = pitch(past)
    jump = past[479] - past[479 - lag]
    out = []
    for step in range(160 * run, 160 * run + 160):
        two = min(1.0, max(0.0, (step - 80 + 1) / 32))
        three = min(1.0, max(0.0, (step - 160 + 1) / 32))
        sound = (
            (1 - two) * _repeated(past, lag, 1, step) + (two - three) * _repeated(past, lag, 2, step)
            + three * _repeated(past, lag, 3, step)
        )  # fmt: skip
        sound += jump * min(1.0, max(0.0, 1.0 - (step + 1) / (lag // 4 + 1)))
        gain = min(1.0, max(0.0, 1.0 - 0.2 * (step - 80 + 1) / 80))
        out.append(round(min(32_767.0, max(-32_768.0, sound * gain))))
    return out
