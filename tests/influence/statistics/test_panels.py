from __future__ import annotations

import uuid

import numpy as np
import pytest

from influence.statistics.panels import Outcome, Panel, blocks, panel
from training.evaluation.calibration import Outcomes, contributions, gap

S = [uuid.UUID(int=i) for i in range(6)]
ANNE, BOB = uuid.UUID(int=100), uuid.UUID(int=101)
WORDS = dict(zip(S, [3.0, 5, 2, 4, 6, 0], strict=True))
SPEAKERS = dict(zip(S, [ANNE, BOB, ANNE, None, BOB, None], strict=True))


def outcome(errors: list[float]) -> Outcome:
    return Outcome(dict(zip(S, errors, strict=True)), dict(zip(S, [2 * e for e in errors], strict=True)))


def test_speakers_are_blocks_and_speakerless_utterances_stand_alone() -> None:
    parts = blocks(WORDS, SPEAKERS, "speakers")
    assert (parts.count, parts.speakers) == (4, 2)
    assert parts.speakerless == pytest.approx(4 / 20)
    assert blocks(WORDS, SPEAKERS, "utterances").count == 6


def test_a_panel_adds_up_within_blocks() -> None:
    made = panel([[outcome([1, 2, 0, 0, 1, 3])]], blocks(WORDS, SPEAKERS, "speakers"), "wer")
    assert sorted(made.words) == [0, 4, 5, 11]
    assert made.values.sum() == 7
    assert made.outcomes[0, 0] == pytest.approx(7 / 20)


def test_the_order_of_samples_does_not_matter() -> None:
    turned = {s: WORDS[s] for s in reversed(S)}
    one = panel([[outcome([1, 2, 0, 0, 1, 3])]], blocks(WORDS, SPEAKERS, "speakers"), "loss")
    other = panel([[outcome([1, 2, 0, 0, 1, 3])]], blocks(turned, SPEAKERS, "speakers"), "loss")
    assert (one.values == other.values).all()


def test_the_calibration_error_of_words_is_the_figure_of_an_evaluation_and_resamples_as_a_ratio() -> None:
    rng = np.random.default_rng(0)
    heard = {s: [(float(c), float(rng.random() < c / 2)) for c in rng.uniform(0.5, 1, n)] for n, s in enumerate(S)}
    made = Outcome({}, {}, sure_words=heard)
    parts = blocks(WORDS, SPEAKERS, "speakers")
    panel_ = panel([[made]], parts, "ece_word")
    sure, right = np.array([pair for s in S for pair in heard[s]]).T
    off = Outcomes(sure, right, np.zeros(len(sure), dtype=np.int64))
    assert panel_.outcomes[0, 0] == pytest.approx(gap(off))
    block = np.repeat(parts.block, [len(heard[s]) for s in parts.samples])
    c, n = (np.bincount(block, weights=w, minlength=4) for w in (contributions(off), np.ones(len(sure))))
    weight = 1 + 1e-6 * np.arange(4)  # of the blocks, nearly alike: a derivative
    ratio = (weight @ panel_.values[0, 0]) / (weight @ panel_.words)
    assert ratio - gap(off) == pytest.approx((weight @ c) / (weight @ n) - gap(off), rel=1e-3)
    silent = Outcome({}, {}, sure_words={s: [] for s in S})
    assert not panel([[silent]], parts, "ece_word").values.any()


def test_what_is_no_panel_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[J, K, B\]"):
        Panel(np.ones((2, 2, 3)), np.ones(2))
    with pytest.raises(ValueError, match="at least one word"):
        Panel(np.ones((2, 2, 3)), np.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        Panel(np.full((2, 2, 3), np.nan), np.ones(3))
