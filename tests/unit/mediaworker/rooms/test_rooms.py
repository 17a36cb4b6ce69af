"""Room numbers."""

import pytest

from mediaworker.core.rooms.rooms import RoomNumbers

pytestmark = pytest.mark.unit


def test_one_room_has_one_number_and_another_tenant_another() -> None:
    rooms = RoomNumbers()
    assert rooms.enter("t", "a") == rooms.enter("t", "a") == 0
    assert rooms.enter("u", "a") == 1
    assert rooms.find("t", "a") == 0
    assert rooms.find("t", "b") is None


def test_a_number_is_used_again_when_the_last_has_left() -> None:
    rooms = RoomNumbers()
    for name in "abc":
        rooms.enter("t", name)
    rooms.enter("t", "b")
    rooms.leave("t", "b")
    assert rooms.find("t", "b") == 1
    rooms.leave("t", "b")
    assert rooms.find("t", "b") is None
    assert rooms.enter("t", "d") == 1
    assert rooms.enter("t", "e") == 3
    assert len(rooms) == 4
