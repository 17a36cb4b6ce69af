"""a=crypto lines (RFC 4568): what is taken, what is passed over, and that no key gets into words."""

import base64

import pytest

from sipfront.core.crypto import KEY_BYTES, CryptoLine, NoKeys, choose, read_line
from sipfront.core.terms import SUITES

pytestmark = pytest.mark.unit

KEY = bytes(range(100, 130))
B64 = base64.b64encode(KEY).decode()
GCM_B64 = base64.b64encode(KEY[:28]).decode()


@pytest.mark.parametrize(
    ("text", "tag", "suite", "key"),
    [
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{B64}", 1, "AES_CM_128_HMAC_SHA1_80", KEY),
        (f"999999999 AES_CM_128_HMAC_SHA1_32 inline:{B64}", 999_999_999, "AES_CM_128_HMAC_SHA1_32", KEY),
        (f"2  AES_CM_128_HMAC_SHA1_80\tinline:{B64} ", 2, "AES_CM_128_HMAC_SHA1_80", KEY),
        (f"1 aes_cm_128_hmac_sha1_80 INLINE:{B64}", 1, "AES_CM_128_HMAC_SHA1_80", KEY),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{B64}|2^20", 1, "AES_CM_128_HMAC_SHA1_80", KEY),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{B64}|2^48", 1, "AES_CM_128_HMAC_SHA1_80", KEY),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{B64}|1048576", 1, "AES_CM_128_HMAC_SHA1_80", KEY),
        (f"5 AEAD_AES_128_GCM inline:{GCM_B64}", 5, "AEAD_AES_128_GCM", KEY[:28]),
        (f"5 AEAD_AES_128_GCM inline:{GCM_B64.rstrip('=')}", 5, "AEAD_AES_128_GCM", KEY[:28]),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{B64} WSH=128", 1, "AES_CM_128_HMAC_SHA1_80", KEY),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{B64} KDR=0 -vendor=1", 1, "AES_CM_128_HMAC_SHA1_80", KEY),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{B64} FEC_ORDER=FEC_SRTP", 1, "AES_CM_128_HMAC_SHA1_80", KEY),
    ],
)
def test_line_is_read(text, tag, suite, key):
    line = read_line(text)
    assert (line.tag, line.suite, line.key) == (tag, suite, key)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "malformed a=crypto"),
        ("1 AES_CM_128_HMAC_SHA1_80", "malformed a=crypto"),
        (f"x AES_CM_128_HMAC_SHA1_80 inline:{B64}", "malformed a=crypto"),
        (f"1234567890 AES_CM_128_HMAC_SHA1_80 inline:{B64}", "malformed a=crypto"),
        (f"1 F8_128_HMAC_SHA1_80 inline:{B64}", "F8_128_HMAC_SHA1_80 is not taken"),
        (f"1 AES_256_CM_HMAC_SHA1_80 inline:{B64}", "AES_256_CM_HMAC_SHA1_80 is not taken"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{B64}|2^20|1:4", "master key identifier"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{B64}|1:4", "master key identifier"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{B64};inline:{B64}", "several keys"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{B64}|x", "malformed lifetime"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{B64}|1066:", "master key identifier"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{B64}|2^20|2^20", "malformed lifetime"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{GCM_B64}", "a key of 28 octets, 30 are needed"),
        (f"1 AEAD_AES_128_GCM inline:{B64}", "a key of 30 octets, 28 are needed"),
        ("1 AES_CM_128_HMAC_SHA1_80 inline:", "a key of 0 octets"),
        ("1 AES_CM_128_HMAC_SHA1_80 inline:%%%%", "malformed key"),
        ("1 AES_CM_128_HMAC_SHA1_80 inline:A", "malformed key"),
        (f"1 AES_CM_128_HMAC_SHA1_80 uri:{B64}", "keys are taken inline"),
        ("1 AES_CM_128_HMAC_SHA1_80 inline", "keys are taken inline"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{B64} KDR=24", "session parameter KDR is not taken"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{B64} UNENCRYPTED_SRTP", "parameter UNENCRYPTED_SRTP"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{B64} UNENCRYPTED_SRTCP", "parameter UNENCRYPTED_SRTCP"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{B64} UNAUTHENTICATED_SRTP", "parameter UNAUTHENTICATED_SRTP"),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{B64} WSH=64 SOMETHING=1", "parameter SOMETHING"),
    ],
)
def test_line_that_cannot_be_used_says_why_without_its_key(text, why):
    with pytest.raises(NoKeys, match=why) as caught:
        read_line(text)
    assert B64[:8] not in str(caught.value)


def test_offerer_order_counts_among_ours():
    lines = [
        f"1 AES_256_CM_HMAC_SHA1_80 inline:{B64}", f"2 AES_CM_128_HMAC_SHA1_32 inline:{B64}",
        f"3 AEAD_AES_128_GCM inline:{GCM_B64}",
    ]  # fmt: skip
    assert choose(lines, SUITES).tag == 2
    assert choose(lines, ["AEAD_AES_128_GCM"]).tag == 3
    with pytest.raises(NoKeys, match="AES_256_CM_HMAC_SHA1_80 is not taken"):
        choose(lines, ["AES_CM_128_HMAC_SHA1_80"])
    with pytest.raises(NoKeys, match="AES_CM_128_HMAC_SHA1_32 is not taken"):
        choose(lines[1:2], ["AEAD_AES_128_GCM"])
    with pytest.raises(NoKeys, match="no a=crypto"):
        choose([], SUITES)


def test_only_so_many_lines_are_looked_at():
    lines = ["rubbish"] * 16 + [f"2 AES_CM_128_HMAC_SHA1_32 inline:{B64}"]
    with pytest.raises(NoKeys):
        choose(lines, SUITES)
    assert choose(lines[1:], SUITES).tag == 2


@pytest.mark.parametrize("suite", SUITES)
def test_written_line_is_read_as_itself(suite):
    line = CryptoLine(12, suite, KEY[: KEY_BYTES[suite]])
    assert read_line(line.text()) == line
    assert repr(line) == f"CryptoLine(tag=12, suite='{suite}')"
