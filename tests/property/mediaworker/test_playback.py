"""Playback against a plain line, sample by sample, under any sequence of operations."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaworker.core.playing.media_source import Pcm, Stream
from mediaworker.core.playing.playback import STAGE_SAMPLES, Playback, PlaybackEvent
from tests.support.reference_playback import PlainLine

pytestmark = pytest.mark.property

LINES = 3
FRAMES = (160, 160, 320)

operation = st.one_of(
    st.tuples(
        st.just("pcm"),
        st.integers(0, LINES - 1),
        st.sampled_from(
            [0, 1, 100, 159, 160, 161, 900, STAGE_SAMPLES - 320, STAGE_SAMPLES - 160, STAGE_SAMPLES, 5_000]
        ),
    ),
    st.tuples(st.just("stream"), st.integers(0, LINES - 1), st.integers(0, 500)),
    st.tuples(st.just("feed"), st.integers(0, LINES - 1), st.sampled_from([0, 7, 300, STAGE_SAMPLES + 5])),
    st.tuples(st.just("end"), st.integers(0, LINES - 1), st.just(0)),
    st.tuples(st.just("mark"), st.integers(0, LINES - 1), st.just(0)),
    st.tuples(st.just("pause"), st.integers(0, LINES - 1), st.just(0)),
    st.tuples(st.just("resume"), st.integers(0, LINES - 1), st.just(0)),
    st.tuples(st.just("flush"), st.integers(0, LINES - 1), st.integers(0, 3)),
    st.tuples(st.just("tick"), st.just(0), st.integers(1, 30)),
)


@dataclass
class Both:
    """The lines and their plain versions, told the same."""

    fast: Playback = field(default_factory=lambda: Playback(LINES))
    plain: list[PlainLine] = field(default_factory=lambda: [PlainLine(frame) for frame in FRAMES])
    streams: list[dict[int, Stream]] = field(default_factory=lambda: [{} for _ in range(LINES)])
    value: int = 0

    def fresh(self, count: int) -> list[int]:
        """Samples that occur once, so that none can stand in for another."""
        values = [(self.value + n) % 30_000 + 1 for n in range(count)]
        self.value += count
        return values

    def pcm(self, line: int, count: int) -> None:
        values = self.fresh(count)
        number = self.fast.add(line, Pcm(np.array(values, np.int16)), frame=FRAMES[line])
        self.plain[line].add(number, values)

    def stream(self, line: int, count: int) -> None:
        values, stream = self.fresh(count), Stream()
        stream.feed(np.array(values, np.int16))
        number = self.fast.add(line, stream, frame=FRAMES[line], streams=True)
        self.streams[line][number] = stream
        self.plain[line].add(number, values, whole=False)

    def feed(self, line: int, count: int, *, whole: bool = False) -> None:
        if not self.streams[line]:
            return
        number, values = min(self.streams[line]), self.fresh(count)
        self.streams[line][number].feed(np.array(values, np.int16))
        if whole:
            self.streams[line].pop(number).finish()
        self.fast.fed(line)
        self.plain[line].feed(number, values, whole=whole)

    def end(self, line: int, _count: int) -> None:
        self.feed(line, 3, whole=True)

    def mark(self, line: int, _count: int) -> None:
        self.plain[line].add(self.fast.add(line, None, frame=FRAMES[line]), None)

    def pause(self, line: int, _count: int) -> None:
        assert self.fast.pause(line) == self.plain[line].position
        self.plain[line].paused = True

    def resume(self, line: int, _count: int) -> None:
        assert self.fast.resume(line) == self.plain[line].position
        self.plain[line].paused = False

    def flush(self, line: int, which: int) -> None:
        """All, or the nth item of the line."""
        items = [item.number for item in self.plain[line].items]
        number = items[which - 1] if 0 < which <= len(items) else 0
        if not items:
            return
        if number:
            self.streams[line].pop(number, None)
        else:
            self.streams[line].clear()
        self.fast.flush(line, number)
        self.plain[line].flush(number)

    def tick(self, _line: int, count: int) -> None:
        for _ in range(count):
            for size in set(FRAMES):
                lines = np.array([n for n in range(LINES) if FRAMES[n] == size])
                ready = lines[self.fast.ready(lines)]
                out = np.full((len(ready), size), -1, np.int16)
                if len(ready):
                    self.fast.play(ready, out)
                heard = dict(zip(ready.tolist(), out.tolist(), strict=True))
                for line in lines.tolist():
                    assert heard.get(line, [0] * size) == self.plain[line].tick(), f"line {line}"
            self.compare()

    def compare(self) -> None:
        told: list[list[tuple[int, str, int, int]]] = [[] for _ in range(LINES)]
        for event in self.fast.take_events():
            told[event.line].append((event.item, event.what.value, event.samples, event.position))
        for line in range(LINES):
            assert told[line] == self.plain[line].events
            self.plain[line].events.clear()
            assert self.fast.position(line) == self.plain[line].position
            for item in self.plain[line].items:
                assert self.fast.played(line, item.number) == item.played


@settings(max_examples=120, deadline=None)
@given(st.lists(operation, max_size=40))
def test_lines_play_what_plain_lines_play(operations: list[tuple[str, int, int]]) -> None:
    both = Both()
    for name, line, count in operations:
        getattr(both, name)(line, count)
        both.compare()
    both.tick(0, 60)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["short", "long", "stage", "stream", "feed", "mark", "skip", "retune", "tick"]),
        max_size=40,
    )
)
def test_a_line_that_changes_its_rate_plays_all_it_has_and_tells_of_each(operations: list[str]) -> None:
    line, frame, streams = Playback(1), 160, []
    lengths = {"short": 159, "long": 9_000, "stage": STAGE_SAMPLES}
    told: list[PlaybackEvent] = []
    since = 0  # how much was told before the rate that positions are counted in now
    for name in operations:
        if name in lengths:
            line.add(0, Pcm(np.full(lengths[name], 7, np.int16)), frame=frame)
        elif name == "stream":
            streams.append(Stream())
            line.add(0, streams[-1], frame=frame, streams=True)
        elif name == "feed" and streams:
            streams[0].feed(np.full(333, 5, np.int16))
            streams.pop(0).finish()
            line.fed(0)
        elif name == "mark":
            line.add(0, None, frame=frame)
        elif name == "skip" and line.current(0):
            line.flush(0, line.current(0))
        elif name == "retune":
            frame = 480 - frame
            line.retune(0, up=frame == 320)
            since = len(told)
        told += ticks(line, frame, 7)
    for stream in streams:
        stream.finish()
    line.fed(0)
    told += ticks(line, frame, 20_000)
    assert not line, "nothing waits for ever"
    became: dict[int, list[str]] = {}
    for event in told:
        became.setdefault(event.item, []).append(event.what.value)
    stories = (["started", "finished"], ["started", "flushed"], ["flushed"], ["mark"])
    assert all(story in stories for story in became.values())
    assert [event.position for event in told[since:][-1:]] == [line.position(0)] * (len(told) > since)


def ticks(line: Playback, frame: int, count: int) -> list[PlaybackEvent]:
    for _ in range(count):
        if not line.ready(np.array([0]))[0]:
            break
        line.play(np.array([0]), np.zeros((1, frame), np.int16))
    return line.take_events()
