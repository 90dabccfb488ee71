from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

import numpy as np
import pytest

from lineage.derivation import transforms
from lineage.derivation.chance import Draw, is_drawn, settle
from lineage.errors import EarmarkError

ONE, TWO = uuid.UUID(int=1), uuid.UUID(int=2)


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


def test_many_numbers_are_like_single_ones() -> None:
    drawn = Draw(7, [ONE]).units(b"tail", 4_000)
    assert np.array_equal(drawn[:10], Draw(7, [ONE]).units(b"tail", 10))
    assert not np.array_equal(drawn[:10], Draw(8, [ONE]).units(b"tail", 10))
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert drawn.mean() == pytest.approx(0.5, abs=0.02)
    assert drawn[:2] == pytest.approx([0.25682968, 0.75904244], abs=1e-8)


def test_a_range_is_drawn_from_evenly_and_within_its_ends() -> None:
    checked = transforms.find("level").check({"gain_db": [-6, "6"]})
    assert checked == {"gain_db": [-6.0, 6.0]}
    drawn = [settle(checked, Draw(0, [uuid.UUID(int=i)]))["gain_db"] for i in range(2_000)]
    assert min(drawn) >= -6
    assert max(drawn) <= 6
    assert np.mean(drawn) == pytest.approx(0, abs=0.3)
    assert np.std(drawn) == pytest.approx(12 / np.sqrt(12), abs=0.2)


def test_names_are_drawn_from_a_list() -> None:
    checked = transforms.find("codec").check({"codec": ["mp3", "opus", "gsm"]})
    assert is_drawn(checked)
    drawn = Counter(settle(checked, Draw(0, [uuid.UUID(int=i)]))["codec"] for i in range(900))
    assert set(drawn) == {"mp3", "opus", "gsm"}
    assert min(drawn.values()) > 240


def test_plain_values_stay() -> None:
    checked = transforms.find("codec").check({"codec": "opus", "compression": "0.5"})
    assert not is_drawn(checked)
    assert settle(checked, Draw(0, [ONE])) == checked == {"codec": "opus", "compression": 0.5}


def test_a_range_is_another_transform_than_a_value() -> None:
    level = transforms.find("level")
    rows = [transforms.row("level", level.check({"gain_db": g}))["transform_id"] for g in (3, [3, 3], [3, 4])]
    assert len(set(rows)) == 3


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("level", {"gain_db": [3, 1]}, "gain_db of level: a range goes upwards"),
        ("level", {"gain_db": [1, 2, 3]}, "gain_db of level: a range has two ends"),
        ("level", {"gain_db": []}, "two ends"),
        ("level", {"gain_db": [0, 61]}, "less than or equal to 60"),
        ("level", {"gain_db": ["quiet", "loud"]}, "valid number"),
        ("level", {"gain_db": [0, float("nan")]}, "finite number"),
        ("codec", {"codec": []}, "at least one name"),
        ("codec", {"codec": ["mp3", "mp4"]}, "'mp3', 'vorbis'"),
        ("resample", {"rate": [8_000, 16_000]}, "valid integer"),
    ],
)
def test_impossible_ranges_are_named(name: str, parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(EarmarkError, match=said):
        transforms.find(name).check(parameters)
