"""PocketSphinx in a process of its own: its decoder keeps the interpreter lock for as long as it decodes.

Measured: 140 ms in one piece for 3.7 s of speech on an idle core, several times that on a busy one, in which no message
of any call was read. Here the lock is the child's; the worker's thread waits on a pipe, which lets go of it. The child
(`python -m aiworker.stt.apart`) reads a request and answers it, each with its length before it, and ends when its input
ends. It must not know calls; what it hears is `sphinx.Sphinx`'s business.
"""

import signal
import struct
import subprocess
import sys
import weakref
from collections.abc import Hashable, Iterable, Sequence
from typing import IO, Any

import msgspec
import numpy as np

from aiworker.stt.port import Hypothesis, Utterance
from aiworker.stt.sphinx import Sphinx
from shared.errors import EngineError, EngineMissing, FarmError

_LENGTH = struct.Struct(">I")
_END_S = 2.0


class _Heard(msgspec.Struct, array_like=True):
    """An utterance on its way to the child."""

    pcm: bytes
    rate_hz: int
    language: str
    grammar: tuple[str, ...]


class _Reply(msgspec.Struct):
    """What the child found, or why it could not."""

    found: list[Hypothesis] = []
    problem: str = ""


class SphinxApart:
    """The engine as the worker sees it; `sentences` is the grammar of calls that bring none."""

    name = Sphinx.name
    sample_rate = Sphinx.sample_rate
    batch_max = Sphinx.batch_max

    def __init__(self, sentences: Iterable[str]) -> None:
        self._sentences = list(sentences)
        self._child: subprocess.Popen[bytes] | None = None
        self._end: Any = None

    @property
    def pid(self) -> int:
        """The child's, 0 while there is none."""
        return self._child.pid if self._child else 0

    def load(self) -> None:
        child = self._child = subprocess.Popen(
            [sys.executable, "-m", "aiworker.stt.apart"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._end = weakref.finalize(self, _end, child)
        try:
            reply = self._ask(self._sentences)
        except EngineError as error:
            raise EngineMissing(str(error)) from error
        if reply.problem:
            self.close()
            raise EngineMissing(reply.problem)

    def bucket(self, utterance: Utterance) -> Hashable:
        return utterance.grammar

    def decode(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        """A child that died is replaced, so that only what it was doing is lost."""
        if self._child is None:
            self.load()
        reply = self._ask([_Heard(u.samples.tobytes(), u.rate_hz, u.language, u.grammar) for u in utterances])
        if reply.problem:
            raise EngineError(reply.problem)
        return reply.found

    def close(self) -> None:
        """Ends the child; `decode` would start another."""
        if self._end:
            self._end()
        self._child = None

    def _ask(self, request: object) -> _Reply:
        child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            raise EngineError(f"{self.name}: not loaded")
        try:
            _write(child.stdin, request)
            reply: _Reply | None = _read(child.stdout, _Reply)
        except OSError as error:
            self.close()
            raise EngineError(f"{self.name}: its process is gone: {error}") from error
        if reply is None:
            self.close()
            raise EngineError(f"{self.name}: its process ended")
        return reply


def _end(child: "subprocess.Popen[bytes]") -> None:
    """No input is the child's sign to go; one that hangs is ended."""
    for pipe in (child.stdin, child.stdout):
        if pipe:
            pipe.close()
    try:
        child.wait(_END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _write(pipe: IO[bytes], message: object) -> None:
    body = msgspec.msgpack.encode(message)
    pipe.write(_LENGTH.pack(len(body)) + body)
    pipe.flush()


def _read(pipe: IO[bytes], kind: Any) -> Any:
    """The next message, None at the end of the input."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    body = pipe.read(length)
    return msgspec.msgpack.decode(body, type=kind) if len(body) == length else None


# --- the child


def answer(engine: Sphinx, heard: Iterable[_Heard]) -> _Reply:
    """What the engine makes of one request."""
    rows = [Utterance(np.frombuffer(h.pcm, np.int16), h.rate_hz, h.language, (), h.grammar) for h in heard]
    try:
        return _Reply(found=engine.decode(rows))
    except EngineError as error:
        return _Reply(problem=str(error))


def serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Loads with the sentences that come first, then answers until the input ends."""
    sentences = _read(requests, list[str])
    if sentences is None:
        return
    engine = Sphinx(sentences)
    try:
        engine.load()
    except FarmError as error:
        _write(replies, _Reply(problem=str(error)))
        return
    _write(replies, _Reply())
    while (heard := _read(requests, list[_Heard])) is not None:
        _write(replies, answer(engine, heard))


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # the group's signals are the parent's business
        signal.signal(number, signal.SIG_IGN)
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
