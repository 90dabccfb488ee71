from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field

from lineage.fields import fields, markdown, parts
from lineage.written import Written


class Apple(BaseModel):
    """A fruit."""

    kind: Literal["apple"] = "apple"
    weight: float = Field(gt=0, lt=1, description="In kilograms.")


class Pear(BaseModel):
    """Another."""

    kind: Literal["pear"] = "pear"


class Basket(Written):
    """What is carried home.

    More of it.
    """

    KIND: ClassVar[str] = "basket"

    name: str = Field(description="What people | call it.")
    colour: Literal["red", "green"] | None = Field(None, description="Of all of them.")
    inside: tuple[Annotated[Apple | Pear, Field(discriminator="kind")], ...] = Field((), description="Fruit.")
    count: dict[str, int] = Field({}, description="By name.")


def test_every_field_is_told_with_type_limits_default_and_meaning() -> None:
    told = {f.name: (f.type, f.default, f.meaning) for f in fields(Basket)}
    assert told == {
        "name": ("text", None, "What people | call it."),
        "colour": ("`red` or `green`", "null", "Of all of them."),
        "inside": ("list of fields", "[]", "Fruit."),
        "count": ("whole number by text", "{}", "By name."),
    }
    (_, weight) = fields(Apple)
    assert (weight.type, weight.default) == ("number, > 0, < 1", None)


def test_kinds_of_a_part_are_told_apart() -> None:
    assert parts(Basket) == {"inside: apple": Apple, "inside: pear": Pear}


def test_markdown_has_a_table_for_the_document_and_for_every_part() -> None:
    text = markdown([Basket])
    assert "## basket\n\nWhat is carried home.\n" in text
    assert "What people \\| call it." in text
    assert [line for line in text.splitlines() if line.startswith("###")] == [
        "### basket: `inside: apple`",
        "### basket: `inside: pear`",
    ]
