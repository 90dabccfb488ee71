from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from training.evaluation.mapsswe import Mapsswe, differences, mapsswe, of_differences

texts = st.lists(st.sampled_from("abcd"), max_size=9).map(" ".join)
triples = st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=6)


def test_segments_end_where_both_have_two_words_right() -> None:
    #        segment 1: 'b' of the first     segment 2: 'f' of both, 'g' of the second
    z = differences(["a b c d e f g h"], ["a x c d e y g h"], ["a b c d e z w h"])
    assert z.tolist() == [1, -1]
    one_right_between = differences(["a b c d"], ["x b y d"], ["a b c d"])
    assert one_right_between.tolist() == [2]  # 'b' alone does not part them
    assert differences(["a b c d"], ["x b y d"], ["a b c d"], quiet=1).tolist() == [1, 1]


def test_insertions_count_where_they_are_and_break_the_quiet() -> None:
    assert differences(["a b"], ["a b c"], ["a b"]).tolist() == [1]
    assert differences(["a b c"], ["x a b c"], ["a b c"]).tolist() == [1]
    assert differences(["a b c d"], ["x b o c d"], ["a b c d"]).tolist() == [2]
    assert differences([""], ["a a"], [""]).tolist() == [2]


def test_utterances_bound_segments() -> None:
    assert differences(["a", "b"], ["x", "b"], ["a", "y"]).tolist() == [1, -1]


@given(triples)
@settings(max_examples=60, deadline=None)
def test_laws(rows: list[tuple[str, str, str]]) -> None:
    references, first, second = (list(c) for c in zip(*rows, strict=True))
    z = differences(references, first, second)
    assert differences(references, second, first).tolist() == (-z).tolist()
    errors = [sum(differences(references, h, references)) for h in (first, second)]
    assert z.sum() == errors[0] - errors[1]  # no error is lost or counted twice
    backwards = differences(references[::-1], first[::-1], second[::-1])
    assert sorted(backwards.tolist()) == sorted(z.tolist())
    same = mapsswe(references, first, first)
    assert same.mean == 0
    assert math.isnan(same.p) or same.p == 1


def test_the_statistic_is_that_of_a_paired_test() -> None:
    rng = np.random.default_rng(0)
    z = rng.integers(-2, 3, 400).astype(float)
    found = of_differences(z)
    assert found.z == pytest.approx(stats.ttest_1samp(z, 0).statistic)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.z)))
    assert found.segments == 400


def test_few_or_equal_segments() -> None:
    assert math.isnan(of_differences(np.array([1.0])).p)
    assert math.isnan(of_differences(np.array([])).p)
    assert of_differences(np.ones(6)) == Mapsswe(6, 1.0, math.inf, 2 * 0.5**6)


def test_false_alarms_are_as_rare_as_promised() -> None:
    # Two systems of the same skill, whose errors come in bursts within an utterance, as real ones do.
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(200):
        references, first, second = [], [], []
        for _ in range(25):
            said = [f"w{i}" for i in range(10)]
            references.append(" ".join(said))
            for heard in (first, second):
                wrong = np.zeros(10, dtype=bool)
                for at in np.flatnonzero(rng.random(10) < 0.06):
                    wrong[at : at + rng.integers(1, 4)] = True
                heard.append(" ".join("x" if bad else w for w, bad in zip(said, wrong, strict=True)))
        alarms += mapsswe(references, first, second).p < 0.05
    assert 0.01 <= alarms / 200 <= 0.09  # known to about ± 0.03


def test_unequal_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        mapsswe(["a"], ["a", "b"], ["a"])
