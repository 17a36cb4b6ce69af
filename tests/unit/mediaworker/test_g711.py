"""The tables against the standard's segments."""

import numpy as np
import pytest

from mediaworker.core.g711 import A_LAW, MU_LAW, Law
from tests.support import reference

pytestmark = pytest.mark.unit

LAWS = [
    pytest.param(MU_LAW, reference.mu_law_decode, reference.mu_law_encode, id="mu"),
    pytest.param(A_LAW, reference.a_law_decode, reference.a_law_encode, id="a"),
]


@pytest.mark.parametrize(("law", "decode", "encode"), LAWS)
def test_every_octet_and_every_sample_agrees_with_the_standard(law: Law, decode, encode):
    assert law.decoder.tolist() == [decode(code) for code in range(256)]
    samples = np.arange(65_536, dtype=np.uint16).view(np.int16).tolist()
    assert law.encoder.tolist() == [encode(sample) for sample in samples]


@pytest.mark.parametrize("law", [MU_LAW, A_LAW], ids=["mu", "a"])
def test_decoding_a_block_is_decoding_each_octet(law: Law):
    payload = np.random.default_rng(3).integers(0, 256, (5, 160), np.uint8)
    out = np.empty((5, 160), np.int16)
    law.decode(payload, out)
    assert np.array_equal(out, law.decoder[payload])


@pytest.mark.parametrize("law", [MU_LAW, A_LAW], ids=["mu", "a"])
def test_octets_survive_decoding_and_encoding(law: Law):
    out = np.empty((1, 256), np.uint8)
    law.encode(law.decoder[np.arange(256, dtype=np.uint8)].reshape(1, 256), out)
    again = law.decoder[out[0]]
    assert np.array_equal(again, law.decoder)  # mu-law has two octets for 0


def test_silence_is_the_octet_the_standards_name():
    assert (MU_LAW.silence, A_LAW.silence) == (0xFF, 0xD5)
