"""Every key and stream name in Redis, and the bound of every stream. No other module builds one.

| key | type | owner | lifetime |
|---|---|---|---|
| `{p}:live:{role}` | zset worker id -> last beat (Redis ms) | workers | entry: lease |
| `{p}:worker:{id}` | hash, the worker's record | worker | lease |
| `{p}:load:{id}` | hash call_id -> reserved at (Redis ms) | fronts add, the worker's anchor removes | refreshed by the worker |
| `{p}:ports:{id}` | list of free RTP ports | the media worker refills, fronts take | refreshed by the worker |
| `{p}:room:{tenant}:{room}` | hash worker, and one field per call | reserve and release scripts | last call of the room |
| `{p}:call:{id}` | hash, the call record | front writes, media worker refreshes | call lease |
| `{p}:call:{id}:events` | stream | all | call, plus `ops.events_linger_s` |
| `{p}:ctl:{id}` | stream, inbox of one worker | everybody -> the worker | refreshed by the worker |
| `{p}:pcm:{id}` | stream, audio for one worker | media or TTS -> the worker | refreshed by the worker |
"""

LEASE_MS = 2_000
"""A worker that did not beat for this long is dead: it leaves placement, its calls are attached elsewhere."""

BEAT_MS = 500

CALL_LEASE_MS = 30_000
"""A call record that its media worker did not refresh for this long belongs to nobody and goes."""

REFRESH_MS = 5_000
"""How often a media worker refreshes its calls' records and a worker its own streams."""

INBOX_TTL_MS = 60_000
"""Streams of a worker that does not keep them, and whatever else is written for the dead, go after this."""

EVENTS_TTL_MS = 30_000
"""An event log begun, or written to after its end, by whoever: the media worker of a live call keeps it longer."""

CTL_MAXLEN = 10_000
"""Control entries are lost only when a live reader is this far behind."""

PCM_MAXLEN = 250
"""Five seconds at one entry per tick (FACTS section 6)."""

EVENTS_MAXLEN = 5_000


class Keys:
    """Names under one prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def live(self, role: str) -> str:
        return f"{self.prefix}:live:{role}"

    def worker(self, worker_id: str) -> str:
        return f"{self.prefix}:worker:{worker_id}"

    def load(self, worker_id: str) -> str:
        return f"{self.prefix}:load:{worker_id}"

    def ports(self, worker_id: str) -> str:
        return f"{self.prefix}:ports:{worker_id}"

    def room(self, tenant: str, room_id: str) -> str:
        return f"{self.prefix}:room:{tenant}:{room_id}"

    def call(self, call_id: str) -> str:
        return f"{self.prefix}:call:{call_id}"

    def events(self, call_id: str) -> str:
        return f"{self.prefix}:call:{call_id}:events"

    def ctl(self, worker_id: str) -> str:
        return f"{self.prefix}:ctl:{worker_id}"

    def pcm(self, worker_id: str) -> str:
        return f"{self.prefix}:pcm:{worker_id}"
