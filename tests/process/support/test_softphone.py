"""Softphones that are written before any of them runs do not take each other's ports."""

import re
from pathlib import Path

import pytest

from tests.support.phone import tone
from tests.support.softphone import write_softphone

pytestmark = pytest.mark.process


def test_every_softphone_has_ports_of_its_own(tmp_path: Path) -> None:
    folders = [write_softphone(tmp_path / f"phone{n}", tone(700, 0.02, 0.3)) for n in range(3)]
    found = [(folder / "config").read_text() for folder in folders]
    for key in (r"sip_listen 127\.0\.0\.1:(\d+)", r"rtp_ports (\d+)"):
        assert len({re.findall(key, text)[0] for text in found}) == 3
