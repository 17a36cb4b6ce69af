import socket
from pathlib import Path

import pytest

from aiworker.stt.choose import can_have, hub_reachable, load_engine, sentences, whisper
from shared.config import SttConfig
from shared.errors import ConfigError, EngineMissing
from tests.support.tone_whisper import cached_model

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An address where nothing listens stands for the hub, an empty folder for its cache."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def never() -> bool:
    raise AssertionError("the hub was asked")


def test_auto_takes_whisper_when_the_model_is_a_directory() -> None:
    engine = load_engine(
        SttConfig(model=str(cached_model()), device="cpu", compute_type="float32"), hub_answers=never
    )
    assert engine.name.startswith("faster-whisper voicefarm-tones")


def test_auto_takes_pocketsphinx_without_a_hub() -> None:
    assert (
        load_engine(SttConfig(model="no-such-model"), hub_answers=lambda: False).name == "pocketsphinx en-us"
    )


def test_auto_takes_pocketsphinx_when_the_model_cannot_be_loaded_after_all() -> None:
    assert (
        load_engine(SttConfig(model="no-such-model"), hub_answers=lambda: True).name == "pocketsphinx en-us"
    )


def test_auto_does_not_take_a_directory_without_a_model(tmp_path: Path) -> None:
    assert not can_have(str(tmp_path), never)


def test_named_engine_is_not_replaced() -> None:
    with pytest.raises(EngineMissing, match="no-such-model"):
        load_engine(SttConfig(engine="faster-whisper", model="no-such-model"), hub_answers=never)


def test_named_pocketsphinx_asks_nobody() -> None:
    assert load_engine(SttConfig(engine="pocketsphinx"), hub_answers=never).name == "pocketsphinx en-us"


def test_whisper_is_made_as_configured() -> None:
    engine = whisper(SttConfig(model="/models/tiny", batch_max=3))
    assert (engine.name, engine.batch_max) == ("faster-whisper tiny", 3)


def test_grammar_of_the_demo_is_the_default() -> None:
    assert "weasels have eaten our phone system" in sentences(SttConfig())


def test_grammar_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "menu").write_text("yes\nno\n")
    assert sentences(SttConfig(grammar=str(tmp_path / "menu"))) == ["yes", "no"]


def test_missing_grammar_file_names_the_key() -> None:
    with pytest.raises(ConfigError) as caught:
        sentences(SttConfig(grammar="/no/such/file"))
    assert caught.value.key == "stt.grammar"


def test_hub_is_not_asked_when_told_to_stay_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert not hub_reachable()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_hub_that_refuses_is_not_reachable() -> None:
    assert not hub_reachable()


def test_hub_that_is_no_address_is_not_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "nonsense")
    assert not hub_reachable()


def test_hub_that_answers_is_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}/")
        import threading  # noqa: PLC0415

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(4_096)
                peer.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        assert hub_reachable()
        server.join()
