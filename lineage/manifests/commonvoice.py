"""Common Voice: `train.tsv`, `validated.tsv` … beside a folder `clips`.

    client_id  path  sentence  up_votes  down_votes  age  gender  accents  variant  locale  segment

`client_id` stands for the speaker, `locale` for the language. Cells are not quoted: a quotation mark in a sentence is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lineage.manifests import Format, Row, RowRefused, register
from lineage.manifests.lines import check_text, numbered_lines

REQUIRED = frozenset(("client_id", "path", "sentence"))
KEPT = ("age", "gender", "accents", "variant", "up_votes", "down_votes")


def _locate(path: Path) -> Path | None:
    if path.suffix.lower() != ".tsv" or not path.is_file():
        return None
    header = check_text(path).partition(b"\n")[0].decode("utf-8", "replace")
    return path if set(header.strip().split("\t")) >= REQUIRED else None


def _read(path: Path) -> Iterator[Row]:
    lines = numbered_lines(path)
    _, first = next(lines)
    header = first.split("\t") if isinstance(first, str) else []
    for number, text in lines:
        if isinstance(text, RowRefused):
            yield Row(number, text)
            continue
        cells = text.split("\t")
        if len(cells) != len(header):
            problem = f"line has {len(cells)} cells where the header has {len(header)} columns"
            yield Row(number, RowRefused("line", problem, "copy the file again"))
            continue
        row = {name: cell for name, cell in zip(header, cells, strict=True) if cell.strip()}
        clip = row.get("path", "")
        yield Row(
            number,
            {
                "audio_path": f"clips/{clip}" if "." in clip else f"clips/{clip}.mp3",
                "text": row.get("sentence"),
                "speaker": row.get("client_id"),
                "language": row.get("locale"),
                **{name: row[name] for name in KEPT if name in row},
            },
        )


register(Format("commonvoice", _locate, _read))
