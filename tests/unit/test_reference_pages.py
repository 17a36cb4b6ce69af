"""The reference pages in docs/ are what the code says."""

import importlib.util
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

DOCS = Path(__file__).resolve().parents[2] / "docs"
_spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
assert _spec is not None
assert _spec.loader is not None
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)


@pytest.mark.parametrize("name", sorted(generate.PAGES))
def test_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text() == generate.PAGES[name]().rstrip() + "\n", "run `make docs`"
