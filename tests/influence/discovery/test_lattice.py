from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from influence.discovery.lattice import ALPHA, Literal, Measure, Scored, search


def planted(
    seed: int, n: int = 400, features: int = 5, values: int = 3
) -> tuple[np.ndarray, np.ndarray, list[Literal]]:
    """Errors that are many where feature 0 and feature 1 are both 0, chance elsewhere."""
    rng = np.random.default_rng(seed)
    table = rng.integers(0, values, (n, features))
    words = rng.integers(1, 8, n).astype(float)
    rate = np.where((table[:, 0] == 0) & (table[:, 1] == 0), 0.6, 0.1)
    errors = rng.binomial(words.astype(int), rate).astype(float)
    literals = [
        Literal(f"f{f}", f"f{f}={v}", f"f{f} = {v}", table[:, f] == v) for f in range(features) for v in range(values)
    ]
    return errors, words, literals


def brute(
    errors: np.ndarray, words: np.ndarray, literals: list[Literal], depth: int, support: float, best: int, alpha: float
) -> list[Scored]:
    found = []
    for size in range(1, depth + 1):
        for chosen in combinations(range(len(literals)), size):
            if len({literals[i].feature for i in chosen}) < size:
                continue
            inside = np.logical_and.reduce([literals[i].mask for i in chosen])
            e, w = float(errors[inside].sum()), float(words[inside].sum())
            if w < support or not w:
                continue
            score = alpha * (e / w / (errors.sum() / words.sum()) - 1) - (1 - alpha) * (words.sum() / w - 1)
            if score > 0:
                found.append(Scored(chosen, score, e, w))
    return sorted(found, key=lambda x: (-x.score, len(x.literals), x.literals))[:best]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("depth", "support", "best", "alpha"), [(3, 30, 5, ALPHA), (3, 1, 50, 0.99), (2, 120, 3, 0.8), (1, 1, 9, 0.95)]
)
def test_what_is_found_is_what_every_crossing_would_show(
    seed: int, depth: int, support: float, best: int, alpha: float
) -> None:
    errors, words, literals = planted(seed)
    found = search(errors, words, literals, depth=depth, support=support, best=best, alpha=alpha)
    wanted = brute(errors, words, literals, depth, support, best, alpha)
    assert [(s.literals, s.errors, s.words) for s in found] == [(s.literals, s.errors, s.words) for s in wanted]
    assert [s.score for s in found] == pytest.approx([s.score for s in wanted])


def test_bounds_spare_most_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search for the worst slice looks at fewer crossings than there are."""
    from influence.discovery import lattice

    looked: list[int] = []
    real = lattice._sums
    monkeypatch.setattr(lattice, "_sums", lambda c, *rest: (looked.append(len(c)), real(c, *rest))[1])
    errors, words, literals = planted(0, n=3_000, features=8)
    assert search(errors, words, literals, depth=3, support=100, best=1)[0].literals == (0, 3)
    everything = sum(1 for s in (1, 2, 3) for c in combinations(range(24), s) if len({i // 3 for i in c}) == s)
    assert sum(looked) < everything / 3


def test_the_planted_crossing_comes_first_whatever_the_order() -> None:
    errors, words, literals = planted(1, n=2_000)
    order = np.random.default_rng(0).permutation(len(errors))
    shuffled = [Literal(x.feature, x.name, x.predicate, x.mask[order]) for x in literals]
    first = search(errors, words, literals, depth=3, support=50, best=10)
    assert first[0].literals == (0, 3)
    assert search(errors[order], words[order], shuffled, depth=3, support=50, best=10) == first


def test_no_crossing_inside_a_slice_passes_its_bound() -> None:
    errors, words, literals = planted(3)
    words[:5] = 0  # utterances without a word can have errors, too
    errors[:5] = 2
    measure = Measure(errors, words, ALPHA, 20.0)
    for a, b in combinations(literals, 2):
        inside = a.mask & b.mask
        e, w = np.array([errors[inside].sum()]), np.array([words[inside].sum()])
        for outer in (a, b):
            bound = measure.bound(np.array([errors[outer.mask].sum()]), np.array([words[outer.mask].sum()]))
            assert w[0] < 20 or measure.score(e, w)[0] <= bound[0] + 1e-12


def test_nothing_is_found_where_there_is_nothing() -> None:
    errors, words, literals = planted(0)
    assert search(np.zeros_like(errors), words, literals, depth=3, support=1, best=5) == []
    assert search(errors, words, [], depth=3, support=1, best=5) == []
    assert search(errors, words, literals, depth=3, support=1e9, best=5) == []
