from __future__ import annotations

import numpy as np
import pytest

from influence.discovery.confirm import FEWEST_SPEAKERS, Gap, gaps
from influence.discovery.lattice import Literal, search
from training.statistics.multiplicity import benjamini_hochberg

VALUES = {"accent": 4, "noise": 3, "device": 3, "age": 4}  # the first two belong to utterances, the others to speakers


def voices(rng: np.random.Generator, speakers: int, each: int, *, planted: float = 0.0) -> tuple[np.ndarray, ...]:
    """Utterances of speakers who differ: errors, words, speakers, and a table of attributes [n, 4]."""
    who = np.repeat(np.arange(speakers), each)
    own = {f: rng.integers(0, k, speakers if f in ("accent", "age") else len(who)) for f, k in VALUES.items()}
    table = np.column_stack([own[f][who] if f in ("accent", "age") else own[f] for f in VALUES])
    words = rng.integers(3, 9, len(who)).astype(float)
    rate = (0.15 + rng.normal(0, 0.05, speakers)[who]).clip(0.01)
    rate = rate + planted * ((table[:, 0] == 1) & (table[:, 1] == 2))
    return rng.binomial(words.astype(int), rate.clip(0, 1)).astype(float), words, who.astype(object), table


def conditions(table: np.ndarray) -> list[Literal]:
    return [
        Literal(f, f"{f}={v}", f"{f} = {v}", table[:, i] == v)
        for i, (f, count) in enumerate(VALUES.items())
        for v in range(count)
    ]


def found_and_tested(rng: np.random.Generator, planted: float = 0.0) -> tuple[list[str], list[Gap]]:
    errors, words, who, table = voices(rng, 24, 25, planted=planted)
    literals = conditions(table)
    slices = search(errors, words, literals, depth=3, support=60, best=5)
    errors, words, who, table = voices(rng, 24, 25, planted=planted)
    other = conditions(table)
    masks = [np.logical_and.reduce([other[i].mask for i in s.literals]) for s in slices]
    names = [" & ".join(literals[i].name for i in s.literals) for s in slices]
    return names, gaps(errors, words, who, masks, replicates=200)


def test_a_planted_crossing_is_found_first_and_confirmed() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        names, found = found_and_tested(rng, planted=0.4)
        assert names[0] == "accent=1 & noise=2"
        assert found[0].confirmed


def test_where_there_is_nothing_hardly_anything_is_confirmed() -> None:
    """Speakers differ, attributes do not matter: 5 % of searches at most may confirm any slice, screening or not."""
    rng = np.random.default_rng(1)
    runs, false, screened = 150, 0, 0
    for _ in range(runs):
        found = found_and_tested(rng)[1]
        p = benjamini_hochberg([g.p for g in found])  # where nothing is there, any discovery is all false
        false += any(g.confirmed for g in found)
        screened += any(g.value > 0 and q <= 0.05 for g, q in zip(found, p, strict=True))
    assert false <= screened <= runs * (0.05 + 2 * np.sqrt(0.05 * 0.95 / runs))  # two standard errors of the simulation


def test_screening_confirms_by_the_rate_of_false_discoveries() -> None:
    rng = np.random.default_rng(5)
    errors, words, who, table = voices(rng, 24, 25, planted=0.12)
    masks = [table[:, 1] == v for v in range(3)] + [(table[:, 0] == 1) & (table[:, 1] == 2)] + [table[:, 2] == 0] * 6
    strict, screened = (gaps(errors, words, who, masks, replicates=100, screening=s) for s in (False, True))
    assert [g.p for g in strict] == [g.p for g in screened]
    assert [g.p_adjusted for g in screened] == pytest.approx(benjamini_hochberg([g.p for g in strict]))
    assert {i for i, g in enumerate(strict) if g.confirmed} <= {i for i, g in enumerate(screened) if g.confirmed}
    assert gaps(errors, words, who, [], screening=True) == []


def test_where_it_was_found_a_slice_looks_bad_and_elsewhere_it_does_not() -> None:
    """Why other data: the worst of many slices is bad where it was picked, though nothing is in it."""
    rng = np.random.default_rng(2)
    here, there = [], []
    for _ in range(40):
        samples = [voices(rng, 24, 25) for _ in range(2)]
        errors, words, _, table = samples[0]
        first = search(errors, words, conditions(table), depth=3, support=60, best=1)
        for (e, w, who, t), gathered in zip(samples, (here, there), strict=True):
            masks = [np.logical_and.reduce([conditions(t)[i].mask for i in s.literals]) for s in first]
            gathered += [g.value for g in gaps(e, w, who, masks, replicates=50)]
    assert min(here) > 0
    assert abs(np.mean(there)) < 3 * np.std(there) / np.sqrt(len(there)) < np.mean(here)


def test_the_order_of_utterances_and_the_names_of_speakers_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    errors, words, who, table = voices(rng, 12, 20)
    order = rng.permutation(len(errors))
    names = np.array([f"v{(7 * w) % 12}" for w in who], dtype=object)
    mask = table[:, 1] == 2
    one = gaps(errors, words, who, [mask], replicates=100)
    assert gaps(errors[order], words[order], names[order], [mask[order]], replicates=100) == one


def test_few_speakers_and_few_words_confirm_nothing() -> None:
    rng = np.random.default_rng(4)
    errors, words, who, _ = voices(rng, 12, 20)
    few = np.isin(who.astype(int), range(FEWEST_SPEAKERS - 1))
    errors[few] = words[few]
    whole, nothing = np.ones_like(few), np.zeros_like(few)
    narrow = few & (np.arange(len(few)) < 2)
    found = gaps(errors, words, who, [few, narrow, whole, nothing], replicates=50)
    assert [g.confirmed for g in found] == [False] * 4
    assert [g.p_adjusted for g in found] == [1.0] * 4
    assert "3 speakers" in found[0].reason
    assert "words" in found[1].reason
    assert "nothing outside" in found[2].reason
    assert found[0].value == pytest.approx(1 - errors[~few].sum() / words[~few].sum())
