from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.errors import UnknownName
from training.normalise import NAMES, deletions, normaliser


@pytest.mark.parametrize("name", NAMES)
@given(st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_normalising_twice_is_normalising_once(name: str, text: str) -> None:
    once = normaliser(name)(text)
    assert normaliser(name)(once) == once
    assert once == " ".join(once.split())


def test_basic_keeps_what_makes_a_word() -> None:
    basic = normaliser("basic")
    assert basic("Don’t  turn-off «the» LIGHTS, 'please'!") == "don't turn-off the lights please"
    assert basic("Straße — Ⅳ 3,5") == "straße iv 3 5"


def test_basic_keeps_vowel_signs_that_whisper_strips() -> None:
    hindi = "हिन्दी में"
    assert normaliser("basic")(hindi) == hindi
    assert normaliser("whisper")(hindi) != hindi


def test_digests_tell_normalisers_apart() -> None:
    assert len({normaliser(n).digest for n in NAMES}) == len(NAMES)
    assert normaliser("basic").label == f"basic@{normaliser('basic').digest[:12]}"


def test_an_unknown_normaliser_says_which_there_are() -> None:
    with pytest.raises(UnknownName, match=r"did you mean 'basic'.*none"):
        normaliser("basics")


def test_signs_that_a_normaliser_takes_away_are_found() -> None:
    texts = ["हिन्दी में", "café naïve", "தமிழ்", "日本語", "Ünlü one hundred"]
    for name in ("none", "basic"):
        assert deletions(normaliser(name), texts) == {}
    found = deletions(normaliser("whisper"), texts)
    assert set(found) == {"DEVANAGARI", "TAMIL"}
    assert found["DEVANAGARI"] == sorted("ि्ीे" + "ं")
    assert deletions(normaliser("whisper-english"), texts[1:2]) == {}
