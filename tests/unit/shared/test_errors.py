"""Errors say who erred and what the outside is told."""

import pytest

from shared import errors

pytestmark = pytest.mark.unit


def test_every_error_is_in_the_documented_tree() -> None:
    classes = [
        item
        for item in vars(errors).values()
        if isinstance(item, type) and issubclass(item, errors.FarmError)
    ]
    assert len(classes) >= 9
    for cls in classes:
        assert cls.__name__ in (errors.__doc__ or "")
        assert cls.__doc__


def test_config_error_names_its_key() -> None:
    error = errors.ConfigError("sip.port", "must be a number")
    assert error.key == "sip.port"
    assert str(error) == "sip.port: must be a number"


def test_refused_carries_reason_and_retry_after() -> None:
    assert str(errors.Refused("full_media")) == "full_media"
    error = errors.Refused("full_media", "500 of 500", retry_after_s=7)
    assert (error.reason, error.retry_after_s, str(error)) == ("full_media", 7, "full_media: 500 of 500")
