"""Which STT engine a worker runs: what the configuration names, or, with `auto`, the best that can be had here.

`auto`: faster-whisper when its package is installed and the model is a directory, is in the hub's local cache, or the
hub answers; else PocketSphinx. Being offline is found out within a few seconds and never hangs.
"""

import importlib.util
import os
import threading
import urllib.request
from collections.abc import Callable
from importlib.resources import files
from queue import Empty, Queue

from aiworker.stt.apart import SphinxApart
from aiworker.stt.port import SttEngine
from aiworker.stt.whisper import FasterWhisper
from shared.config import SttConfig
from shared.errors import ConfigError, EngineMissing
from shared.log import get_log

log = get_log(__name__)

DEFAULT_MODEL = "base.en"
_PROBE_S = 3.0


def load_engine(config: SttConfig, *, hub_answers: Callable[[], bool] | None = None) -> SttEngine:
    """The engine, loaded. Raises EngineMissing that says what to install, ConfigError for a wrong grammar file."""
    wanted = config.engine
    if wanted == "auto":
        wanted = "faster-whisper" if can_have(config.model, hub_answers or hub_reachable) else "pocketsphinx"
    if wanted == "pocketsphinx":
        return _loaded(SphinxApart(sentences(config)))
    try:
        return _loaded(whisper(config))
    except EngineMissing as error:
        if config.engine != "auto":
            raise
        log.warning("faster-whisper cannot be had, taking pocketsphinx", problem=str(error))
        return _loaded(SphinxApart(sentences(config)))


def whisper(config: SttConfig) -> FasterWhisper:
    """The Whisper engine as configured, not loaded."""
    return FasterWhisper(
        config.model or DEFAULT_MODEL, device=config.device, compute_type=config.compute_type,
        threads=config.threads, batch_max=config.batch_max, window_s=config.window_s,
    )  # fmt: skip


def sentences(config: SttConfig) -> list[str]:
    """The lines of the grammar file, the demo's when none is configured."""
    if not config.grammar:
        return (files("aiworker.stt") / "demo_sentences.txt").read_text(encoding="utf-8").splitlines()
    try:
        with open(config.grammar, encoding="utf-8") as file:
            return file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("stt.grammar", f"{config.grammar}: {error}") from error


def can_have(model: str, hub_answers: Callable[[], bool]) -> bool:
    """Whether loading a Whisper model is worth trying."""
    if importlib.util.find_spec("faster_whisper") is None:
        return False
    if os.path.isdir(model):
        return os.path.isfile(os.path.join(model, "model.bin"))
    return _cached(model or DEFAULT_MODEL) or hub_answers()


def hub_reachable() -> bool:
    """Whether the model hub answers; at the latest after `_PROBE_S`, for a resolver may block longer than a socket."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        return False
    base = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    answer: Queue[bool] = Queue()
    threading.Thread(target=lambda: answer.put(_hub_answers(base)), daemon=True).start()
    try:
        return answer.get(timeout=_PROBE_S)
    except Empty:
        return False


def _hub_answers(base: str) -> bool:
    try:
        request = urllib.request.Request(f"{base}/api/models?limit=1", method="HEAD")  # noqa: S310  operator's endpoint
        with urllib.request.urlopen(request, timeout=_PROBE_S):  # noqa: S310
            return True
    except (OSError, ValueError):
        return False


def _cached(model: str) -> bool:
    from faster_whisper.utils import download_model  # noqa: PLC0415  an optional extra

    try:
        download_model(model, local_files_only=True)
    except (OSError, ValueError):
        return False
    return True


def _loaded(engine: SttEngine) -> SttEngine:
    engine.load()
    return engine
