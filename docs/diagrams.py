"""Writes docs/states.md: every state machine of the farm as a diagram, made of its transition table.

Run `python docs/diagrams.py` (make docs); a test fails when the page is not what the tables say.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from aiworker.core import turn, utterances  # noqa: E402  the checkout is put on the path first
from mediaworker.core.calls import floor  # noqa: E402
from sipfront.core import call, lease, transaction  # noqa: E402

MACHINES: list[tuple[str, str, Mapping[Any, Mapping[Any, tuple[Any, Any]]]]] = [
    ("INVITE server transaction (RFC 3261 section 17.2.1, RFC 6026)", "sipfront/core/transaction.py", transaction.INVITE_SERVER),
    ("Other server transactions (section 17.2.2)", "sipfront/core/transaction.py", transaction.OTHER_SERVER),
    ("INVITE client transaction (section 17.1.1)", "sipfront/core/transaction.py", transaction.INVITE_CLIENT),
    ("Other client transactions (section 17.1.2)", "sipfront/core/transaction.py", transaction.OTHER_CLIENT),
    ("A call at the front", "sipfront/core/call.py", call.CALL),
    ("Renegotiation within a call", "sipfront/core/call.py", call.RENEGOTIATION),
    ("What the front holds of a call on a media worker", "sipfront/core/lease.py", lease.LEASE),
    ("The floor of a call at the media worker", "mediaworker/core/calls/floor.py", floor.TABLE),
    ("An utterance at the STT worker", "aiworker/core/utterances.py", utterances.TABLE),
    ("A turn at the LLM worker", "aiworker/core/turn.py", turn.TABLE),
]  # fmt: skip


def name(item: Any) -> str:
    return item.name if isinstance(item, Enum) else str(item)


def diagram(table: Mapping[Any, Mapping[Any, tuple[Any, Any]]]) -> list[str]:
    """A state diagram: one arrow per pair of states, labelled with the events that lead along it."""
    lines = ["```mermaid", "stateDiagram-v2"]
    for state, row in table.items():
        along: dict[str, list[str]] = defaultdict(list)
        for event, (after, _) in row.items():
            along[name(after)].append(name(event))
        lines += [f"  {name(state)} --> {after}: {', '.join(events)}" for after, events in along.items()]
    return [*lines, "```"]


def listing(table: Mapping[Any, Mapping[Any, tuple[Any, Any]]]) -> list[str]:
    """The same as a table, with what is done."""
    lines = ["| state | event | next | does |", "|---|---|---|---|"]
    for state, row in table.items():
        for event, (after, done) in row.items():
            deeds = ", ".join(name(deed) for deed in done) if isinstance(done, tuple) else name(done)
            lines.append(f"| {name(state)} | {name(event)} | {name(after)} | {deeds} |")
    return lines


def page() -> str:
    lines = [
        "<!-- made by docs/diagrams.py from the transition tables; do not edit -->", "# State machines", "",
        "An event that a state does not list is refused and changes nothing.", "",
    ]  # fmt: skip
    for title, path, table in MACHINES:
        lines += [f"## {title}", "", f"`{path}`", "", *diagram(table), "", *listing(table), ""]
    return "\n".join(lines)


PAGES = {"states.md": page}


def main() -> None:
    for file, made in PAGES.items():
        (HERE / file).write_text(made().rstrip() + "\n")


if __name__ == "__main__":
    main()
