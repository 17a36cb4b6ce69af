"""The registry in Redis: who lives, who holds what, and the scripts that change it atomically.

Counts are sizes of sets of call ids, never counters, so every change is idempotent and a release can be repeated.
A worker is the truth about its own calls: when Redis forgot, the worker writes it again (DESIGN section 8).
"""

import asyncio
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

import msgspec

from shared.bus.redis_bus import Client, run
from shared.errors import Refused
from shared.keys import CALL_LEASE_MS, INBOX_TTL_MS, LEASE_MS, Keys
from shared.registry.records import CallRecord, Held, Placement, Role, WorkerRecord

_SCRIPTS = ("worker", "reserve", "release", "answered", "assign", "audit", "refresh", "restore")

_AT_ONCE = 32
"""Scripts at the same time. Each takes a connection, and a burst (a worker that dies with all its calls) would take more
than the client has: then calls fail although Redis is well, the beat among them."""


class Registry:
    """One process's view of the registry. Every method raises BusError when Redis cannot be reached."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._turns = asyncio.Semaphore(_AT_ONCE)
        folder = files("shared.registry")
        self._script = {
            name: client.register_script((folder / f"{name}.lua").read_text()) for name in _SCRIPTS
        }

    async def beat(self, record: WorkerRecord) -> tuple[bool, int]:
        """Renews a worker's lease; (True when the registry did not know it, calls reserved on it)."""
        fresh, used = await self._run(  # waits for nobody's turn: a late beat is a lost lease
            "worker", record.role, record.worker_id, record.state, record.capacity,
            msgspec.json.encode(record), INBOX_TTL_MS,
        )  # fmt: skip
        return bool(fresh), int(used)

    async def leave(self, record: WorkerRecord) -> None:
        """Removes a worker and everything that is only its own."""
        k, w = self._keys, record.worker_id
        pipe = self._client.pipeline(transaction=True)
        pipe.zrem(k.live(record.role), w)
        pipe.unlink(k.worker(w), k.load(w), k.ports(w), k.ctl(w), k.pcm(w))
        await run(pipe.execute())

    async def live(self, role: Role) -> dict[str, WorkerRecord]:
        """The workers of a role whose lease holds, with the load they carry known by `loads`."""
        seconds, micros = await run(self._client.time())
        oldest = seconds * 1_000 + micros // 1_000 - LEASE_MS
        ids = await run(self._client.zrangebyscore(self._keys.live(role), oldest, "+inf"))
        if not ids:
            return {}
        pipe = self._client.pipeline(transaction=False)
        for worker_id in ids:
            pipe.hget(self._keys.worker(worker_id.decode()), "record")
        found = [_worker(raw) for raw in await run(pipe.execute()) if raw]
        return {record.worker_id: record for record in found if record}

    async def loads(self, worker_ids: Iterable[str]) -> dict[str, int]:
        """Calls reserved on each worker."""
        ids = list(worker_ids)
        pipe = self._client.pipeline(transaction=False)
        for worker_id in ids:
            pipe.hlen(self._keys.load(worker_id))
        return dict(zip(ids, await run(pipe.execute()), strict=True)) if ids else {}

    async def reserve(self, call: CallRecord, needs: Sequence[Role]) -> Placement:
        """Reserves room owner, media slot, port pair and one worker of each needed role.

        Raises Refused with reason no_media, full_media, full_room, no_stt, full_stt ... when there is none.
        """
        reply = await self._call(
            "reserve", LEASE_MS, CALL_LEASE_MS, call.call_id, call.tenant, call.room_id, ",".join(needs),
            *_fields(call, skip=("worker", "port", "stt", "llm", "tts")),
        )  # fmt: skip
        verdict, *rest = [part.decode() for part in reply]
        if verdict != "ok":
            raise Refused(rest[0])
        worker, port, stt, llm, tts = rest
        return Placement(worker=worker, port=int(port), stt=stt, llm=llm, tts=tts)

    async def release(self, call_id: str, *, linger_ms: int) -> bool:
        """Gives back what a call holds except its port, which its worker frees after quarantine."""
        return bool(await self._call("release", call_id, linger_ms))

    async def assign(self, call_id: str, role: Role, leaving: str) -> str:
        """Another worker of `role` for a call, or "" when none is free."""
        return str((await self._call("assign", LEASE_MS, call_id, role, leaving)).decode())

    async def refresh(self, call_ids: Sequence[str]) -> list[str]:
        """Renews the leases of a worker's calls; returns those the registry has lost."""
        if not call_ids:
            return []
        return [raw.decode() for raw in await self._call("refresh", CALL_LEASE_MS, *call_ids)]

    async def restore(self, call: CallRecord) -> None:
        """Writes a live call again after the registry lost it."""
        await self._call("restore", CALL_LEASE_MS, call.call_id, *_fields(call))

    async def answered(self, call_id: str) -> bool:
        """Marks a reserved call as answered, if it is still held; in one step, for a write after its release would
        leave a record without an end.
        """
        return bool(await self._call("answered", call_id))

    async def audit(self, worker_id: str) -> int:
        """Drops from a worker's load the calls that nobody holds any more; returns how many.

        A release goes through the call's record; when the front and the media worker of a call died together the
        record goes by its lease, and only the worker itself can clear its own load.
        """
        return int(await self._call("audit", CALL_LEASE_MS, worker_id))

    async def held(self, worker_id: str) -> list[Held]:
        """Every reservation on a worker, so that it can find those whose front died before opening them."""
        seconds, micros = await run(self._client.time())
        now_ms = seconds * 1_000 + micros // 1_000
        rows = await run(self._client.hgetall(self._keys.load(worker_id)))
        parsed = ((call_id.decode(), *value.decode().split()) for call_id, value in rows.items())
        return [Held(call_id=c, port=int(port), age_ms=now_ms - int(at)) for c, at, port in parsed]

    async def forget(self, worker_id: str, call_id: str) -> None:
        """Removes a reservation from a worker's own load, also when the call's record is gone already."""
        await run(self._client.hdel(self._keys.load(worker_id), call_id))

    async def free_ports(self, worker_id: str) -> list[int]:
        """The ports that fronts may take, as the registry has them."""
        return [int(port) for port in await run(self._client.lrange(self._keys.ports(worker_id), 0, -1))]

    async def set_ports(self, worker_id: str, ports: Sequence[int]) -> None:
        """Replaces a worker's list of free ports."""
        pipe = self._client.pipeline(transaction=True)
        pipe.unlink(self._keys.ports(worker_id))
        if ports:
            pipe.rpush(self._keys.ports(worker_id), *ports)
            pipe.pexpire(self._keys.ports(worker_id), INBOX_TTL_MS)
        await run(pipe.execute())

    async def give_ports(self, worker_id: str, ports: Sequence[int]) -> None:
        """Adds ports whose quarantine is over; the longest unused is taken first."""
        if ports:
            await run(self._client.rpush(self._keys.ports(worker_id), *ports))

    async def call(self, call_id: str) -> CallRecord | None:
        """The record of a live call."""
        row = await run(self._client.hgetall(self._keys.call(call_id)))
        return _record(row) if row else None

    async def calls(self) -> list[CallRecord]:
        """Every live call of the farm, found through its media worker."""
        found: list[CallRecord] = []
        for worker_id in await self.live("media"):
            call_ids = await run(self._client.hkeys(self._keys.load(worker_id)))
            pipe = self._client.pipeline(transaction=False)
            for call_id in call_ids:
                pipe.hgetall(self._keys.call(call_id.decode()))
            found += [_record(row) for row in await run(pipe.execute()) if row]
        return found

    async def _call(self, script: str, *args: object) -> Any:
        async with self._turns:
            return await self._run(script, *args)

    async def _run(self, script: str, *args: object) -> Any:
        return await run(self._script[script](args=[self._keys.prefix, *args]))


def _fields(call: CallRecord, skip: tuple[str, ...] = ()) -> list[object]:
    return [x for name in call.__struct_fields__ if name not in skip for x in (name, getattr(call, name))]


def _worker(raw: bytes) -> WorkerRecord | None:
    """None for a record of a version that we do not know: one such worker must not hide the others."""
    try:
        return msgspec.json.decode(raw, type=WorkerRecord)
    except msgspec.MsgspecError:
        return None


def _record(row: dict[bytes, bytes]) -> CallRecord:
    return msgspec.convert({k.decode(): v.decode() for k, v in row.items()}, CallRecord, strict=False)
