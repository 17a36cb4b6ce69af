"""The codecs beyond G.711, one module each, behind one port.

What is installed is found once, when this is imported: a codec whose library is missing is not `available` and a format
that names it is refused. Must not know legs or packets.
"""

from collections.abc import Iterable
from typing import Final

from mediaworker.core.codecs import g722, l16, opus
from mediaworker.core.codecs.port import BadPayload, Codec, Decoder, Encoder
from shared.contracts import CodecName, MediaFormat
from shared.errors import ConfigError, Refused
from shared.units import FRAME_SAMPLES, NARROWBAND_HZ

__all__ = [
    "COMPLEXITY",
    "G711",
    "PTIMES_MS",
    "BadPayload",
    "Codec",
    "Decoder",
    "Encoder",
    "available",
    "clock_of",
    "find",
    "require",
]

COMPLEXITY: Final = 3
"""Of 0 to 10, as libopus has it; what each costs and gives stands in docs/codecs.md."""
G711: Final = ("PCMU", "PCMA")
PTIMES_MS: Final = (10, 20, 30, 40, 60)

_RATED: Final[dict[tuple[str, int], Codec | None]] = {
    ("G722", NARROWBAND_HZ): g722.CODEC,
    ("OPUS", opus.CLOCK_HZ): opus.CODEC,
    **{("L16", rate_hz): codec for rate_hz, codec in l16.CODECS.items()},
}


def available() -> tuple[CodecName, ...]:
    """Names that a format may have here, G.711 included."""
    names: list[CodecName] = ["PCMU", "PCMA"]
    if g722.CODEC:
        names.append("G722")
    if opus.CODEC:
        names.append("OPUS")
    return (*names, "L16")


def require(names: Iterable[str]) -> None:
    """Raises ConfigError where the operator names a codec that cannot be done here."""
    missing = [name for name in names if name not in available()]
    if missing:
        raise ConfigError(
            "media.codecs",
            f"no library for {', '.join(missing)} here: take the name out, or install it (docs/codecs.md)",
        )


def find(wanted: MediaFormat) -> Codec | None:
    """The codec of a format, None for G.711; raises Refused "codec" for what this worker cannot do."""
    if wanted.ptime_ms not in PTIMES_MS:
        raise Refused("codec", f"packets of {wanted.ptime_ms} ms")
    if wanted.codec in G711:
        if wanted.clock_rate_hz != NARROWBAND_HZ:
            raise Refused("codec", f"{wanted.codec}/{wanted.clock_rate_hz}")
        return None
    codec = _RATED.get((wanted.codec, wanted.clock_rate_hz))
    if codec is None:
        raise Refused("codec", f"{wanted.codec}/{wanted.clock_rate_hz}")
    return codec


def clock_of(codec: Codec | None) -> int:
    """Units of the RTP clock in 20 ms."""
    return codec.clock if codec else FRAME_SAMPLES
