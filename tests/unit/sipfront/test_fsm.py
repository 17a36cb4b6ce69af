"""One step of a table: the listed gives state and actions, everything else is refused and nothing happened."""

from enum import StrEnum

import pytest

from sipfront.core.fsm import Table, Unlisted, step

pytestmark = pytest.mark.unit


class Lamp(StrEnum):
    OFF = "off"
    ON = "on"


class Press(StrEnum):
    LIGHT = "light"
    DARK = "dark"


LAMP: Table[Lamp, Press, str] = {
    Lamp.OFF: {Press.LIGHT: (Lamp.ON, ("glow", "hum"))},
    Lamp.ON: {Press.DARK: (Lamp.OFF, ()), Press.LIGHT: (Lamp.ON, ())},
}


@pytest.mark.parametrize(
    ("state", "event", "after", "acts"),
    [
        (Lamp.OFF, Press.LIGHT, Lamp.ON, ("glow", "hum")),
        (Lamp.ON, Press.DARK, Lamp.OFF, ()),
        (Lamp.ON, Press.LIGHT, Lamp.ON, ()),
    ],
)
def test_listed_event_gives_the_next_state_and_actions_in_order(state, event, after, acts):
    assert step(LAMP, state, event) == (after, acts)


@pytest.mark.parametrize(("state", "event"), [(Lamp.OFF, Press.DARK), ("broken", Press.LIGHT)])
def test_unlisted_event_names_both_and_changes_nothing(state, event):
    before = {key: dict(row) for key, row in LAMP.items()}
    with pytest.raises(Unlisted, match=f"{event!r}.*{state}"):
        step(LAMP, state, event)
    assert before == LAMP
