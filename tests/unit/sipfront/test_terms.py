"""Terms without a configuration: as cautious as they can be."""

import pytest

from shared.config import Config
from sipfront.app import terms_of
from sipfront.core.terms import Terms

pytestmark = pytest.mark.unit


def test_terms_of_the_default_configuration():
    terms, config = terms_of(Config()), Config()
    assert (terms.codecs, terms.srtp, terms.suites) == (
        config.media.codecs,
        config.sip.srtp,
        config.sip.srtp_suites,
    )
    assert not terms.our_order
    assert terms.suites == Terms().suites
    assert terms.egress.why_refused("169.254.169.254", 4_000)
    assert terms.egress.why_refused(config.media.advertised_host, 20_000)


def test_without_a_configuration_only_what_needs_no_library_and_no_key_is_taken():
    assert Terms().codecs == ("PCMU", "PCMA")
    assert Terms().srtp == "off"
