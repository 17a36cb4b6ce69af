"""What a front shows besides metrics and health: /calls, the live calls of the whole farm as JSON."""

import json
from typing import Any

import msgspec
from aiohttp import web

from shared.errors import BusError
from shared.registry import CallRecord
from shared.shell import Shell
from sipfront.core.call import Call
from sipfront.core.front import Front


class CallPages:
    """GET /calls and /calls/{call_id}; `?front=mine` leaves out the calls of other fronts."""

    def __init__(self, front: Front, shell: Shell) -> None:
        self._front = front
        self._shell = shell

    def routes(self) -> dict[str, Any]:
        return {"/calls": self.all, "/calls/{call_id}": self.one}

    async def all(self, request: web.Request) -> web.Response:
        """While Redis is away the page shows what this front holds, and says so."""
        now_ns = self._shell.clock.now_ns()
        mine = {call.call_id: call for call in self._front.calls}
        try:
            records = await self._shell.registry.calls()
            whole = True
        except BusError:
            records, whole = [], False
        if request.query.get("front") == "mine":
            records = [record for record in records if record.call_id in mine]
        rows = {record.call_id: _row(record, mine.get(record.call_id), now_ns) for record in records}
        if not whole:
            rows = {call_id: _own_row(call, now_ns) for call_id, call in mine.items()}
        page = {"front": self._shell.worker_id, "farm": whole, "calls": list(rows.values())}
        return _json(page)

    async def one(self, request: web.Request) -> web.Response:
        call_id = request.match_info["call_id"]
        own = self._front.calls.get(call_id)
        try:
            record = await self._shell.registry.call(call_id)
        except BusError:
            record = None
        now_ns = self._shell.clock.now_ns()
        if record:
            return _json(_row(record, own, now_ns))
        return _json(_own_row(own, now_ns)) if own else _json({"problem": "no such call"}, 404)


def _json(page: Any, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(page) + "\n", content_type="application/json", status=status)


def _row(record: CallRecord, own: Call | None, now_ns: int) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(record)
    return row | (_signalling(own, now_ns) if own else {})


def _own_row(call: Call, now_ns: int) -> dict[str, Any]:
    who, place = call.identity, call.place
    return {
        "call_id": call.call_id, "sip_call_id": call.dialog.sip_call_id, "tenant": who.tenant,
        "room_id": who.room_id, "session_id": who.session_id, "app": call.app.kind, "agent": call.app.agent,
        "caller": who.caller, "callee": who.callee, "worker": place.worker if place else "",
        "port": place.port if place else 0, **_signalling(call, now_ns),
    }  # fmt: skip


def _signalling(call: Call, now_ns: int) -> dict[str, Any]:
    chosen = call.agreement.format
    return {
        "signalling": str(call.state), "lease": str(call.lease), "codec": chosen.codec,
        "direction": chosen.direction, "ptime_ms": chosen.ptime_ms,
        "srtp": call.agreement.srtp.suite if call.agreement.srtp else "", "age_s": round((now_ns - call.started_ns) / 1e9, 3),
    }  # fmt: skip
