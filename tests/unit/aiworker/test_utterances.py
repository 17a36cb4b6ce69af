"""Utterances with a stand-in for time and for the model: each test says what comes, and what must follow."""

import numpy as np
import pytest

from aiworker.core.batcher import Job, Priority
from aiworker.core.utterances import (
    EARLY_CALLS,
    EARLY_FRAMES,
    EARLY_NS,
    LINGER_NS,
    LONGEST_MS,
    MEDIA_GONE_NS,
    QUIET_NS,
    SILENT_NS,
    TABLE,
    Decode,
    Effect,
    Happening,
    Hasten,
    Say,
    Step,
    Utterances,
    Void,
)
from aiworker.stt.port import Hypothesis
from shared.contracts import Mark, SttAttach, SttDetach, Transcript, UtteranceFrame
from shared.units import NS_PER_MS

pytestmark = pytest.mark.unit

RATE = 8_000
FRAME = 160


def attach(
    call: str = "a", epoch: int = 1, *, llm: str = "llm-0.x", media: str = "media-0.x", **more: object
) -> SttAttach:
    return SttAttach(call_id=call, tenant="t", epoch=epoch, media=media, llm=llm, **more)


def sound(frames: int, value: int = 7) -> bytes:
    return np.full(frames * FRAME, value, np.int16).tobytes()


def frame(
    mark: Mark = Mark.AUDIO,
    frames: int = 1,
    *,
    at: int = 0,
    turn: int = 1,
    epoch: int = 1,
    call: str = "a",
    silence_ms: int = 0,
) -> UtteranceFrame:
    """`at` and `frames` count frames of 20 ms."""
    return UtteranceFrame(call, epoch, turn, at * FRAME, mark, sound(frames), silence_ms)


class Farm:
    """Utterances, the jobs they asked for, and a clock in ms."""

    def __init__(self, capacity: int = 4) -> None:
        self.now_ms = 1_000
        self.core = Utterances(capacity=capacity, bucket=lambda said: len(said.samples) > 16_000)
        self.jobs: list[Job] = []
        self.said: list[Transcript] = []

    @property
    def now_ns(self) -> int:
        return self.now_ms * NS_PER_MS

    def note(self, effects: list[Effect]) -> list[Effect]:
        self.jobs += [effect.job for effect in effects if isinstance(effect, Decode)]
        self.said += [effect.transcript for effect in effects if isinstance(effect, Say)]
        return effects

    def attach(self, *args: object, **more: object) -> list[Effect]:
        return self.note(self.core.attach(attach(*args, **more), self.now_ns))

    def hear(self, *frames: UtteranceFrame) -> list[Effect]:
        return [effect for one in frames for effect in self.note(self.core.frame(RATE, one, self.now_ns))]

    def decode(self, text: str, *, started_ms: int | None = None, job: int = -1) -> list[Effect]:
        started = self.now_ms if started_ms is None else started_ms
        return self.note(
            self.core.decoded(self.jobs[job].job_id, Hypothesis(text, 0.9), started * NS_PER_MS, self.now_ns)
        )

    def later(self, ms: float) -> list[Effect]:
        self.now_ms += int(ms)
        return self.note(self.core.expire(self.now_ns))


@pytest.fixture
def farm() -> Farm:
    made = Farm()
    made.attach()
    return made


def kinds(effects: list[Effect]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


# --- the usual turn


def test_end_decodes_all_audio_when_nothing_was_guessed(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 3), frame(at=3, frames=2), frame(Mark.END, 1, at=5))
    (job,) = farm.jobs
    assert (job.call_id, job.turn, job.priority, job.queued_ns) == ("a", 1, Priority.FINAL, farm.now_ns)
    assert job.utterance.samples.tobytes() == sound(6)
    assert job.utterance.rate_hz == RATE
    farm.decode("hello")
    (final,) = farm.said
    assert (final.kind, final.text, final.audio_ms, final.turn, final.confidence) == (
        "final",
        "hello",
        120,
        1,
        0.9,
    )


def test_times_of_a_final_are_what_the_caller_waited_for(farm: Farm) -> None:
    farm.hear(frame(Mark.START), frame(Mark.END, at=1))
    farm.now_ms += 130
    farm.decode("hello", started_ms=farm.now_ms - 100)
    assert (farm.said[0].wait_ms, farm.said[0].decode_ms) == (30.0, 100.0)


def test_pause_starts_a_speculative_decode_that_goes_to_the_dialogue(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 20), frame(Mark.PAUSE, 1, at=20, silence_ms=200))
    assert farm.jobs[0].priority is Priority.SPECULATIVE
    (offer,) = farm.decode("hello")
    assert isinstance(offer, Say)
    assert (offer.transcript.kind, offer.transcript.text, offer.llm) == ("speculative", "hello", "llm-0.x")


def test_end_uses_the_guess_when_only_silence_followed(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 20), frame(Mark.PAUSE, 1, at=20, silence_ms=200))
    farm.decode("hello")
    farm.hear(frame(at=21, frames=14), frame(Mark.END, 1, at=35, silence_ms=500))
    assert len(farm.jobs) == 1
    assert [(t.kind, t.text, t.wait_ms, t.decode_ms) for t in farm.said] == [
        ("speculative", "hello", 0.0, 0.0),
        ("final", "hello", 0.0, 0.0),
    ]
    assert farm.said[1].audio_ms == 720


def test_end_waits_for_the_guess_that_is_still_decoded(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 20), frame(Mark.PAUSE, 1, at=20, silence_ms=200))
    started_ms = farm.now_ms
    farm.now_ms += 300
    effects = farm.hear(frame(Mark.END, 1, at=36, silence_ms=520))
    assert effects == [Hasten(farm.jobs[0].job_id)]
    farm.now_ms += 40
    farm.decode("hello", started_ms=started_ms)
    assert [(t.kind, t.text, t.wait_ms, t.decode_ms) for t in farm.said] == [("final", "hello", 0.0, 40.0)]


def test_end_that_hastens_a_waiting_guess_counts_its_wait_from_the_endpoint(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 20), frame(Mark.PAUSE, 1, at=20, silence_ms=200))
    farm.now_ms += 300
    farm.hear(frame(Mark.END, 1, at=36, silence_ms=520))
    farm.now_ms += 50
    farm.decode("hello", started_ms=farm.now_ms - 20)
    assert (farm.said[0].wait_ms, farm.said[0].decode_ms) == (30.0, 20.0)


@pytest.mark.parametrize("guessed", [False, True])
def test_resume_voids_the_guess(farm: Farm, guessed: bool) -> None:
    farm.hear(frame(Mark.START, 20), frame(Mark.PAUSE, 1, at=20, silence_ms=200))
    if guessed:
        farm.decode("hello")
    effects = farm.hear(frame(Mark.RESUME, 1, at=21))
    assert effects == [Void("a", 1)]
    assert farm.decode("hello", job=0) == []
    farm.hear(frame(Mark.END, 1, at=22, silence_ms=200))
    farm.decode("hello again")
    assert farm.said[-1].kind == "final"
    assert farm.said[-1].text == "hello again"


def test_end_decodes_again_when_the_resume_was_lost(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 20), frame(Mark.PAUSE, 1, at=20, silence_ms=200))
    farm.decode("hello")
    effects = farm.hear(frame(Mark.END, 1, at=60, silence_ms=500))
    assert kinds(effects) == ["Void", "Decode"]
    farm.decode("hello again")
    assert [t.text for t in farm.said if t.kind == "final"] == ["hello again"]


def test_end_decodes_again_when_it_does_not_say_how_long_the_silence_was(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 20), frame(Mark.PAUSE, 1, at=20, silence_ms=200))
    farm.decode("hello")
    assert kinds(farm.hear(frame(Mark.END, 1, at=21))) == ["Void", "Decode"]


def test_second_pause_replaces_the_first_guess(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 20), frame(Mark.PAUSE, 1, at=20, silence_ms=200))
    effects = farm.hear(frame(Mark.PAUSE, 1, at=50, silence_ms=200))
    assert kinds(effects) == ["Void", "Decode"]
    assert len(farm.jobs[1].utterance.samples) == 51 * FRAME


def test_abort_forgets_the_utterance(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 20), frame(Mark.PAUSE, 1, at=20, silence_ms=200))
    assert farm.hear(frame(Mark.ABORT, 0, at=21)) == [Void("a", 1)]
    assert farm.decode("cough", job=0) == []
    assert farm.hear(frame(Mark.END, 1, at=21, silence_ms=500)) == []
    assert farm.said == []
    assert farm.core.losses["late"] == 1


def test_abort_of_an_unknown_utterance_closes_its_turn(farm: Farm) -> None:
    farm.hear(frame(Mark.ABORT, 0, turn=4))
    assert farm.hear(frame(Mark.START, turn=4), frame(Mark.END, at=1, turn=4)) == []


def test_next_turn_may_start_while_the_last_one_is_decoded(farm: Farm) -> None:
    farm.hear(
        frame(Mark.START), frame(Mark.END, at=1), frame(Mark.START, turn=2), frame(Mark.END, at=1, turn=2)
    )
    farm.decode("second", job=1)
    farm.decode("first", job=0)
    assert [(t.turn, t.text) for t in farm.said] == [(2, "second"), (1, "first")]


def test_job_carries_what_the_call_asked_for() -> None:
    farm = Farm()
    farm.attach(language="de", hotwords=["Rechnung"], grammar=["ja", "nein"])
    farm.hear(frame(Mark.START, 120), frame(Mark.END, 1, at=120))
    said = farm.jobs[0].utterance
    assert (said.language, said.hotwords, said.grammar) == ("de", ("Rechnung",), ("ja", "nein"))
    assert farm.jobs[0].bucket is True


# --- failures of the decode


def test_stale_guess_leaves_the_final_to_the_endpoint(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 20), frame(Mark.PAUSE, 1, at=20, silence_ms=200))
    assert kinds(farm.core.lost(farm.jobs[0].job_id, farm.now_ns)) == ["Void"]
    assert kinds(farm.hear(frame(Mark.END, 1, at=36, silence_ms=520))) == ["Decode"]


def test_lost_guess_is_decoded_again_when_the_endpoint_waits_for_it(farm: Farm) -> None:
    farm.hear(
        frame(Mark.START, 20),
        frame(Mark.PAUSE, 1, at=20, silence_ms=200),
        frame(Mark.END, 1, at=36, silence_ms=520),
    )
    farm.note(farm.core.lost(farm.jobs[0].job_id, farm.now_ns))
    assert farm.jobs[1].priority is Priority.FINAL
    farm.decode("hello")
    assert [(t.kind, t.text) for t in farm.said] == [("final", "hello")]


def test_failed_final_is_an_empty_text(farm: Farm) -> None:
    farm.hear(frame(Mark.START), frame(Mark.END, at=1))
    farm.note(farm.core.lost(farm.jobs[0].job_id, farm.now_ns))
    assert [(t.kind, t.text, t.confidence) for t in farm.said] == [("final", "", 0.0)]


def test_loss_of_an_unknown_job_means_nothing(farm: Farm) -> None:
    assert farm.core.lost(99, farm.now_ns) == []


# --- a lossy stream


def test_gap_becomes_silence_and_is_counted(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 2), frame(at=5), frame(Mark.END, 0, at=6))
    heard = farm.jobs[0].utterance.samples.reshape(-1, FRAME)[:, 0]
    assert heard.tolist() == [7, 7, 0, 0, 0, 7]
    assert farm.core.losses["gap"] == 1


def test_audio_heard_twice_is_kept_once(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 4), frame(at=1, frames=2), frame(at=3, frames=3), frame(Mark.END, 0, at=6))
    assert len(farm.jobs[0].utterance.samples) == 6 * FRAME
    assert farm.core.losses["late"] == 1


def test_utterance_whose_start_was_lost_begins_with_silence(farm: Farm) -> None:
    farm.hear(frame(at=10, frames=2), frame(Mark.END, 0, at=12))
    assert len(farm.jobs[0].utterance.samples) == 12 * FRAME
    assert farm.core.losses["gap"] == 1


def test_audio_beyond_the_longest_utterance_is_not_kept(farm: Farm) -> None:
    most = LONGEST_MS // 20
    farm.hear(
        frame(Mark.START, most - 1),
        frame(at=most - 1, frames=5),
        frame(at=most + 4),
        frame(Mark.END, 0, at=10 * most),
    )
    assert len(farm.jobs[0].utterance.samples) == most * FRAME
    assert farm.core.losses["overlong"] == 2


@pytest.mark.parametrize(
    "bad",
    [
        UtteranceFrame("a", 1, 1, -1, Mark.AUDIO, b""),
        UtteranceFrame("a", 1, -1, 0, Mark.AUDIO, b""),
        UtteranceFrame("a", 1, 1, 0, Mark.AUDIO, b"odd"),
    ],
)
def test_malformed_frame_is_counted_and_harms_nothing(farm: Farm, bad: UtteranceFrame) -> None:
    farm.hear(frame(Mark.START))
    assert farm.hear(bad) == []
    farm.hear(frame(Mark.END, at=1))
    assert len(farm.jobs[0].utterance.samples) == 2 * FRAME
    assert farm.core.losses["malformed"] == 1


def test_change_of_rate_inside_an_utterance_is_refused(farm: Farm) -> None:
    farm.hear(frame(Mark.START))
    assert farm.core.frame(16_000, frame(at=1), farm.now_ns) == []
    assert farm.core.losses["late"] == 1


def test_utterance_without_end_is_ended_by_silence_on_the_stream(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 10))
    assert farm.later(SILENT_NS / NS_PER_MS) == []
    assert kinds(farm.later(1)) == ["Decode"]
    assert farm.later(10_000) == []
    assert farm.core.losses["silent"] == 1


def test_lost_end_after_a_pause_confirms_the_guess(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 20), frame(Mark.PAUSE, 1, at=20, silence_ms=200))
    farm.decode("hello")
    farm.later(SILENT_NS / NS_PER_MS + 1)
    assert [t.kind for t in farm.said] == ["speculative", "final"]


def test_new_turn_ends_one_whose_end_was_lost(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 10), frame(Mark.START, 1, turn=2))
    assert [job.turn for job in farm.jobs] == [1]
    assert farm.core.losses["silent"] == 1


# --- fencing


def test_frames_of_a_closed_turn_are_dropped(farm: Farm) -> None:
    farm.hear(frame(Mark.START, turn=3), frame(Mark.END, at=1, turn=3))
    assert farm.hear(frame(Mark.START, turn=3), frame(at=2, turn=3), frame(Mark.START, turn=2)) == []
    assert farm.core.losses["late"] == 3


def test_frames_of_an_older_epoch_are_dropped(farm: Farm) -> None:
    farm.hear(
        frame(Mark.START, epoch=2),
        frame(at=1, epoch=1),
        frame(Mark.START, turn=2, epoch=1),
        frame(Mark.END, 1, at=1, epoch=2),
    )
    assert len(farm.jobs) == 1
    assert farm.core.losses["late"] == 2


def test_start_with_a_higher_epoch_replaces_the_utterance(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 3), frame(Mark.START, 8, epoch=2), frame(Mark.END, 1, at=8, epoch=2))
    assert [len(job.utterance.samples) // FRAME for job in farm.jobs] == [9]


def test_start_with_a_higher_epoch_voids_the_final_of_the_same_turn(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 3), frame(Mark.END, 1, at=3))
    assert Void("a", 1) in farm.hear(frame(Mark.START, 3, epoch=2))
    assert farm.decode("old", job=0) == []
    farm.hear(frame(Mark.END, 1, at=3, epoch=2))
    farm.decode("new")
    assert [(t.text, t.epoch) for t in farm.said] == [("new", 2)]


def test_start_sent_twice_changes_nothing(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 3), frame(Mark.START, 3), frame(Mark.END, 1, at=3))
    assert len(farm.jobs) == 1
    assert len(farm.jobs[0].utterance.samples) == 4 * FRAME


def test_new_epoch_of_the_attachment_keeps_the_utterance_and_names_the_new_dialogue(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 3))
    farm.attach(epoch=2, llm="llm-1.y")
    farm.hear(frame(at=3, epoch=1), frame(Mark.END, 1, at=4, epoch=2))
    assert len(farm.jobs[0].utterance.samples) == 5 * FRAME
    (final,) = farm.decode("hello")
    assert isinstance(final, Say)
    assert (final.llm, final.transcript.epoch) == ("llm-1.y", 2)


def test_older_attachment_is_ignored(farm: Farm) -> None:
    farm.attach(epoch=3, llm="new")
    farm.attach(epoch=2, llm="old")
    farm.hear(frame(Mark.START), frame(Mark.END, at=1))
    (final,) = farm.decode("x")
    assert isinstance(final, Say)
    assert final.llm == "new"


# --- attach and detach


def test_frames_before_the_attachment_wait_for_it() -> None:
    farm = Farm()
    assert farm.hear(frame(Mark.START, 3), frame(Mark.END, 1, at=3)) == []
    assert kinds(farm.attach()) == ["Decode"]
    assert farm.core.calls() == 1


def test_frames_that_nobody_attaches_are_forgotten() -> None:
    farm = Farm()
    farm.hear(frame(Mark.START), frame(at=1))
    farm.later(EARLY_NS / NS_PER_MS + 1)
    assert farm.core.losses["unattached"] == 2
    assert farm.attach() == []


def test_frames_before_the_attachment_are_bounded_per_call_and_in_calls() -> None:
    farm = Farm()
    farm.hear(*(frame(at=n) for n in range(EARLY_FRAMES + 1)))
    farm.hear(*(frame(call=f"c{n}") for n in range(EARLY_CALLS)))
    assert farm.core.losses["unattached"] == 2


def test_call_beyond_capacity_is_not_attached() -> None:
    farm = Farm(capacity=1)
    farm.attach("a")
    farm.attach("b")
    assert farm.core.calls() == 1
    assert farm.core.losses["full"] == 1


def test_detached_call_goes_after_lingering(farm: Farm) -> None:
    farm.core.detach(SttDetach(call_id="a"), farm.now_ns)
    assert farm.core.calls() == 1
    farm.later(LINGER_NS / NS_PER_MS + 1)
    assert farm.core.calls() == 0


def test_end_that_overtook_the_detach_is_decoded(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 3))
    farm.core.detach(SttDetach(call_id="a"), farm.now_ns)
    farm.hear(frame(Mark.END, 1, at=3))
    farm.later(LINGER_NS / NS_PER_MS + 1)
    assert farm.core.calls() == 1
    farm.decode("bye")
    farm.later(1)
    assert farm.core.calls() == 0
    assert [t.text for t in farm.said] == ["bye"]


def test_last_words_before_the_hangup_are_decoded(farm: Farm) -> None:
    farm.hear(frame(Mark.START, 3))
    farm.core.detach(SttDetach(call_id="a"), farm.now_ns)
    farm.core.detach(SttDetach(call_id="a"), farm.now_ns + 1)
    assert kinds(farm.later(LINGER_NS / NS_PER_MS + 1)) == ["Decode"]
    farm.decode("wait")
    farm.later(1)
    assert farm.core.calls() == 0


def test_detach_of_an_unknown_call_forgets_its_frames() -> None:
    farm = Farm()
    farm.hear(frame(Mark.START))
    farm.core.detach(SttDetach(call_id="a"), farm.now_ns)
    assert farm.attach() == []
    assert farm.core.calls() == 1


def test_call_attached_again_while_it_leaves_stays(farm: Farm) -> None:
    farm.core.detach(SttDetach(call_id="a"), farm.now_ns)
    farm.attach(epoch=2)
    farm.later(LINGER_NS / NS_PER_MS + 1)
    assert farm.core.calls() == 1


def test_call_of_a_dead_media_worker_is_given_up() -> None:
    farm = Farm()
    farm.attach("a", media="dead")
    farm.attach("b", media="alive")
    for _ in range(3):
        farm.core.media_alive({"alive"}, farm.now_ns)
        farm.now_ms += MEDIA_GONE_NS // NS_PER_MS + 1
    farm.later(LINGER_NS / NS_PER_MS + 1)
    assert farm.core.calls() == 1


def test_media_worker_that_comes_back_keeps_its_calls(farm: Farm) -> None:
    for alive in ({}, {"media-0.x"}, {}, {"media-0.x"}):
        farm.core.media_alive(alive, farm.now_ns)
        farm.now_ms += MEDIA_GONE_NS // NS_PER_MS + 1
    farm.later(LINGER_NS / NS_PER_MS + 1)
    assert farm.core.calls() == 1


# --- the table


def test_every_step_but_the_last_leads_to_the_end() -> None:
    reach = {Step.GONE}
    for _ in Step:
        reach |= {step for step, row in TABLE.items() if any(after in reach for after, _ in row.values())}
    assert reach == set(Step)
    assert set(TABLE) == set(Step) - {Step.GONE}


def test_open_steps_take_every_mark() -> None:
    marks = {Happening.AUDIO, Happening.PAUSE, Happening.RESUME, Happening.END, Happening.ABORT}
    for step in (Step.LISTENING, Step.PAUSED, Step.GUESSED):
        assert marks <= set(TABLE[step])


def test_a_quiet_call_that_the_registry_does_not_know_twice_is_forgotten() -> None:
    said = Utterances(capacity=4, bucket=lambda _: 0)
    for call in ("gone", "lives"):
        said.attach(attach(call), 0)
    assert said.quiet(QUIET_NS) == []
    for check in (1, 2):
        now_ns = check * (QUIET_NS + 1)
        assert said.quiet(now_ns) == ["gone", "lives"]
        assert said.calls() == 2
        said.checked("gone", now_ns, known=False)
        said.checked("lives", now_ns, known=True)
        assert said.quiet(now_ns) == [], "asked once per while"
    said.expire(now_ns + LINGER_NS + 1)
    assert said.calls() == 1
    assert said.quiet(now_ns + QUIET_NS + 1) == ["lives"]


def test_a_call_that_is_heard_again_is_not_forgotten_for_an_old_check() -> None:
    said = Utterances(capacity=4, bucket=lambda _: 0)
    said.attach(attach(), 0)
    said.checked("a", QUIET_NS + 1, known=False)
    later_ns = 2 * QUIET_NS + 2
    said.frame(RATE, frame(Mark.START), later_ns)
    said.checked("a", later_ns, known=False)
    said.checked("another", later_ns, known=False)
    said.expire(later_ns + LINGER_NS + 1)
    assert said.calls() == 1
    said.checked("a", later_ns + QUIET_NS + 1, known=False)
    said.expire(later_ns + QUIET_NS + LINGER_NS + 2)
    assert said.calls() == 1, "the first miss since it was heard"
