from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.errors import EarmarkError
from lineage.manifests import RowRefused, formats, open_manifest
from lineage.manifests.lines import MAX_LINE


def read(path: Path, content: str | bytes) -> list[tuple[int, object]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    rows = open_manifest(path).rows()
    return [(r.line, r.values.reason if isinstance(r.values, RowRefused) else dict(r.values)) for r in rows]


def whole(path: Path, content: bytes) -> str:
    with pytest.raises(EarmarkError) as caught:
        read(path, content)
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, RowRefused)
    return str(caught.value)


def test_every_format_registers_itself() -> None:
    assert {"csv", "jsonl"} <= {f.name for f in formats()}


def test_json_lines_are_numbered_as_an_editor_does(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    assert read(path, '{"a": 1}\n\n  \r\n{"a": 2}\r\n{"a": 3}') == [(1, {"a": 1}), (4, {"a": 2}), (5, {"a": 3})]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"audio_path": "a.wav", "te', "line"),
        (b'{"audio_path": "a.wav"', "line"),
        (b"[1, 2]", "line"),
        (b"null", "line"),
        (b'"text"', "line"),
        (b"{'a': 1}", "line"),
        (b'{"a": NaN}', "value"),
        (b'{"a": -Infinity}', "value"),
        (b'{"a": 1, "a": 2}', "column"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "line"),
        (b'{"a": ' + b"[" * 100_000, "line"),
        (b'{"text": "caf\xe9"}', "line"),
        (b"x" * (MAX_LINE + 5), "line"),
    ],
)
def test_one_bad_line_costs_no_other(tmp_path: Path, line: bytes, reason: str) -> None:
    content = b'{"a": 1}\n' + line + b'\n{"a": 3}\n'
    assert read(tmp_path / "m.jsonl", content) == [(1, {"a": 1}), (2, reason), (3, {"a": 3})]


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv"])
@pytest.mark.parametrize(
    "content",
    ["file,text\na,b\n".encode("utf-16"), b"\x1f\x8b\x08\x00", b"PK\x03\x04xx", b"\x7fELF\x00\x00", b"a\x00b"],
)
def test_what_is_no_text_is_refused_whole(tmp_path: Path, name: str, content: bytes) -> None:
    assert whole(tmp_path / name, content).startswith(f"{tmp_path / name}:1: ")


def test_one_json_list_is_refused_whole(tmp_path: Path) -> None:
    assert "one object a line" in whole(tmp_path / "m.json", b'[{"a": 1}]')


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    assert read(tmp_path / "m.jsonl", b'\xef\xbb\xbf{"a": 1}') == [(1, {"a": 1})]
    assert read(tmp_path / "m.csv", b"\xef\xbb\xbffile,text\na.wav,hi\n") == [(2, {"file": "a.wav", "text": "hi"})]


def test_a_manifest_by_another_name_is_known_by_its_first_line(tmp_path: Path) -> None:
    assert read(tmp_path / "train_manifest", '{"a": 1}') == [(1, {"a": 1})]
    assert "known format" in whole(tmp_path / "notes.txt", b"hello")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_have_a_header(tmp_path: Path, delimiter: str) -> None:
    lines = [["path", "Sentence", "accent"], ["a.wav", '"one, two; ""three"""', ""], ["b.wav", "four", "scot"]]
    content = "\n".join(delimiter.join(line) for line in lines)
    assert read(tmp_path / "m.csv", content) == [
        (2, {"path": "a.wav", "Sentence": 'one, two; "three"'}),
        (3, {"path": "b.wav", "Sentence": "four", "accent": "scot"}),
    ]


def test_an_open_quote_costs_one_line(tmp_path: Path) -> None:
    content = 'file,text\na.wav,"open\nb.wav,two\nc.wav,three,extra\nd.wav\ne.wav,five\n'
    expected = [(2, "line"), (3, {"file": "b.wav", "text": "two"}), (4, "line"), (5, "line")]
    assert read(tmp_path / "m.csv", content) == [*expected, (6, {"file": "e.wav", "text": "five"})]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("foo,text", "names the audio"),
        ("audiopath,text", "did you mean 'audio_path'"),
        ("file,foo", "holds the words"),
        ("file,transcipt", "did you mean 'text'"),
        ("file,text,speker", "did you mean 'speaker'"),
        ("file,path,text", "keep one"),
        ("file,text,", "no name"),
        ('file,"text', "quote"),
    ],
)
def test_a_header_that_cannot_be_understood(tmp_path: Path, header: str, said: str) -> None:
    assert said in whole(tmp_path / "m.csv", f"{header}\na,b,c\n".encode())


def test_a_folder_has_one_table(tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match="no CSV in this folder"):
        open_manifest(tmp_path)
    (tmp_path / "list.jsonl").write_text("{}")
    with pytest.raises(EarmarkError, match=r"give .*list\.jsonl"):
        open_manifest(tmp_path)
    (tmp_path / "a.csv").write_text("file,text\n")
    assert open_manifest(tmp_path).path == tmp_path / "a.csv"
    (tmp_path / "b.csv").write_text("file,text\n")
    with pytest.raises(EarmarkError, match="several tables"):
        open_manifest(tmp_path)
    (tmp_path / "metadata.csv").write_text("file,text\n")
    assert open_manifest(tmp_path).path == tmp_path / "metadata.csv"


@pytest.mark.parametrize("path", ["nowhere.jsonl", "", "a\x00b", "x" * 5_000])
def test_a_manifest_that_is_not_there(tmp_path: Path, path: str) -> None:
    with pytest.raises(EarmarkError) as caught:
        open_manifest(tmp_path / path / "m.jsonl")
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass")))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_rows_or_one_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name in ("fuzz.jsonl", "fuzz.csv"):
        lines = content.count(b"\n") + 1
        try:
            rows = read(folder / name, content)
        except EarmarkError as error:
            said = str(error)
        else:
            said = str(folder / name)
            assert len({line for line, _ in rows}) == len(rows) <= lines
        assert said.startswith(str(folder / name))


@given(st.dictionaries(st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.text(), max_size=5))
@settings(max_examples=60, deadline=None)
def test_what_was_written_as_json_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, row: dict[str, object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "back.jsonl"
    assert read(path, json.dumps(row)) == [(1, row)]
