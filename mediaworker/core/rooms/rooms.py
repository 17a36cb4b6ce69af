"""Numbers for the rooms that live on this worker: the engine knows rooms by number only."""


class RoomNumbers:
    """A room has a number while somebody is in it; freed numbers are used again, the lowest first."""

    def __init__(self) -> None:
        self._rooms: dict[tuple[str, str], list[int]] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._rooms)

    def find(self, tenant: str, room_id: str) -> int | None:
        """The number of a room that lives here."""
        room = self._rooms.get((tenant, room_id))
        return room[0] if room else None

    def enter(self, tenant: str, room_id: str) -> int:
        """One more in the room; its number."""
        room = self._rooms.get((tenant, room_id))
        if room is None:
            number = min(self._free) if self._free else len(self._rooms)
            if self._free:
                self._free.remove(number)
            room = self._rooms[tenant, room_id] = [number, 0]
        room[1] += 1
        return room[0]

    def leave(self, tenant: str, room_id: str) -> None:
        """One less; an empty room is forgotten."""
        room = self._rooms[tenant, room_id]
        room[1] -= 1
        if room[1] == 0:
            del self._rooms[tenant, room_id]
            self._free.append(room[0])
