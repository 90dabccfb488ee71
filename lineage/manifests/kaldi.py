"""Kaldi data folders: `wav.scp` and `text`, and where there are any `segments`, `utt2spk`, `spk2gender`, `utt2lang`.

    wav.scp   RECORDING PATH          text     UTTERANCE WORDS …
    segments  UTTERANCE RECORDING START END    utt2spk  UTTERANCE SPEAKER

With `segments` each utterance is a part of a recording, without it an utterance is a recording. Commands (`sox … |`) are
never run: such a line is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from lineage.errors import EarmarkError
from lineage.manifests import Format, Line, Row, RowRefused, digest_of_files, register
from lineage.manifests.lines import check_text, numbered_lines

FILES = ("wav.scp", "text", "segments", "utt2spk", "spk2gender", "utt2lang")


def _locate(path: Path) -> Path | None:
    folder = path.parent if path.name == "wav.scp" else path
    return folder if (folder / "wav.scp").is_file() else None


def _digest(folder: Path, digest: Callable[[Path], str]) -> str:
    return digest_of_files(folder, (folder / name for name in FILES if (folder / name).is_file()), digest)


def _read(folder: Path) -> Iterator[Row]:
    check_text(folder / "wav.scp")
    if not (folder / "text").is_file():
        raise EarmarkError(
            f"{folder}: there is a wav.scp and no file 'text' — put the words there, one utterance a line"
        )
    words, speakers, genders, languages = (_table(folder / n) for n in ("text", "utt2spk", "spk2gender", "utt2lang"))

    def row(line: Line, utterance: str, place: str, **span: object) -> Row:
        if place.endswith("|"):
            mend = "write the audio to files and give their paths"
            return Row(line, RowRefused("no-audio", "wav.scp gives a command, which is not run", mend))
        speaker = speakers.get(utterance)
        return Row(
            line,
            {
                "audio_path": place,
                "text": words.get(utterance),
                "speaker": speaker,
                "gender": genders.get(speaker or ""),
                "language": languages.get(utterance),
                **span,
            },
        )

    if not (folder / "segments").is_file():
        for line, values in _fields(folder / "wav.scp", 2):
            yield Row(line, values) if isinstance(values, RowRefused) else row(line, *values)
        return
    places = _table(folder / "wav.scp")
    for line, values in _fields(folder / "segments", 4):
        if isinstance(values, RowRefused):
            yield Row(line, values)
            continue
        utterance, recording, start, end = values
        try:
            begin, length = float(start), float(end) - float(start)
        except ValueError:
            yield Row(line, RowRefused("value", f"'{start} {end:.20}' are no times", "give start and end in seconds"))
            continue
        if recording not in places:
            yield Row(line, RowRefused("no-audio", f"recording '{recording:.60}' is not in wav.scp", "add it there"))
            continue
        yield row(line, utterance, places[recording], offset=begin, duration=length)


def _fields(path: Path, count: int) -> Iterator[tuple[Line, list[str] | RowRefused]]:
    """The fields of each line; the last may hold white space."""
    for number, text in numbered_lines(path):
        line = Line(number, path.name)
        if isinstance(text, RowRefused):
            yield line, text
            continue
        fields = text.strip().split(None, count - 1)
        if len(fields) < count:
            problem = f"line has {len(fields)} fields of {count}"
            yield line, RowRefused("line", problem, "complete it")
        else:
            yield line, fields


def _table(path: Path) -> dict[str, str]:
    """Key and rest of each line that has both; lines that cannot be read leave their utterance without."""
    if not path.is_file():
        return {}
    return {fields[0]: fields[1] for _, fields in _fields(path, 2) if not isinstance(fields, RowRefused)}


register(Format("kaldi", _locate, _read, _digest))
