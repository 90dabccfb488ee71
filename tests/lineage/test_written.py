from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from lineage.errors import EarmarkError
from lineage.written import Written


class Circle(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["circle"] = "circle"
    radius: float = Field(gt=0, description="Of the circle, in metres.")


class Square(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["square"] = "square"
    side: float = Field(1.0, gt=0, description="Of the square, in metres.")


class Drawing(Written):
    KIND: ClassVar[str] = "drawing"
    BEGIN: ClassVar[str] = "name: NAME"

    name: str = Field(description="What people call it.")
    shapes: tuple[Annotated[Circle | Square, Field(discriminator="kind")], ...] = Field(
        (), min_length=1, description="What is on it."
    )
    sizes: int | tuple[int, ...] = Field(1, description="How large.")
    frames: tuple[Circle | str, ...] = Field((), description="What is around it.")
    inks: dict[Literal["red", "blue"], float] = Field({}, description="How much of each.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty, no drawing — write 'field: value' lines such as name: NAME"),
        ("- a", "is a list, no drawing"),
        ("nam: a", "unknown field 'nam' — did you mean 'name'?"),
        ("nam: a", "field 'name' is missing — add it: What people call it"),
        ("name: a\nzzz: 1", "unknown field 'zzz' — known fields are name, shapes, sizes, frames, inks"),
        ("name: a\nname: b", "line 2, column 1: 'name' is given twice — keep one of them"),
        ("name: a\nshapes: [{kind: circle, radius: -1}]", "greater than 0, not -1 — Of the circle, in metres"),
        ("name: a\nshapes: [{kind: square, radius: 1}]", "'shapes.0.square.radius' — known fields are kind, side"),
        ("name: a\nshapes: [{kind: circle}]", "'shapes.0.circle.radius' is missing — add it: Of the circle, in metres"),
        ("name: a\nshapes: [{kind: star}]", "field 'shapes.0'"),
        ("name: a\nshapes: []", "field 'shapes': is empty, not [] — What is on it"),
        ("name: a\nsizes: 1.5", "field 'sizes': input should be a valid integer, got a number with a fractional part"),
        ("name: a\nsizes: [a]", "field 'sizes.0': input should be a valid integer"),
        ("name: a\nframes: [{radius: -1}]", "field 'frames.0.Circle.radius': input should be greater than 0"),
        (
            "name: a\ninks: {green: 1}",
            "field 'inks.green': input should be 'red' or 'blue', not 'green' — How much of each",
        ),
        ("1: 2", "field 1 is not a name"),
        ("a: [", "line 1, column 5: not YAML"),
        ('"\\x1b[2J": 1', "unknown field '·[2J'"),
    ],
)
def test_mistakes_are_told_in_one_line_with_file_field_and_mend(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "drawing.yaml"
    path.write_text(text)
    with pytest.raises(EarmarkError) as caught:
        Drawing.load(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "drawing.yaml"
    with pytest.raises(EarmarkError, match="there is no drawing at"):
        Drawing.load(path)
    path.write_bytes(b"name: \xff")
    with pytest.raises(EarmarkError, match="byte 6 is not UTF-8"):
        Drawing.load(path)
    path.write_bytes(b"[" * 100_000)
    with pytest.raises(EarmarkError, match="nested too deeply"):
        Drawing.load(path)
    path.write_bytes(b"#" * (1 << 20) + b"#")
    with pytest.raises(EarmarkError, match="too large"):
        Drawing.load(path)


def test_documents_that_say_the_same_have_the_same_digest(tmp_path: Path) -> None:
    path = tmp_path / "drawing.yaml"
    path.write_text("shapes:\n  - radius: 2\n    kind: circle\nname: 'a'  # the first\n")
    other = Drawing.parse({"name": "a", "shapes": [{"kind": "circle", "radius": 2.0}]})
    assert Drawing.load(path).digest == other.digest
    assert Drawing.parse(other.model_dump(mode="json")) == other
