"""What a call asks of its media worker, as messages."""

from shared.contracts import (
    AiWorkers,
    MediaClose,
    MediaInfoDigit,
    MediaOpen,
    MediaStart,
    MediaUpdate,
)
from sipfront.core.call import Call
from sipfront.core.desk import Settings
from sipfront.core.effects import Place, Reserve
from sipfront.core.info import Press
from sipfront.core.offer_answer import Agreement


def reservation(call: Call, settings: Settings, *, again: bool = False) -> Reserve:
    """The reservation of a call, with the fields of its record."""
    who = call.identity
    fields = {
        "sip_call_id": call.dialog.sip_call_id, "tenant": who.tenant, "room_id": who.room_id,
        "session_id": who.session_id, "app": call.app.kind, "agent": call.app.agent, "front": settings.front,
        "caller": who.caller, "callee": who.callee,
    }  # fmt: skip
    return Reserve(call.call_id, fields, call.needs, again)


def open_message(call: Call, place: Place, settings: Settings, msg_id: str) -> MediaOpen:
    who = call.identity
    return MediaOpen(
        msg_id=msg_id, reply_to=settings.front, call_id=call.call_id, sip_call_id=call.dialog.sip_call_id,
        tenant=who.tenant, room_id=who.room_id, session_id=who.session_id, rtp_port=place.port,
        remote=call.agreement.remote, format=call.agreement.format, srtp=call.agreement.srtp, app=call.app,
        ai=AiWorkers(stt=place.stt, llm=place.llm, tts=place.tts), record=call.record,
        media_cidrs=[*settings.media_cidrs, *call.terms.media_cidrs], metadata=who.metadata,
    )  # fmt: skip


def start_message(call: Call, settings: Settings, msg_id: str) -> MediaStart:
    return MediaStart(msg_id=msg_id, reply_to=settings.front, call_id=call.call_id)


def update_message(call: Call, settings: Settings, msg_id: str, agreement: Agreement) -> MediaUpdate:
    return MediaUpdate(
        msg_id=msg_id, reply_to=settings.front, call_id=call.call_id, remote=agreement.remote,
        format=agreement.format, srtp=agreement.srtp,
    )  # fmt: skip


def digit_message(call: Call, settings: Settings, msg_id: str, press: Press) -> MediaInfoDigit:
    return MediaInfoDigit(
        msg_id=msg_id, reply_to=settings.front, call_id=call.call_id, digit=press.digit,
        duration_ms=press.duration_ms,
    )  # fmt: skip


def close_message(call: Call, settings: Settings, msg_id: str) -> MediaClose:
    return MediaClose(msg_id=msg_id, reply_to=settings.front, call_id=call.call_id, reason=call.end_reason)
