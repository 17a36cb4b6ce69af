"""Draws a call: both voices as waveforms, what was said, and where the time of each turn went. Needs Pillow."""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from voicefarm.core.rtp_stream import Samples
from voicefarm.core.timeline import Caption, Timeline, TurnBar

WIDTH = 1_600
_LEFT, _RIGHT = 90, 30
_WAVE = 110
"""Height of one voice."""
_LANE = 17
"""Height of a line of text."""
_LANES = 3
_ROW = 24

_INK = (35, 39, 47)
_PALE = (140, 146, 156)
_GRID = (226, 229, 234)
_WAIT = (255, 236, 186)
_CALLER = (38, 103, 186)
_AGENT = (21, 130, 96)
_CUT = (188, 72, 36)
_STAGES = {
    "endpoint": (203, 207, 214), "STT queue": (250, 204, 112), "STT": (240, 158, 46), "LLM 1st token": (178, 96, 196),
    "1st sentence": (124, 58, 148), "TTS 1st frame": (46, 160, 120), "bus + playout": (84, 132, 214),
}  # fmt: skip


def draw_call(path: Path, title: str, pcm: Samples, rate_hz: int, story: Timeline) -> None:
    """Writes a PNG. `pcm` is [S, 2]: left the caller, right the agent."""
    seconds = max(len(pcm) / rate_hz, 1.0)
    text_height = _LANES * _LANE + 8
    top = 52
    bars_top = top + 2 * (_WAVE + text_height) + 46
    height = bars_top + _ROW * (len(story.bars) + 2) + 20
    image = Image.new("RGB", (WIDTH, height), "white")
    page = _Page(ImageDraw.Draw(image), seconds)
    page.text(_LEFT, 16, title, _INK, 18)
    page.grid(top, bars_top - 40)
    for side, (who, colour) in enumerate((("caller", _CALLER), ("agent", _AGENT))):
        y = top + side * (_WAVE + text_height)
        page.waits(story.bars, y)
        page.voice(pcm[:, side], y, colour)
        page.text(16, y + _WAVE // 2 - 8, who, colour, 15)
        page.captions([c for c in story.captions if c.who == who], y + _WAVE + 2, colour)
    page.waits_in_ms(story.bars, top - 15)
    page.stages(story.bars, bars_top)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.quantize(256, method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


class _Page:
    """A drawing with a time axis."""

    def __init__(self, draw: ImageDraw.ImageDraw, seconds: float) -> None:
        self._draw = draw
        self._seconds = seconds
        self._per_s = (WIDTH - _LEFT - _RIGHT) / seconds

    def x(self, at_s: float) -> float:
        return _LEFT + min(max(at_s, 0.0), self._seconds) * self._per_s

    def text(self, x: float, y: float, text: str, colour: tuple[int, int, int], size: int) -> None:
        self._draw.text((x, y), text, fill=colour, font=ImageFont.load_default(size))

    def width(self, text: str, size: int) -> float:
        return float(self._draw.textlength(text, font=ImageFont.load_default(size)))

    def grid(self, top: int, bottom: int) -> None:
        step = next((step for step in (1, 2, 5, 10, 30, 60) if self._seconds / step <= 25), 300)
        for second in range(0, int(self._seconds) + 1, step):
            x = self.x(second)
            self._draw.line((x, top, x, bottom), fill=_GRID)
            self.text(x - 6, bottom + 2, f"{second} s", _PALE, 12)

    def voice(self, samples: Samples, y: int, colour: tuple[int, int, int]) -> None:
        """The loudest sample of each column, up and down from the middle."""
        columns = int(self._seconds * self._per_s)
        edges = np.linspace(0, len(samples), columns + 1).astype(int)
        middle = y + _WAVE / 2
        self._draw.line((_LEFT, middle, self.x(self._seconds), middle), fill=_GRID)
        for column in range(columns):
            part = samples[edges[column] : edges[column + 1]]
            if len(part):
                reach = float(np.abs(part.astype(np.int32)).max()) / 32_768 * _WAVE / 2
                self._draw.line((_LEFT + column, middle - reach, _LEFT + column, middle + reach), fill=colour)

    def captions(self, captions: Sequence[Caption], y: int, colour: tuple[int, int, int]) -> None:
        """Each caption in the room until the next one of the same voice, on up to three lines."""
        for caption, following in zip_longest(captions, captions[1:]):
            x = self.x(caption.at_s)
            room = (self.x(following.at_s) if following else WIDTH - 10) - x - 8
            for number, line in enumerate(self._wrap(caption, max(room, 90.0))):
                self.text(x, y + number * _LANE, line, _CUT if caption.interrupted else colour, 13)

    def _wrap(self, caption: Caption, room: float) -> list[str]:
        lines = [""]
        words = f"{caption.text} -" if caption.interrupted else caption.text
        for word in words.split():
            longer = f"{lines[-1]} {word}".strip()
            if self.width(longer, 13) <= room or not lines[-1]:
                lines[-1] = longer
            else:
                lines.append(word)
        if len(lines) > _LANES:
            lines = [*lines[: _LANES - 1], f"{lines[_LANES - 1]} ..."]
        return lines

    def waits(self, bars: Sequence[TurnBar], y: int) -> None:
        """The wait of each turn as a band behind one voice."""
        for bar in bars:
            self._draw.rectangle((self.x(bar.from_s), y, self.x(bar.to_s), y + _WAVE), fill=_WAIT)

    def waits_in_ms(self, bars: Sequence[TurnBar], y: int) -> None:
        for bar in bars:
            self.text(self.x(bar.from_s), y, f"{bar.times.voice_to_voice_ms:.0f} ms", _INK, 12)

    def stages(self, bars: Sequence[TurnBar], y: int) -> None:
        """Each turn's wait in its parts, all on one scale."""
        if not bars:
            return
        self.text(_LEFT, y, "from the caller's last sound to the agent's first", _INK, 14)
        x = _LEFT + 380.0
        for name, colour in _STAGES.items():
            self._draw.rectangle((x, y + 3, x + 11, y + 14), fill=colour)
            self.text(x + 16, y, name, _INK, 13)
            x += 34 + self.width(name, 13)
        lengths = [max(bar.times.voice_to_voice_ms, sum(s.ms for s in bar.times.stages)) for bar in bars]
        longest = max(1.0, *lengths)
        per_ms = (WIDTH - _LEFT - _RIGHT - 90) / longest
        for row, bar in enumerate(bars, 1):
            self._stage_row(bar, y + row * _ROW + 4, per_ms)

    def _stage_row(self, bar: TurnBar, y: int, per_ms: float) -> None:
        self.text(24, y, f"turn {bar.times.turn}", _INK, 13)
        for stage in bar.times.stages:
            first = _LEFT + stage.start_ms * per_ms
            if stage.ms * per_ms >= 1:
                colour = _STAGES.get(stage.name, _PALE)
                self._draw.rectangle((first, y, first + stage.ms * per_ms, y + _ROW - 8), fill=colour)
        self.text(
            _LEFT + bar.times.voice_to_voice_ms * per_ms + 6,
            y,
            f"{bar.times.voice_to_voice_ms:.0f} ms",
            _INK,
            13,
        )
