"""What stands between the core and the world: a real Shell on a Redis that is there or not, and a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator

import msgspec
import pytest

from shared.bus import Append
from shared.config import Config, RedisConfig, SipConfig
from shared.config.model import DEFAULT_ROUTES
from shared.errors import BusError
from shared.metrics import Metrics
from shared.registry import WorkerRecord
from shared.shell import Identity, Shell
from sipfront.app import settings_of
from sipfront.core.effects import LogEvent, Reserve, Send
from sipfront.core.farm import FarmLoad
from sipfront.core.front import Front
from sipfront.core.lease import State
from sipfront.core.mint import CountingMint
from sipfront.io.performer import Performer
from sipfront.io.udp import UdpSocket
from tests.support.processes import free_port
from tests.support.sip_messages import Answer, Caller
from tests.support.waiting import eventually

pytestmark = pytest.mark.process


class Desk:
    """A performer with everything it needs, and a caller's socket."""

    def __init__(self, redis_url: str) -> None:
        config = Config(redis=RedisConfig(url=redis_url), sip=SipConfig(host="127.0.0.1"))
        self.udp = UdpSocket("127.0.0.1", 0, 65_536)
        self.shell = Shell(config, Identity(role="front", name="front-0", capacity=9), Metrics("front"))
        self.front = Front(
            settings_of(config, self.shell.worker_id, self.udp.port), DEFAULT_ROUTES, CountingMint()
        )
        self.performer = Performer(self.front, self.shell, self.udp)
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer.bind(("127.0.0.1", 0))
        self.peer.setblocking(False)
        self.source = self.peer.getsockname()

    def heard(self) -> list[int]:
        """Codes that arrived since the last look."""
        codes = []
        while True:
            try:
                codes.append(Answer(self.peer.recv(65_535)).code)
            except BlockingIOError:
                return codes

    async def close(self) -> None:
        self.peer.close()
        self.udp.close()
        await self.shell.bus.close()
        await self.shell.pcm_bus.close()


@pytest.fixture
async def away() -> AsyncIterator[Desk]:
    """Where no Redis answers."""
    made = Desk(f"redis://127.0.0.1:{free_port()}/0")
    yield made
    await made.close()


@pytest.fixture
async def desk(redis_url: str) -> AsyncIterator[Desk]:
    made = Desk(redis_url)
    yield made
    await made.close()


def fill_outbox(shell: Shell) -> None:
    entry = Append("x", b"", 1, 0)
    for _ in range(10_000):
        shell.outbox.put(entry)
    with pytest.raises(BusError):
        shell.outbox.put(entry)


async def media_worker(desk: Desk, ports: list[int], capacity: int = 500) -> None:
    """A media worker that nobody plays: its one beat counts for an hour, for a busy machine may take two seconds over anything."""
    record = WorkerRecord(
        worker_id="media-0.1", role="media", host="127.0.0.1", http_port=1, capacity=capacity
    )
    await desk.shell.registry.beat(record)
    await desk.shell.client.zincrby(desk.shell.keys.live("media"), 3_600_000, record.worker_id)
    await desk.shell.registry.set_ports(record.worker_id, ports)


async def test_call_while_redis_is_away_is_refused_and_nothing_is_kept(away):
    away.performer.received(Caller(port=away.source[1]).invite(), away.source, "127.0.0.1")
    codes: list[int] = []
    await eventually(lambda: codes.extend(away.heard()) or 503 in codes)
    assert codes == [100, 503]
    assert len(away.front.calls) == 0
    assert away.performer.owed() == 0


async def test_event_that_does_not_fit_takes_no_other_effect_with_it(away):
    fill_outbox(away.shell)
    event = LogEvent("c1", "call.ended", {"reason": "error"})
    away.performer.perform([event, Send(b"SIP/2.0 200 x\r\n\r\n", away.source)])
    assert await eventually(away.heard) == [200]


async def test_fault_of_ours_while_reserving_refuses_the_call_instead_of_keeping_it(away):
    effects = away.front.receive(
        Caller(port=away.source[1]).invite(), away.source, "127.0.0.1", away.performer.now_ns()
    )
    [wanted] = [effect for effect in effects if isinstance(effect, Reserve)]
    with pytest.raises(msgspec.ValidationError):
        await away.performer._reserve(wanted._replace(fields={}))
    assert len(away.front.calls) == 0
    assert await eventually(away.heard) == [503]


async def test_reservation_of_a_front_that_fails_right_after_it_is_owed_and_paid(desk):
    """The outcome is lost between registry and core: here by cancelling, as a process that ends does."""
    registry = desk.shell.registry
    await media_worker(desk, [20_000], capacity=5)
    effects = desk.front.receive(
        Caller(port=desk.source[1]).invite(), desk.source, "127.0.0.1", desk.performer.now_ns()
    )
    [wanted] = [effect for effect in effects if isinstance(effect, Reserve)]
    task = asyncio.create_task(desk.performer._reserve(wanted))
    await eventually(lambda: _cancelled_once_placed(desk, task))
    assert desk.performer.owed() == 1
    await desk.performer.pay()
    assert desk.performer.owed() == 0
    assert await registry.held("media-0.1") == []
    assert await registry.free_ports("media-0.1") == [20_000]
    assert len(desk.front.calls) == 0


async def test_burst_of_calls_waits_its_turn_at_the_registry(desk):
    """More calls at once than the client has connections: every one gets its place, and none is refused for that."""
    await media_worker(desk, list(range(20_000, 20_800, 2)))
    for number in range(300):
        caller = Caller(port=desk.source[1], number=str(number))
        desk.performer.received(caller.invite(), desk.source, "127.0.0.1")
    await eventually(lambda: all(call.lease is State.OPENING for call in desk.front.calls))
    assert len(desk.front.calls) == 300


async def test_call_given_up_while_it_waits_its_turn_reserves_nothing(desk):
    await media_worker(desk, [20_000])
    caller = Caller(port=desk.source[1])
    desk.performer.received(caller.invite(), desk.source, "127.0.0.1")
    desk.performer.received(caller.request("CANCEL"), desk.source, "127.0.0.1")
    await eventually(lambda: not len(desk.front.calls))
    assert await desk.shell.registry.free_ports("media-0.1") == [20_000]
    assert await desk.shell.registry.held("media-0.1") == []
    assert desk.performer.owed() == 0


async def _cancelled_once_placed(desk: Desk, task: asyncio.Task[None]) -> bool:
    """Cancels the task while it looks up the worker that it got a place on."""
    while not task.done():
        if task.get_coro().cr_await is not None and "_placed" in str(task.get_coro().cr_await):
            task.cancel()
        await asyncio.sleep(0)
    return task.cancelled()


async def test_timer_goes_on_after_a_fault_of_ours(away):
    """The one timer is every call's clock: a fault in one call's must not stop the others'."""
    away.front.media_workers([], FarmLoad(0, 1), away.performer.now_ns(), forgotten=False)
    effects = away.front.receive(
        Caller(port=away.source[1]).invite(), away.source, "127.0.0.1", away.performer.now_ns()
    )
    [wanted] = [effect for effect in effects if isinstance(effect, Reserve)]
    del away.front.calls._calls[wanted.call_id]  # its timers have lost their call
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))
    away.performer.perform([])
    other = Caller(port=away.source[1], number="2")
    desk_effects = away.front.receive(other.invite(), away.source, "127.0.0.1", away.performer.now_ns())
    away.performer.perform([effect for effect in desk_effects if not isinstance(effect, Reserve)])
    codes: list[int] = []
    await eventually(lambda: codes.extend(away.heard()) or 180 in codes)
    assert failures
