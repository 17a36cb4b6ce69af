"""Our payloads in FFmpeg's own coders and theirs in ours: G.722 both ways, Opus into a decoder that is not libopus."""

import msgspec
import numpy as np
import pytest

from mediaworker.core import codecs
from shared.contracts import OpusSettings
from tests.support.coded_caller import KINDS, coders
from tests.support.listening import level_db, loudest, purity_db, share_above, tones

pytestmark = pytest.mark.conformance

av = pytest.importorskip("av", reason="FFmpeg comes with the extra `whisper`")


def foreign_decode(name: str, packets: list[bytes], rate_hz: int) -> np.ndarray:
    context = av.CodecContext.create(name, "r")
    context.sample_rate = rate_hz
    context.layout = "mono"
    resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
    parts = [
        made.to_ndarray().ravel()
        for packet in packets
        for frame in context.decode(av.Packet(packet))
        for made in resampler.resample(frame)
    ]
    return np.concatenate(parts)


def foreign_encode(name: str, wave: np.ndarray, rate_hz: int, size: int) -> list[bytes]:
    context = av.CodecContext.create(name, "w")
    context.sample_rate, context.layout, context.format = rate_hz, "mono", "s16"
    packets = []
    for number, at in enumerate(range(0, len(wave) - size + 1, size)):
        frame = av.AudioFrame.from_ndarray(wave[None, at : at + size], format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate_hz, number * size
        packets += [bytes(packet) for packet in context.encode(frame)]
    return packets


def checked(heard: np.ndarray, wave: np.ndarray) -> None:
    """Two tones, one of them above 4 kHz."""
    heard = heard[6_000:14_000]
    assert loudest(heard, 16_000) == pytest.approx(1_000, abs=5)
    assert share_above(heard, 16_000, 4_000) == pytest.approx(share_above(wave, 16_000, 4_000), abs=0.15)
    assert level_db(heard) == pytest.approx(level_db(wave), abs=1.5)


def both() -> np.ndarray:
    return (0.7 * tones(16_000, 1, 1_000) + 0.4 * tones(16_000, 1, 6_000)).astype(np.int16)


def test_ffmpeg_hears_our_g722_and_we_hear_its():
    wave = both()
    encoder, decoder = coders(KINDS["G722"])
    ours = [encoder.encode(wave[at : at + 320]) for at in range(0, 16_000, 320)]
    checked(foreign_decode("g722", ours, 16_000), wave)
    theirs = foreign_encode("g722", wave, 16_000, 320)
    checked(np.concatenate([decoder.decode(packet) for packet in theirs]), wave)


@pytest.mark.parametrize("size", [160, 320, 480, 640, 960])
@pytest.mark.parametrize("settings", [OpusSettings(), OpusSettings(use_inband_fec=True)])
def test_a_decoder_that_is_not_libopus_hears_our_opus(size: int, settings: OpusSettings):
    wave = both()
    codec = codecs.find(KINDS["OPUS"])
    assert codec
    encoder = codec.encoder(msgspec.structs.replace(KINDS["OPUS"], opus=settings), 3)
    ours = [encoder.encode(wave[at : at + size]) for at in range(0, 16_000 - size + 1, size)]
    checked(foreign_decode("opus", ours, 48_000), wave)


def test_we_hear_an_opus_encoder_of_48_khz():
    wave = tones(48_000, 1, 1_000)
    decoder = coders(KINDS["OPUS"])[1]
    theirs = foreign_encode("libopus", wave, 48_000, 960)
    heard = np.concatenate([decoder.decode(packet) for packet in theirs])
    assert purity_db(heard[6_000:14_000], 16_000, 1_000) > 25
