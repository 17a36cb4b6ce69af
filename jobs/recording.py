"""Finalises the recording of a call: WAV -> FLAC and Opus, a manifest, an entry in the event log.

May run any number of times, also after being killed anywhere: files appear under their names only when they are
whole and checked, the manifest last; a second run of a finished one changes nothing. A cause that may pass (the WAV
is still being written, Redis is away) is raised, and RQ tries again (shared/jobs.py). It never touches a live call.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import redis

from jobs import manifest
from jobs.audio import AudioFile, Format, RecordingUnfit, describe_file, encode, inspect_wav, verify
from shared.clock import SystemClock
from shared.config import Config, load
from shared.contracts import CallEvent, decode
from shared.contracts import encode as encode_message
from shared.errors import ContractError
from shared.keys import EVENTS_MAXLEN, Keys
from shared.log import get_log

log = get_log(__name__)

_FIELD = b"m"


def finalise(call_id: str, wav_path: str) -> str:
    """The job: path of the manifest. Raises RecordingUnfit or redis.RedisError when it has to be tried again."""
    config = load()
    with redis.Redis.from_url(config.redis.url, socket_timeout=10.0) as client:
        return Finaliser(config, EventLog(client, Keys(config.redis.prefix), call_id)).run(call_id, wav_path)


class EventLog:
    """The event log of one call, read and added to by a job."""

    def __init__(self, client: Any, keys: Keys, call_id: str) -> None:
        self._client = client
        self._key = keys.events(call_id)
        self._call_key = keys.call(call_id)

    def read(self) -> list[CallEvent]:
        """Every event in order; those of a newer version are passed over."""
        found = []
        for _, fields in self._client.xrange(self._key):
            try:
                message = decode(fields[_FIELD])
            except ContractError as error:
                log.warning("event passed over", key=self._key, problem=str(error))
                continue
            if isinstance(message, CallEvent):
                found.append(message)
        return found

    def call_lives(self) -> bool:
        """Whether a worker still holds the call; the record of a dead worker's call goes with its lease."""
        return bool(self._client.exists(self._call_key))

    def finish(self, event: CallEvent, linger_ms: int) -> None:
        """Adds the last event of a log that is still there, and lets the log go after `linger_ms`."""
        pipe = self._client.pipeline(transaction=True)
        pipe.xadd(
            self._key,
            {_FIELD: encode_message(event)},
            maxlen=EVENTS_MAXLEN,
            approximate=True,
            nomkstream=True,
        )
        pipe.pexpire(self._key, max(linger_ms, 1))
        pipe.execute()


@dataclass(frozen=True, slots=True)
class Finaliser:
    """One call's recording on its way to its final files."""

    config: Config
    events: EventLog

    def run(self, call_id: str, wav_path: str) -> str:
        base = os.path.splitext(wav_path)[0]
        target = f"{base}.json"
        seen = self.events.read()
        if not _whole(target):
            if not manifest.ended(seen) and self.events.call_lives():
                raise RecordingUnfit(f"{wav_path}: the call has not ended")
            self._make(call_id, wav_path, base, target, seen)
        if not any(event.kind == "recording" for event in seen):
            self._announce(call_id, target)
        if not self.config.jobs.keep_wav and os.path.exists(wav_path):
            os.unlink(wav_path)
        return target

    def _make(self, call_id: str, wav_path: str, base: str, target: str, seen: Sequence[CallEvent]) -> None:
        facts = inspect_wav(wav_path)
        formats = [fmt for fmt in get_args(Format) if fmt == "flac" or self.config.jobs.opus]
        files = [_make_file(wav_path, base, fmt) for fmt in formats]
        if self.config.jobs.keep_wav:
            files.append(describe_file(wav_path, "wav", facts.seconds))
        text = json.dumps(manifest.build(call_id, seen, files, facts.seconds), indent=1, ensure_ascii=False)
        _replace(target, text.encode())

    def _announce(self, call_id: str, target: str) -> None:
        with open(target, encoding="utf-8") as file:
            made = json.load(file)
        event = CallEvent(
            call_id=call_id, kind="recording", at_ns=SystemClock().wall_ns(), by="jobs",
            data={
                "path": os.path.join(os.path.dirname(target), made["files"][0]["name"]),
                "format": made["files"][0]["format"],
                "seconds": made["duration_s"],
                "manifest": target,
            },
        )  # fmt: skip
        self.events.finish(event, int(self.config.ops.events_linger_s * 1_000))


def _make_file(wav_path: str, base: str, fmt: Format) -> AudioFile:
    target = f"{base}.{fmt}"
    draft = f"{target}.part"
    encode(wav_path, draft, fmt)
    seconds = verify(wav_path, draft, fmt)
    _sync(draft)
    os.replace(draft, target)
    return describe_file(target, fmt, seconds)


def _whole(target: str) -> bool:
    """Whether the manifest is there; it is only ever put in place whole, after every file it lists."""
    return os.path.exists(target)


def _replace(target: str, content: bytes) -> None:
    draft = f"{target}.part"
    with open(draft, "wb") as file:
        file.write(content)
    _sync(draft)
    os.replace(draft, target)


def _sync(path: str) -> None:
    """Puts a file on the disk before its name says that it is there."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
