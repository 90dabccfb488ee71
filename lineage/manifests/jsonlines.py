"""JSON lines: one object a line, with Earmark's own column names or NeMo's.

    {"audio_path": "clips/a.wav", "text": "turn on the light", "speaker": "anna", "accent": "scot"}
    {"audio_filepath": "clips/talk.wav", "offset": 12.5, "duration": 3.1, "text": "turn it off"}

Any further member is an attribute.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from lineage.errors import EarmarkError
from lineage.manifests import Format, Row, RowRefused, register
from lineage.manifests.lines import check_text, numbered_lines

SUFFIXES = (".jsonl", ".json", ".ndjson")
PREFERRED = ("metadata.jsonl", "manifest.jsonl")


def _locate(path: Path) -> Path | None:
    if path.is_dir():
        return next((path / name for name in PREFERRED if (path / name).is_file()), None)
    if path.suffix.lower() in SUFFIXES:
        return path
    try:
        return path if check_text(path).lstrip().startswith(b"{") else None
    except EarmarkError:
        return None


def _read(path: Path) -> Iterator[Row]:
    if check_text(path).lstrip().startswith(b"["):
        raise EarmarkError(f"{path}:1: the manifest is one JSON list — write one object a line, e.g. jq -c '.[]'")
    for number, line in numbered_lines(path):
        yield Row(number, line if isinstance(line, RowRefused) else parse(line))


def parse(line: str) -> dict[str, object] | RowRefused:
    """The object that a line holds, or why it holds none."""
    try:
        value = json.loads(line, object_pairs_hook=_members, parse_constant=_no_constant)
    except RowRefused as refused:
        return refused
    except RecursionError:
        return RowRefused("line", "line is nested too deeply", "give plain values")
    except json.JSONDecodeError as error:
        cut = error.pos >= len(line.rstrip()) or error.msg.startswith("Unterminated")
        what = "is cut short" if cut else f"is not JSON ({error.msg} at column {error.colno})"
        return RowRefused("line", f"line {what}", "complete it: one JSON object a line")
    except ValueError:
        return RowRefused("line", "line holds a number with too many digits", "write numbers as they were measured")
    if not isinstance(value, dict):
        return RowRefused("line", f"line is {_kind(value)}, not an object", 'write {"audio_path": …, "text": …}')
    return value


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RowRefused("column", f"column '{twice:.40}' stands twice in one line", "keep one")
    return members


def _no_constant(name: str) -> NoReturn:
    raise RowRefused("value", f"{name} is not a number that JSON knows", "leave the column out")


def _kind(value: object) -> str:
    return {list: "a list", str: "a string", bool: "true or false", type(None): "null"}.get(type(value), "a number")


register(Format("jsonl", _locate, _read))
