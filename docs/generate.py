"""Writes the reference pages that are made of the code: configuration, contracts, metrics.

Run `python docs/generate.py` (make docs); a test fails when a page is not what the code says. State diagrams are made
of the transition tables by `docs/diagrams.py`.
"""

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from shared.config import model  # noqa: E402  the checkout is put on the path first
from shared.contracts import contracts, control, events, speech  # noqa: E402
from shared.metrics import CALL_FAMILIES, FAMILIES  # noqa: E402

MADE = "<!-- made by docs/generate.py from the code; do not edit -->"


def field_notes(module: ModuleType) -> dict[str, dict[str, str]]:
    """Class name -> field name -> the docstring that follows the field."""
    notes: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef):
            notes[node.name] = dict(_notes_of(node))
    return notes


def _notes_of(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, note in zip(node.body, node.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(note, ast.Expr) and isinstance(note.value, ast.Constant):
            yield field.target.id, " ".join(str(note.value.value).split())


def cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def default_of(field: msgspec.structs.FieldInfo) -> str:
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if isinstance(value, msgspec.Struct):
        return "see below"
    if isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
        return "echo, parrot, transcribe, conf*, agent"
    return f"`{msgspec.json.encode(value).decode()}`"


def configuration() -> str:
    notes = field_notes(model) | {"TurnSettings": field_notes(control)["TurnSettings"]}
    lines = [MADE, "# Configuration", "", (inspect.getdoc(sys.modules["shared.config.load"]) or ""), ""]
    sections: list[tuple[str, Any]] = [
        (f.name, f.type) for f in msgspec.structs.fields(model.Config) if f.name != "routes"
    ]
    for name, cls in [*sections, ("routes[]", model.Route), ("routes[].turn", model.TurnSettings)]:
        lines += [
            f"## {name}",
            "",
            (inspect.getdoc(cls) or ""),
            "",
            "| key | default | meaning |",
            "|---|---|---|",
        ]
        for field in msgspec.structs.fields(cls):
            note = notes.get(cls.__name__, {}).get(field.name, "")
            lines.append(f"| `{field.name}` | {cell(default_of(field))} | {cell(note)} |")
        lines.append("")
    return "\n".join(lines)


def messages() -> str:
    notes = field_notes(control) | field_notes(speech) | field_notes(events)
    lines = [MADE, "# Messages", "", "Streams, writers and readers: [contracts.md](contracts.md).", ""]
    ours = {tag: cls for tag, cls in contracts().items() if cls.__module__.startswith("shared.")}
    for tag, cls in sorted(ours.items()):
        lines += [
            f"## {cls.__name__} `{tag}` version {cls.version}",
            "",
            (inspect.getdoc(cls) or "").strip(),
            "",
        ]
        lines += ["| field | type | meaning |", "|---|---|---|"]
        for field in msgspec.structs.fields(cls):
            kind = (
                inspect.formatannotation(field.type).replace("shared.contracts.", "").replace("typing.", "")
            )
            note = notes.get(cls.__name__, {}).get(field.name, "")
            lines.append(f"| `{field.name}` | {cell(kind)} | {cell(note)} |")
        lines.append("")
    return "\n".join(lines)


def metrics() -> str:
    lines = [MADE, "# Metrics", "", "Counters are exported with `_total`.", ""]
    for title, families in (("On /metrics", FAMILIES), ("On /metrics/calls, live calls only", CALL_FAMILIES)):
        lines += [f"## {title}", "", "| name | kind | roles | labels | meaning |", "|---|---|---|---|---|"]
        lines += [
            f"| `{f.name}` | {f.kind} | {f.roles} | {', '.join(f.labels)} | {cell(f.help)} |"
            for f in families
        ]
        lines.append("")
    return "\n".join(lines)


PAGES = {"configuration.md": configuration, "messages.md": messages, "metrics-reference.md": metrics}


def main() -> None:
    for name, page in PAGES.items():
        (HERE / name).write_text(page().rstrip() + "\n")


if __name__ == "__main__":
    main()
