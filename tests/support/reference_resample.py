"""Slow resampling of one stream, one sample at a time, from the definition: the convolution with a filter's impulse response."""

import math


def half_band_taps(side: int, beta: float) -> list[float]:
    """2 * `side` - 1 taps of a half-band low-pass: a sinc through a Kaiser window, the centre 1/2."""
    taps = []
    for distance in range(1 - side, side):
        if distance == 0:
            taps.append(0.5)
            continue
        sinc = math.sin(math.pi * distance / 2) / (math.pi * distance) if distance % 2 else 0.0
        taps.append(sinc * _bessel(beta * math.sqrt(1 - (distance / side) ** 2)) / _bessel(beta))
    sides = sum(taps) - 0.5
    return [
        tap / (2 * sides) if distance % 2 else tap
        for distance, tap in zip(range(1 - side, side), taps, strict=True)
    ]


def filtered(wave: list[float], taps: list[float]) -> list[float]:
    """Causal: sample n hears samples n - len(taps) + 1 to n."""
    return [
        sum(tap * wave[n - back] for back, tap in enumerate(taps) if n - back >= 0) for n in range(len(wave))
    ]


def _bessel(x: float) -> float:
    """I0 by its power series."""
    total, term, step = 1.0, 1.0, 1
    while term > total * 1e-12:
        term *= (x / (2 * step)) ** 2
        total += term
        step += 1
    return total
