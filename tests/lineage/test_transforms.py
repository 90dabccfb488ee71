from __future__ import annotations

import uuid
from collections import Counter

import pytest
from pydantic import ValidationError

from lineage import transforms
from lineage.errors import EarmarkError
from lineage.transforms import Draw, Parent
from tests.lineage.sounds import sound

ONE, TWO = uuid.UUID(int=1), uuid.UUID(int=2)


def test_parameters_decide_the_transform_id_and_their_spelling_does_not() -> None:
    level = transforms.find("level")
    one, same, other = (transforms.row("level", level.check({"gain_db": g})) for g in (3, "3.0", 4))
    assert one == same
    assert one["transform_id"] != other["transform_id"]


def test_the_code_that_decides_the_sound_is_part_of_the_id() -> None:
    row = transforms.row("mono", {})
    assert row["code_version"] == transforms.code_version()
    assert set(transforms.PACKAGES) == {"numpy", "soxr"}
    assert all(name in row["packages"] for name in transforms.PACKAGES)


def test_every_transform_says_what_it_does() -> None:
    names = {t.name for t in transforms.transforms()}
    assert names >= {"resample", "mono", "trim", "segment", "concat", "noise", "speed", "level"}
    assert all(t.doc.endswith(".") for t in transforms.transforms())


def test_draws_depend_on_seed_parents_and_name_alone() -> None:
    assert Draw(1, [ONE]).unit(b"start") == Draw(1, [ONE]).unit(b"start")
    numbers = {d.unit(w) for d in (Draw(1, [ONE]), Draw(2, [ONE]), Draw(1, [TWO])) for w in (b"start", b"end")}
    assert len(numbers) == 6
    assert all(0 <= n < 1 for n in numbers)
    assert Draw(7, [uuid.UUID(int=7)]).unit(b"golden") == 0.6833046911909827


def test_choices_are_even_and_stay_when_others_go() -> None:
    pool = [uuid.UUID(int=i) for i in range(4)]
    drawn = {s: Draw(0, [uuid.UUID(int=s)]).choose(pool) for s in range(2_000)}
    assert all(400 < n < 600 for n in Counter(drawn.values()).values())
    rest = pool[1:]
    assert all(Draw(0, [uuid.UUID(int=s)]).choose(rest) == c for s, c in drawn.items() if c != pool[0])


@pytest.mark.parametrize("name", ["resample", "noise", "speed", "level"])
def test_what_has_to_be_given_has_no_default(name: str) -> None:
    with pytest.raises(EarmarkError, match="field required"):
        transforms.find(name).check({})
    with pytest.raises(ValidationError):
        transforms.find(name).parameters()


def test_trim_cuts_times_first_and_silence_then() -> None:
    parent = Parent(ONE, sound(1.0), {})
    result = transforms.trim([parent], Draw(0, [ONE]), start_s=0.25, end_s=0.25)
    assert result.wave.duration_s == 0.5
    assert (result.placements[0].parent_start_s, result.placements[0].duration_s) == (0.25, 0.5)
