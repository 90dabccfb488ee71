"""Bounds that hold at all times: how often they fail is simulated, that they bite is too."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from training.statistics.sequential import Bounds, Observation, bounds, paired, weighed

ALPHA = 0.1
SHARES = (0.1, 0.4)


def stream(rng: np.random.Generator, n: int, first: float, second: float, drift: float = 0.0) -> list[Observation]:
    """Units that fail or not, sent to the first arm with the chances of `SHARES` in turn; both arms drift together."""
    found, centre = [], 0.5
    for i in range(n):
        share = SHARES[i * len(SHARES) // n]
        to_first = bool(rng.random() < share)
        loss = float(rng.random() < (first if to_first else second) + drift * i / n)
        found.append(weighed(loss, to_first, share, centre))
        centre += (loss - centre) / (i + 2)
    return found


def test_under_the_null_it_is_wrong_at_any_time_no_more_often_than_promised() -> None:
    """Bounds only close in, so those at the end tell whether any before them was wrong: as if looked at after every unit."""
    rng = np.random.default_rng(0)
    wrong = {"low": 0, "high": 0}
    trials = 400
    for trial in range(trials):
        n = 300
        if trial % 2:
            found = bounds(stream(rng, n, 0.2, 0.2, drift=0.5), ALPHA)
        else:
            common = rng.random(n) < 0.3
            found = bounds(
                [
                    paired(float(c or a), float(c or b))
                    for c, a, b in zip(common, rng.random(n) < 0.1, rng.random(n) < 0.1, strict=True)
                ],
                ALPHA,
            )
        wrong["low"] += found.low > 0
        wrong["high"] += found.high < 0
    for side in wrong.values():  # three standard errors are allowed for
        assert side / trials <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / trials)
    assert sum(wrong.values()) > 0  # the bound is used, not merely kept


def test_a_naive_rule_is_wrong_far_more_often() -> None:
    """That the simulation can fail: a plain interval looked at after every unit does."""
    rng = np.random.default_rng(1)
    stopped = 0
    for _ in range(200):
        x = (rng.random(300) < 0.2).astype(float) - (rng.random(300) < 0.2)
        t = np.arange(1, 301)
        mean = np.cumsum(x) / t
        error = np.sqrt(np.maximum(np.cumsum(x**2) / t - mean**2, 1e-9) / t)
        stopped += bool(((mean - 1.2816 * error)[20:] > 0).any())
    assert stopped / 200 > 2 * ALPHA


@pytest.mark.parametrize("harm", [0.1, 0.3])
def test_harm_is_found_and_its_size_bounded(harm: float) -> None:
    rng = np.random.default_rng(2)
    found = bounds(stream(rng, 4000, 0.2 + harm, 0.2), ALPHA)
    assert 0 < found.low < harm < found.high < 1
    assert found.mean == pytest.approx(harm, abs=0.05)


def test_bounds_only_close_in() -> None:
    rng = np.random.default_rng(3)
    seen = stream(rng, 500, 0.3, 0.1)
    steps = [bounds(seen[:n], ALPHA) for n in range(0, 501, 25)]
    assert steps[0].count == 0
    assert (steps[0].low, steps[0].high) == (-1.0, 1.0)
    for earlier, later in itertools.pairwise(steps):
        assert earlier.low <= later.low + 1e-12
        assert later.high <= earlier.high + 1e-12


def test_exchanging_the_arms_exchanges_the_bounds() -> None:
    rng = np.random.default_rng(4)
    pairs = rng.random((200, 2))
    one, other = (bounds([paired(a, b) for a, b in p], ALPHA) for p in (pairs, pairs[:, ::-1]))
    assert (other.mean, other.low, other.high) == pytest.approx((-one.mean, -one.high, -one.low))


def test_a_stricter_level_is_wider_and_surer_differences_are_not_lost() -> None:
    rng = np.random.default_rng(5)
    seen = stream(rng, 800, 0.5, 0.2)
    wide, narrow = bounds(seen, 0.01), bounds(seen, 0.2)
    assert wide.low < narrow.low < narrow.high < wide.high
    same = bounds([paired(0.25, 0.25)] * 400, 0.05)
    assert same.mean == 0.0
    assert -0.05 < same.low < 0 < same.high < 0.05


def test_a_guess_made_before_moves_nothing_on_average() -> None:
    for centre in (0.0, 0.3, 1.0):
        heard = {arm: weighed(0.4, arm, 0.25, centre).value for arm in (True, False)}
        assert 0.25 * heard[True] + 0.75 * heard[False] == pytest.approx(0)
    assert weighed(1.0, True, 0.1, 0.0) == Observation(10.0, 10.0, pytest.approx(0.25 / 0.09))


def test_what_is_not_a_loss_is_refused() -> None:
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="not between 0 and 1"):
            paired(wrong, 0.5)
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match="nothing to compare"):
            weighed(0.5, True, share, 0.5)
    with pytest.raises(ValueError, match="alpha"):
        bounds([], 1.0)
    assert isinstance(bounds([], 0.5), Bounds)
