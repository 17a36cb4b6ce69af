"""Every reason for a refusal is known: in the code, in the table, in the page."""

import re
from pathlib import Path

import pytest

from mediaworker.core.refusals import REASONS
from tests.support.processes import REPO

pytestmark = pytest.mark.unit

USED = re.compile(
    r"""rejected\[f?"([a-z_]+)(\{reason\})?"(?: if [^"]+ else "([a-z_]+)")?\]|self\._count\("([a-z_]+)", """
)


def used_in(source: Path) -> set[str]:
    found = set()
    for first, computed, other, counted in USED.findall(source.read_text()):
        found |= (
            {first + part for part in ("auth", "replay", "format")} if computed else {first, other, counted}
        )
    return found - {""}


def test_the_code_counts_by_the_reasons_of_the_table_and_by_no_others() -> None:
    sources = [path for path in (REPO / "mediaworker").rglob("*.py") if path.name != "reports.py"]
    used = set().union(*(used_in(path) for path in sources))
    used |= {"rtcp_source", "rtcp_format", "rtcp_ssrc"}
    assert used == set(REASONS)


def test_reports_count_by_reasons_of_the_table() -> None:
    text = (REPO / "mediaworker" / "core" / "reporting" / "reports.py").read_text()
    assert set(re.findall(r'rejected\["([a-z_]+)"\]', text)) == {"rtcp_source", "rtcp_format", "rtcp_ssrc"}


def test_the_page_has_the_table() -> None:
    rows = re.findall(
        r"^\| `([a-z_]+)` \| (.+) \|$", (REPO / "docs" / "media-security.md").read_text(), re.MULTILINE
    )
    assert dict(rows) == REASONS
