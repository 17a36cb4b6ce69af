"""Transitions as data: a table maps (state, event) to the next state and what to do.

An event a state does not list raises `Unlisted` and changes nothing: it is a fault of ours, never of a peer, because
everything a peer can do is listed, if only to be passed over.
"""

from collections.abc import Mapping
from typing import TypeVar

S = TypeVar("S")
E = TypeVar("E")
A = TypeVar("A")

Table = Mapping[S, Mapping[E, tuple[S, tuple[A, ...]]]]


class Unlisted(Exception):
    """An event in a state that does not know it."""


def step(table: Table[S, E, A], state: S, event: E) -> tuple[S, tuple[A, ...]]:
    """The next state and the actions of one event."""
    found = table.get(state, {}).get(event)
    if found is None:
        raise Unlisted(f"{event!r} in state {state!r}")
    return found
