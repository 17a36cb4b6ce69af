"""What the undertaker believes to be left behind."""

import pytest

from tests.support.undertaker import orphans

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        ([], set()),
        (["+4\n"], {4}),
        (["+4\n", "-4\n"], set()),
        (["+4\n", "+5\n", "-4\n"], {5}),
        (["+4\n", "-4\n", "+4\n"], {4}),  # a pid that came again
        (["-7\n", "+8\n"], {8}),
    ],
)
def test_groups_begun_and_not_ended_are_left(lines: list[str], left: set[int]) -> None:
    assert orphans(lines) == left
