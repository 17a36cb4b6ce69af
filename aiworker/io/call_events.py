"""Reads the event log of a call: all of it, then what is new. Entries it does not understand are passed over."""

from shared.bus.port import Bus
from shared.contracts import CallEvent, Transcript, decode
from shared.errors import ContractError

_PAGE = 256


class EventTail:
    """A cursor on one call's log; `seen` is everything read by `read_all`."""

    def __init__(self, bus: Bus, stream: str) -> None:
        self._reader = bus.reader(stream)
        self.seen: list[CallEvent] = []

    async def read_all(self) -> None:
        """Reads to the end. Raises BusError; what was read so far stays in `seen`."""
        while (found := await self._page()) is not None:
            self.seen += found

    async def new_transcripts(self) -> list[Transcript]:
        """Final transcripts that were logged since; does not wait for any."""
        return [_transcript(event) for event in await self._page() or [] if _is_final(event)]

    async def _page(self) -> list[CallEvent] | None:
        """The next events, None when there are no entries."""
        batch = await self._reader.read(count=_PAGE, block_ms=1)
        if not batch.entries:
            return None
        return [event for entry in batch.entries if (event := _event(entry.payload))]


def _event(payload: bytes) -> CallEvent | None:
    try:
        message = decode(payload)
    except ContractError:
        return None
    return message if isinstance(message, CallEvent) else None


def _is_final(event: CallEvent) -> bool:
    return event.kind == "transcript" and event.data.get("kind") == "final"


def _transcript(event: CallEvent) -> Transcript:
    return Transcript(
        call_id=event.call_id, epoch=0, turn=int(event.data.get("turn", -1)), kind="final",
        text=str(event.data.get("text", "")), confidence=float(event.data.get("confidence", 0.0)),
    )  # fmt: skip
