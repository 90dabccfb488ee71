"""Accent rules change what they claim and nothing else."""

from __future__ import annotations

import pytest

from earmark.demo.accents import ACCENTS, Rule, accent_named, is_vowel, rewrite
from lineage.errors import EarmarkError

SECOND_LANGUAGE = [accent for accent in ACCENTS.values() if accent.rules]


@pytest.mark.parametrize(
    ("accent", "american", "spoken"),
    [
        ("l2-es", "s|t|'A:|p", "e|s|t|'a|p"),
        ("l2-es", "s|'E|t", "s|'E|t"),
        ("l2-es", "Tr'i:".replace("Tr", "T|r|"), "t|*|'i:"),
        ("l2-es", "g|'A@|d|@|n", "g|'a|*|d|e|n"),
        ("l2-de", "w|'O:|t#|3", "v|'O:|t#|a#"),
        ("l2-de", "v|'0|l|j|u:|m", "f|'0|l|j|u:|m"),
        ("l2-de", "s|t|'A:|p", "S|t|'A:|p"),
        ("l2-de", "s|'E|v|@|n", "z|'E|f|@|n"),
        ("l2-de", "'a|d", "'E|t"),
        ("l2-ja", "l|'aI|t", "*|'aI|t|o"),
        ("l2-ja", "f|'aI|v", "h|u|'aI|b|u"),
    ],
)
def test_words_as_the_accent_says_them(accent, american, spoken):
    assert rewrite(american, ACCENTS[accent].rules) == spoken


@pytest.mark.parametrize("accent", SECOND_LANGUAGE, ids=lambda a: a.name)
def test_every_rule_rewrites_its_own_sounds(accent):
    shadowed = set()
    for rule in accent.rules:
        for sound in rule.sounds:
            if (sound, "anywhere") in shadowed:
                pytest.fail(f"{accent.name}: {sound} never reaches {rule}")
            context = {"at the start": f"{sound}|A:", "before a consonant": f"A:|{sound}|k"}
            word = context.get(rule.where, f"{sound}|k" if "start" in rule.where else f"A:|{sound}")
            assert rewrite(word, accent.rules) != word or rule.becomes == (sound,)
            shadowed.add((sound, rule.where))


@pytest.mark.parametrize("accent", SECOND_LANGUAGE, ids=lambda a: a.name)
def test_about_ten_rules_each_with_its_reason(accent):
    assert 8 <= len(accent.rules) <= 20
    assert all(rule.says for rule in accent.rules)


def test_rules_do_not_feed_each_other():
    swap = (Rule(("w",), ("v",), "w is v"), Rule(("v",), ("w",), "v is w"))
    assert rewrite("w|'V|v w|'V", swap) == "v|'V|w v|'V"


def test_neighbours_are_the_original_ones():
    rules = (Rule(("t",), ("o",), "t is a vowel"), Rule(("s",), ("z",), "voiced", "before a consonant"))
    assert rewrite("A:|s|t", rules) == "A:|z|o"


def test_stress_stays_on_the_first_vowel_of_the_replacement():
    rules = (Rule(("3:",), ("e", "*"), "full vowel and tap"), Rule(("h",), (), "dropped"))
    assert rewrite("h|'3:|t", rules) == "'e|*|t"
    assert rewrite("t|,3:", rules) == "t|,e|*"


def test_without_rules_nothing_changes():
    assert rewrite("t|'3:|n O2|n|D|@2", ()) == "t|'3:|n O2|n|D|@2"


def test_vowels():
    assert all(map(is_vowel, ("@2", "3:", "aI", "O@", "a#", "i", "V")))
    assert not any(map(is_vowel, ("t#", "r-", "*", "Q^", "tS", "n", ";")))


def test_unknown_accent_says_which_there_are():
    with pytest.raises(EarmarkError, match=r"'welsh'.*scot"):
        accent_named("welsh")
