"""Leases and placement on a real Redis: one atomic reservation, idempotent release, rooms that stay together."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.bus import connect
from shared.errors import BusError, Refused
from shared.keys import CALL_LEASE_MS, LEASE_MS, Keys
from shared.registry import CallRecord, Placement, Registry, Role, State, WorkerRecord
from tests.support.processes import free_port

pytestmark = pytest.mark.process


def worker(role: Role, name: str, capacity: int = 10, state: State = "ready") -> WorkerRecord:
    return WorkerRecord(worker_id=name, role=role, host="h", http_port=1, capacity=capacity, state=state)


def call(call_id: str, room: str = "", tenant: str = "t") -> CallRecord:
    return CallRecord(
        call_id=call_id, sip_call_id=f"{call_id}@x", tenant=tenant, room_id=room or call_id, session_id="s", app="agent",
        agent="demo", front="front-0", caller="sip:a@x", callee="sip:b@x", started_ms=1,
    )  # fmt: skip


class Farm:
    """A registry with its raw client."""

    def __init__(self, url: str) -> None:
        self.client = connect(url)
        self.keys = Keys("vf")
        self.registry = Registry(self.client, self.keys)

    async def add(self, record: WorkerRecord, ports: list[int] | None = None) -> None:
        await self.registry.beat(record)
        if record.role == "media":
            await self.registry.set_ports(
                record.worker_id, ports if ports is not None else [20_000, 20_002, 20_004]
            )

    async def kill(self, role: Role, worker_id: str) -> None:
        """Makes a worker look as if its last beat was a lease ago."""
        await self.client.zincrby(self.keys.live(role), -LEASE_MS - 1, worker_id)


@pytest.fixture
async def farm(redis_url: str) -> AsyncIterator[Farm]:
    made = Farm(redis_url)
    yield made
    await made.client.aclose()


async def test_beat_says_forgotten_once_and_counts_reservations(farm: Farm) -> None:
    assert await farm.registry.beat(worker("media", "m1")) == (True, 0)
    assert await farm.registry.beat(worker("media", "m1")) == (False, 0)
    await farm.registry.set_ports("m1", [20_000])
    await farm.registry.reserve(call("c1"), [])
    assert await farm.registry.beat(worker("media", "m1")) == (False, 1)


async def test_live_lists_workers_until_their_lease_ends(farm: Farm) -> None:
    await farm.add(worker("stt", "s1", state="draining"))
    await farm.add(worker("stt", "s2"))
    found = await farm.registry.live("stt")
    assert found == {"s1": worker("stt", "s1", state="draining"), "s2": worker("stt", "s2")}
    await farm.kill("stt", "s1")
    assert set(await farm.registry.live("stt")) == {"s2"}
    assert await farm.registry.live("tts") == {}


async def test_reserve_takes_slot_port_room_and_ai_in_one_step(farm: Farm) -> None:
    await farm.add(worker("media", "m1"))
    for role in ("stt", "llm", "tts"):
        await farm.add(worker(role, f"{role}1"))
    got = await farm.registry.reserve(call("c1", "r"), ["stt", "llm", "tts"])
    assert got == Placement(worker="m1", port=20_000, stt="stt1", llm="llm1", tts="tts1")
    assert await farm.registry.loads(["m1", "stt1", "llm1", "tts1"]) == {
        "m1": 1,
        "stt1": 1,
        "llm1": 1,
        "tts1": 1,
    }
    record = await farm.registry.call("c1")
    assert record is not None
    assert (record.worker, record.port, record.state, record.stt) == ("m1", 20_000, "reserved", "stt1")
    await farm.registry.answered("c1")
    assert [c.state for c in await farm.registry.calls()] == ["answered"]


async def test_reserve_gives_the_same_when_repeated(farm: Farm) -> None:
    await farm.add(worker("media", "m1"))
    assert await farm.registry.reserve(call("c1"), []) == await farm.registry.reserve(call("c1"), [])
    assert await farm.registry.loads(["m1"]) == {"m1": 1}


@pytest.mark.parametrize(
    ("workers", "needs", "reason"),
    [
        ([], [], "no_media"),
        ([worker("media", "m1", capacity=0)], [], "full_media"),
        ([worker("media", "m1", state="draining")], [], "no_media"),
        ([worker("media", "m1")], ["stt"], "no_stt"),
        ([worker("media", "m1"), worker("stt", "s1", capacity=0)], ["stt"], "full_stt"),
    ],
)
async def test_reserve_says_why_not_and_holds_nothing(
    farm: Farm, workers: list[WorkerRecord], needs: list[Role], reason: str
) -> None:
    for record in workers:
        await farm.add(record)
    before = sorted(await farm.client.keys("*"))
    with pytest.raises(Refused) as caught:
        await farm.registry.reserve(call("c1"), needs)
    assert caught.value.reason == reason
    assert sorted(await farm.client.keys("*")) == before


async def test_reserve_refuses_when_ports_are_used_up(farm: Farm) -> None:
    await farm.add(worker("media", "m1"), ports=[20_000])
    await farm.registry.reserve(call("c1"), [])
    with pytest.raises(Refused, match="full_media"):
        await farm.registry.reserve(call("c2"), [])
    await farm.registry.give_ports("m1", [20_000])
    assert (await farm.registry.reserve(call("c2"), [])).port == 20_000


async def test_one_room_is_one_worker_and_many_rooms_are_several(farm: Farm) -> None:
    for name in ("m1", "m2"):
        await farm.add(worker("media", name), ports=list(range(20_000, 20_040, 2)))
    same = {(await farm.registry.reserve(call(f"a{n}", "room"), [])).worker for n in range(5)}
    assert len(same) == 1
    spread = {(await farm.registry.reserve(call(f"b{n}"), [])).worker for n in range(6)}
    assert spread == {"m1", "m2"}


async def test_rooms_of_tenants_are_apart_when_named_alike(farm: Farm) -> None:
    for name in ("m1", "m2"):
        await farm.add(worker("media", name))
    one = await farm.registry.reserve(call("c1", "room", "acme"), [])
    two = await farm.registry.reserve(call("c2", "room", "globex"), [])
    assert one.worker != two.worker


async def test_room_stays_on_a_draining_worker_and_leaves_a_dead_one(farm: Farm) -> None:
    await farm.add(worker("media", "m1"))
    await farm.registry.reserve(call("c1", "room"), [])
    await farm.add(worker("media", "m2"))
    await farm.registry.beat(worker("media", "m1", state="draining"))
    assert (await farm.registry.reserve(call("c2", "room"), [])).worker == "m1"
    await farm.kill("media", "m1")
    assert (await farm.registry.reserve(call("c3", "room"), [])).worker == "m2"


async def test_full_room_owner_refuses_rather_than_splitting_the_room(farm: Farm) -> None:
    await farm.add(worker("media", "m1", capacity=1))
    await farm.registry.reserve(call("c1", "room"), [])
    await farm.add(worker("media", "m2"))
    with pytest.raises(Refused, match="full_room"):
        await farm.registry.reserve(call("c2", "room"), [])


async def test_release_leaves_no_key_and_can_be_repeated(farm: Farm) -> None:
    await farm.add(worker("media", "m1"))
    await farm.add(worker("stt", "s1"))
    before = sorted(await farm.client.keys("*"))
    await farm.registry.reserve(call("c1", "room"), ["stt"])
    await farm.registry.reserve(call("c2", "room"), ["stt"])
    assert await farm.registry.release("c1", linger_ms=1) is True
    assert await farm.registry.release("c1", linger_ms=1) is False
    assert (await farm.registry.loads(["m1", "s1"])) == {"m1": 1, "s1": 1}
    assert await farm.registry.release("c2", linger_ms=1) is True
    assert sorted(await farm.client.keys("*")) == before


async def test_concurrent_reservations_never_share_a_port(farm: Farm) -> None:
    await farm.add(worker("media", "m1", capacity=50), ports=list(range(20_000, 20_060, 2)))
    calls = [farm.registry.reserve(call(f"c{n}"), []) for n in range(40)]
    done = await asyncio.gather(*calls, return_exceptions=True)
    ports = [got.port for got in done if isinstance(got, Placement)]
    refused = [got for got in done if isinstance(got, Refused)]
    assert len(ports) == len(set(ports)) == 30
    assert {error.reason for error in refused} == {"full_media"}


async def test_assign_moves_a_call_off_a_dead_worker(farm: Farm) -> None:
    await farm.add(worker("media", "m1"))
    await farm.add(worker("stt", "s1"))
    await farm.registry.reserve(call("c1"), ["stt"])
    assert await farm.registry.assign("c1", "stt", "s1") == ""
    await farm.add(worker("stt", "s2"))
    assert await farm.registry.assign("c1", "stt", "s1") == "s2"
    record = await farm.registry.call("c1")
    assert record is not None
    assert record.stt == "s2"
    assert await farm.registry.loads(["s1", "s2"]) == {"s1": 0, "s2": 1}


async def test_restore_writes_back_what_redis_lost(farm: Farm) -> None:
    await farm.add(worker("media", "m1"))
    await farm.add(worker("stt", "s1"))
    await farm.registry.reserve(call("c1", "room"), ["stt"])
    record = await farm.registry.call("c1")
    assert record is not None
    assert await farm.registry.refresh(["c1"]) == []
    await farm.client.flushall()
    assert await farm.registry.beat(worker("media", "m1")) == (True, 0)
    assert await farm.registry.refresh(["c1"]) == ["c1"]
    await farm.registry.restore(record)
    assert await farm.registry.call("c1") == record
    assert await farm.registry.loads(["m1", "s1"]) == {"m1": 1, "s1": 1}
    await farm.registry.set_ports("m1", [20_002])
    assert (await farm.registry.reserve(call("c2", "room"), [])).worker == "m1"


async def test_held_tells_reservations_that_were_never_opened(farm: Farm) -> None:
    await farm.add(worker("media", "m1"))
    await farm.registry.reserve(call("c1"), [])
    (held,) = await farm.registry.held("m1")
    assert (held.call_id, held.port) == ("c1", 20_000)
    assert 0 <= held.age_ms < 5_000


async def test_leave_removes_everything_of_a_worker(farm: Farm) -> None:
    await farm.add(worker("media", "m1"))
    await farm.registry.leave(worker("media", "m1"))
    assert await farm.client.keys("*") == []


async def test_every_key_has_an_end_when_everybody_dies(farm: Farm) -> None:
    await farm.add(worker("media", "m1"))
    await farm.add(worker("stt", "s1"))
    await farm.registry.reserve(call("c1"), ["stt"])
    record = await farm.registry.call("c1")
    assert record is not None
    await farm.registry.restore(record)
    await farm.add(worker("stt", "s2"))
    await farm.registry.assign("c1", "stt", "s1")
    lasting = [key for key in await farm.client.keys("*") if await farm.client.pttl(key) < 0]
    assert lasting == []


async def test_registry_raises_bus_error_when_redis_is_away() -> None:
    client = connect(f"redis://127.0.0.1:{free_port()}/0")
    registry = Registry(client, Keys("vf"))
    with pytest.raises(BusError):
        await registry.live("media")
    await client.aclose()


async def test_marking_answered_after_the_release_writes_no_record(farm: Farm) -> None:
    await farm.add(worker("media", "m1"))
    await farm.registry.reserve(call("c1"), [])
    assert await farm.registry.answered("c1")
    found = await farm.registry.call("c1")
    assert found is not None
    assert found.state == "answered"
    await farm.registry.release("c1", linger_ms=0)
    assert not await farm.registry.answered("c1")
    assert not await farm.client.exists(farm.keys.call("c1"))


async def test_audit_drops_old_entries_of_calls_without_a_record_and_no_others(farm: Farm) -> None:
    await farm.add(worker("media", "m1"))
    await farm.add(worker("stt", "s1"))
    for name in ("alive", "dead", "young"):
        await farm.registry.reserve(call(name), ["stt"])
    for name in (
        "dead",
        "young",
    ):  # front and media worker died: the record goes by its lease, nobody releases
        await farm.client.delete(farm.keys.call(name))
    (seconds, _) = await farm.client.time()
    old = f"{seconds * 1_000 - CALL_LEASE_MS - 1_000} 0"
    await farm.client.hset(farm.keys.load("s1"), mapping={"alive": old, "dead": old})
    assert await farm.registry.audit("s1") == 1
    assert {held.call_id for held in await farm.registry.held("s1")} == {"alive", "young"}
    assert await farm.registry.audit("s1") == 0
    assert await farm.registry.audit("nobody") == 0


async def test_worker_of_an_unknown_version_hides_no_other(farm: Farm) -> None:
    await farm.add(worker("stt", "s1"))
    await farm.add(worker("stt", "s2"))
    await farm.client.hset(farm.keys.worker("s2"), "record", b'{"role": "of tomorrow"}')
    assert set(await farm.registry.live("stt")) == {"s1"}


async def test_burst_waits_its_turn_and_the_beat_does_not(farm: Farm) -> None:
    """Five times as many as the client has connections; those that found none failed, on a Redis that was well."""
    await farm.add(worker("media", "m1"))
    ended = asyncio.gather(*(farm.registry.release(f"c{n}", linger_ms=0) for n in range(500)))
    assert await farm.registry.beat(worker("media", "m1")) == (False, 0)
    assert not ended.done()
    assert await ended == [False] * 500
