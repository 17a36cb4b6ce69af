"""A script being played against an imagined farm, in ticks of 20 ms."""

from collections.abc import Callable

import pytest

from shared.units import NS_PER_MS
from voicefarm.core.conversation import Act, Conversation, Do, Finding, Moment, Spoken, judge
from voicefarm.core.script import Script, parse_script

pytestmark = pytest.mark.unit

TICK = 20 * NS_PER_MS
START = 1_000_000 * NS_PER_MS
RECORDINGS = "recordings: {a: {file: a, text: hello there}, b: {file: b, text: goodbye}}\n"


def script(steps: str) -> Script:
    return parse_script(RECORDINGS + steps, "test")


class Stage:
    """Plays a script: `loud` says at which ms of the call the farm is heard; what the caller says lasts `say_ms`."""

    def __init__(self, steps: str, loud: Callable[[int], bool], say_ms: int = 400) -> None:
        self.script = script(steps)
        self.conversation = Conversation(self.script, START)
        self._loud = loud
        self._say_ms = say_ms
        self._busy_until = 0
        self._loud_ns = 0
        self.acts: list[tuple[int, Act]] = []

    def run(self, until_ms: int, hang_up_ms: int = -1) -> "Stage":
        for ms in range(0, until_ms, 20):
            if self.conversation.over:
                break
            now = START + ms * NS_PER_MS
            if ms == hang_up_ms:
                self.conversation.ended(now)
                break
            if self._loud(ms):
                self._loud_ns = now
            for act in self.conversation.tick(Moment(now, ms < self._busy_until, self._loud_ns)):
                self.acts.append((ms, act))
                if act.do is not Do.HANG_UP:
                    self._busy_until = ms + self._say_ms
        return self

    @property
    def findings(self) -> list[Finding]:
        return self.conversation.findings


def silence(_ms: int) -> bool:
    return False


def between(*spans: tuple[int, int]) -> Callable[[int], bool]:
    return lambda ms: any(first <= ms < last for first, last in spans)


def test_says_waits_presses_and_hangs_up_one_after_the_other() -> None:
    stage = Stage("steps: [{say: a}, {wait_ms: 200}, {press: '1'}, {hang_up: true}]", silence).run(5_000)
    assert stage.acts == [
        (0, Act(Do.SAY, "a")), (600, Act(Do.PRESS, "1")), (1_000, Act(Do.HANG_UP)),
    ]  # fmt: skip
    assert stage.conversation.over
    assert not stage.conversation.failed
    assert stage.conversation.spoken == [Spoken("a", "hello there", START)]


def test_listens_until_the_farm_is_silent_for_long_enough() -> None:
    loud = between((500, 1_000), (1_400, 2_000))
    stage = Stage("steps: [{listen: {silence_ms: 900}}, {say: a}]", loud).run(5_000)
    assert stage.acts == [(2_880, Act(Do.SAY, "a"))], "the pause of 400 ms is none"


def test_what_was_heard_before_a_step_does_not_count_for_it() -> None:
    stage = Stage("steps: [{listen: {}}, {listen: {within_ms: 2000}}]", between((0, 500))).run(10_000)
    assert [finding.text for finding in stage.findings] == ["the farm said nothing within 2000 ms (step 2)"]
    assert stage.conversation.failed


def test_a_farm_that_never_stops_talking_fails() -> None:
    stage = Stage("steps: [{listen: {within_ms: 500, at_most_ms: 1000}}]", lambda _: True).run(10_000)
    assert "did not stop talking" in stage.findings[0].text


def interruption(loud: Callable[[int], bool], more: str = "") -> Stage:
    return Stage(
        f"steps: [{{interrupt: {{say: b, after_ms: 1000, stopped_within_ms: 300{more}}}}}]",
        loud,
        say_ms=1_000,
    )


def test_an_interruption_is_measured_to_the_last_sound() -> None:
    stage = interruption(between((200, 1_440))).run(10_000)
    assert stage.acts == [(1_200, Act(Do.SAY, "b"))]
    assert stage.findings == [Finding(ok=True, text="interrupted, the farm fell silent after 220 ms")]
    assert stage.conversation.spoken[0].interrupting


def test_a_farm_that_talks_on_is_found() -> None:
    stage = interruption(between((200, 9_000))).run(10_000)
    assert stage.findings == [Finding(ok=False, text="interrupted, the farm fell silent after 1000 ms")]
    assert stage.conversation.over


def test_an_interruption_waits_out_a_pause_between_sentences() -> None:
    stage = interruption(between((200, 1_000), (1_700, 2_000))).run(10_000)
    assert stage.acts[0][0] == 1_700


def test_a_reply_too_short_to_interrupt_fails() -> None:
    stage = interruption(between((200, 400))).run(10_000)
    assert "nothing more to say" in stage.findings[0].text
    assert stage.acts == []


def test_nothing_to_interrupt_fails() -> None:
    stage = interruption(silence, ", within_ms: 700").run(10_000)
    assert "said nothing to interrupt within 700 ms" in stage.findings[0].text


def test_the_farm_hangs_up_when_it_should() -> None:
    stage = Stage("steps: [{say: a}, {ended: {within_ms: 3000}}]", silence).run(5_000, hang_up_ms=1_000)
    assert stage.findings == [Finding(ok=True, text="the farm hung up after 600 ms")]


def test_the_farm_does_not_hang_up() -> None:
    stage = Stage("steps: [{ended: {within_ms: 3000}}]", silence).run(5_000)
    assert stage.findings == [Finding(ok=False, text="the farm did not hang up within 3000 ms (step 1)")]


def test_the_farm_hangs_up_too_early() -> None:
    stage = Stage("steps: [{listen: {}}, {say: a}]", silence).run(5_000, hang_up_ms=200)
    assert stage.findings == [Finding(ok=False, text="the farm hung up during step 1 (listen)")]
    assert stage.conversation.over
    stage.conversation.ended(START)
    assert len(stage.findings) == 1


def test_an_empty_script_is_over_at_once() -> None:
    assert Conversation(script("steps: []"), START).over


def test_the_verdict_on_what_was_understood() -> None:
    spoken = [Spoken("a", "hello there", 0), Spoken("n", "", 1), Spoken("b", "goodbye", 2)]
    wanted = script("words: 0.5")
    assert [f.ok for f in judge(wanted, spoken, ["Hello there!", "goodbye"])] == [True, True]
    assert [f.ok for f in judge(wanted, spoken, ["hello", "good"])] == [True, False]
    assert [f.ok for f in judge(wanted, spoken, ["hello there"])] == [True, False]
    more = judge(wanted, spoken, ["hello there", "goodbye", "weasels"])
    assert [f.ok for f in more] == [True, True, False]
    assert "nothing was said" in more[2].text
    assert judge(wanted, [Spoken("n", "", 1)], ["anything"]) == [], "a call without texts is not judged"
