"""Writes the tables of docs/metrics.md from shared/metrics.py: `python deploy/prometheus/reference.py`.

Only what stands between the two marks is written; the words around them are people's.
"""

# ruff: noqa: INP001  a program in a folder of configuration, not a package
from collections.abc import Iterable
from pathlib import Path

from shared.metrics import CALL_FAMILIES, FAMILIES, Family

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
BEGIN, END = "<!-- tables: made by deploy/prometheus/reference.py -->", "<!-- end of tables -->"


def row(family: Family) -> str:
    name = f"{family.name}_total" if family.kind == "counter" else family.name
    return f"| `{name}` | {family.kind} | {', '.join(family.labels)} | {family.roles} | {family.help} |"


def table(families: Iterable[Family]) -> str:
    head = "| name | kind | labels | exported by | meaning |\n|---|---|---|---|---|\n"
    return head + "\n".join(row(family) for family in families)


def tables() -> str:
    return f"### /metrics\n\n{table(FAMILIES)}\n\n### /metrics/calls\n\n{table(CALL_FAMILIES)}\n"


def page(text: str) -> str:
    """The page with its tables written again."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
