"""Which sockets are taken, and that a machine without the compiled loop has a worker all the same."""

import importlib.machinery
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mediaworker.core.engine import Engine
from mediaworker.io import compiled_sockets
from mediaworker.io.compiled_sockets import compiled_library
from mediaworker.io.linux_sockets import supported
from mediaworker.io.sockets import KINDS, SocketsKind, able, able_here, choose, name_of, open_sockets
from shared.errors import ConfigError

pytestmark = pytest.mark.process

SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]
SOURCE = Path(compiled_sockets.__file__).with_name("datagrams.c")


def test_the_best_sockets_of_this_machine_are_taken() -> None:
    opened = open_sockets(Engine(2, phases=1), "127.0.0.1")
    missing = able_here()
    assert not missing[name_of(opened)]
    assert all(missing[name] for name in list(KINDS)[: list(KINDS).index(name_of(opened))])
    opened.close_all()


@pytest.mark.parametrize("kind", KINDS)
def test_sockets_that_are_asked_for_are_taken(kind: SocketsKind) -> None:
    if why := able_here()[kind]:
        pytest.skip(why)
    opened = open_sockets(Engine(2, phases=1), "127.0.0.1", kind)
    assert name_of(opened) == kind
    opened.close_all()


@pytest.mark.parametrize(
    ("fitting", "built", "rings", "best"),
    [
        (True, True, True, "uring"),
        (True, True, False, "compiled"),
        (True, False, False, "ctypes"),
        (False, False, False, "portable"),
    ],
)
def test_the_cheapest_that_the_machine_has_is_chosen(
    fitting: bool, built: bool, rings: bool, best: str
) -> None:
    assert choose("auto", able(fitting=fitting, built=built, rings=rings)) == best


@pytest.mark.parametrize(
    ("kind", "fitting", "built", "why"),
    [
        ("uring", True, True, "io_uring"),
        ("uring", True, False, "datagrams.c"),
        ("compiled", True, False, "datagrams.c"),
        ("compiled", False, False, "Linux"),
        ("ctypes", False, False, "Linux"),
    ],
)
def test_sockets_that_the_machine_cannot_have_are_refused_by_name(
    kind: SocketsKind, fitting: bool, built: bool, why: str
) -> None:
    with pytest.raises(ConfigError, match=f"media.sockets.*{kind}.*{why}"):
        choose(kind, able(fitting=fitting, built=built, rings=False))


@pytest.mark.skipif(bool(able_here()["uring"]), reason=able_here()["uring"] or "none")
def test_a_ring_goes_with_its_sockets() -> None:
    """Many workers' worth of them: each is a descriptor and locked memory."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(30):
        opened = open_sockets(Engine(2, phases=1), "127.0.0.1", "uring")
        opened.close_all()
        opened.close_all()
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_library_and_a_strange_one_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    assert compiled_library("vf_no_such_module") is None
    (tmp_path / f"vf_no_library{SUFFIX}").write_bytes(b"no library")
    assert compiled_library("vf_no_library") is None


@pytest.mark.skipif(
    shutil.which("cc") is None or not supported(), reason="no C compiler, or not 64-bit Linux"
)
def test_a_library_of_another_version_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    source = SOURCE.read_text()
    assert "#define ABI " in source
    for name, text in (("vf_same", source), ("vf_other", source.replace("#define ABI ", "#define ABI 99"))):
        (tmp_path / f"{name}.c").write_text(text)
        target = tmp_path / f"{name}{SUFFIX}"
        command = [
            "cc",
            "-shared",
            "-fPIC",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-o",
            target,
            tmp_path / f"{name}.c",
        ]
        subprocess.run(command, check=True)
    assert compiled_library("vf_same") is not None
    assert compiled_library("vf_other") is None
