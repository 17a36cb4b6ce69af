"""espeak-ng in this process, through ctypes and the library that the espeakng-loader wheel carries.

Synchronous mode: the callback gets audio while the sentence is being made, and ends it from inside (first audio after
0.1-0.35 ms, a cancel within 0.4 ms; FACTS section 5). The library keeps global state, so one thread of the process
speaks. espeak-ng is GPL-3.0: it comes with the extra `embedded`, never with the core.
API: speak_lib.h of espeak-ng 1.52.
"""

import asyncio
import ctypes
import importlib
import re
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import numpy as np
import soxr

from aiworker.core.frames import Samples
from aiworker.tts.port import Sentence
from shared.errors import EngineError, EngineMissing

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS
_DO_NOT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT
_UTF8 = 1  # espeakCHARS_UTF8
_RATE, _VOLUME = 1, 2  # espeakRATE, espeakVOLUME
_BUFFER_MS = 60
_VOLUME_PERCENT = 70
_STOP, _GO_ON = 1, 0
_VOICE = re.compile(r"[A-Za-z0-9+_-]{1,32}")
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class EspeakEngine:
    """The synthesiser of a process; a second one in the same process would share its global state."""

    name = "espeak"
    parallel = 1

    def __init__(self, voice: str = "en-us", rate_wpm: int = 165) -> None:
        self._voice = voice
        self._rate_wpm = rate_wpm
        self._library: Any = None
        self._rate_hz = 0
        self._set_voice = ""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="espeak")

    async def load(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._load)

    async def synthesise(self, sentence: Sentence) -> AsyncGenerator[Samples, None]:
        """The sentence's text bounds how much audio waits in the queue here."""
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[Samples | None] = asyncio.Queue()
        stop = Event()

        def give(audio: Samples | None) -> None:
            loop.call_soon_threadsafe(chunks.put_nowait, audio)

        def work() -> None:
            try:
                self._speak(sentence, give, stop)
            finally:
                give(None)

        running = loop.run_in_executor(self._thread, work)
        running.add_done_callback(_seen)
        try:
            while (audio := await chunks.get()) is not None:
                yield audio
            await running
        finally:
            stop.set()

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    # --- in the thread

    def _load(self) -> None:
        try:
            loader = importlib.import_module("espeakng_loader")
            library = ctypes.CDLL(loader.get_library_path())
        except (ImportError, OSError) as error:
            raise EngineMissing(
                f"espeak-ng is not installed ({error}): pip install 'voicefarm[embedded]' (espeakng-loader, GPL-3.0)"
            ) from error
        data = str(loader.get_data_path()).encode()
        self._rate_hz = library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, data, _DO_NOT_EXIT)
        if self._rate_hz <= 0:
            raise EngineMissing(f"espeak-ng cannot read its data in {data.decode()}")
        library.espeak_SetParameter(_RATE, self._rate_wpm, 0)
        library.espeak_SetParameter(_VOLUME, _VOLUME_PERCENT, 0)
        self._library = library
        self._speak(
            Sentence("Hello."), lambda _audio: None, Event()
        )  # the voice is loaded with the first word

    def _speak(self, sentence: Sentence, give: Callable[[Samples], None], stop: Event) -> None:
        if stop.is_set():
            return
        if self._library is None:
            raise EngineError("espeak-ng was not loaded")
        self._choose_voice(sentence)
        resampler = soxr.ResampleStream(self._rate_hz, sentence.rate_hz, 1, dtype="int16", quality="HQ")

        def on_audio(wav: Any, count: int, _events: Any) -> int:
            if stop.is_set():
                return _STOP
            if wav and count > 0:
                audio = resampler.resample_chunk(np.ctypeslib.as_array(wav, (count,)))
                if audio.size:
                    give(audio)
            return _GO_ON

        callback = _Callback(on_audio)
        self._library.espeak_SetSynthCallback(callback)
        text = sentence.text.replace("\0", " ").encode()
        status = self._library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, 1, 0, _UTF8, None, None)
        if status != 0:
            raise EngineError(f"espeak-ng refused the sentence: status {status}")
        rest = resampler.resample_chunk(np.zeros(0, np.int16), last=True)
        if rest.size and not stop.is_set():
            give(rest)

    def _choose_voice(self, sentence: Sentence) -> None:
        """The sentence's voice, else one of its language, else the engine's own."""
        own_language = self._voice.partition("-")[0] == sentence.language.partition("-")[0]
        fallback = self._voice if own_language else sentence.language
        for voice in (sentence.voice, fallback, self._voice):
            if voice and voice == self._set_voice:
                return
            if _VOICE.fullmatch(voice) and self._library.espeak_SetVoiceByName(voice.encode()) == 0:
                self._set_voice = voice
                return
        raise EngineError(f"espeak-ng has no voice {sentence.voice!r} and no {sentence.language!r}")


def _seen(done: "asyncio.Future[None]") -> None:
    """What failed after its listener left is nobody's concern."""
    if not done.cancelled():
        done.exception()
