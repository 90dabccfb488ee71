from __future__ import annotations

import math

import numpy as np
import pytest

from training.evaluation.calibration import (
    Outcomes,
    contributions,
    ece,
    gap,
    lowest,
    reliability,
    surprise,
    utterance_outcomes,
    word_outcomes,
)
from training.normalise import Normaliser, normaliser


def outcomes(confidence: np.ndarray, right: np.ndarray) -> Outcomes:
    return Outcomes(confidence, right.astype(float), np.arange(len(confidence)))


def test_an_honest_model_has_no_gap() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0, 1, 40_000)
    honest = outcomes(sure, rng.random(len(sure)) < sure)
    assert gap(honest) < 0.01
    boasting = outcomes(np.sqrt(sure), honest.right)
    assert gap(boasting) == pytest.approx(np.mean(np.sqrt(sure) - sure), abs=0.01)
    assert surprise(honest) < surprise(boasting)


def test_the_curve_by_hand() -> None:
    found = reliability(outcomes(np.array([0.0, 0.1, 0.11, 0.95, 1.0]), np.array([0, 1, 0, 1, 0])))
    assert [(b.low, b.high, b.count, b.accuracy) for b in found] == [
        (0, 0.1, 2, 0.5),
        (0.1, 0.2, 1, 0),
        (0.9, 1, 2, 0.5),
    ]
    assert found[2].confidence == pytest.approx(0.975)
    by_hand = (abs(0.1 - 1) + abs(0.11 - 0) + abs(1.95 - 1)) / 5
    assert gap(outcomes(np.array([0.0, 0.1, 0.11, 0.95, 1.0]), np.array([0, 1, 0, 1, 0]))) == pytest.approx(by_hand)
    assert sum(b.count * abs(b.confidence - b.accuracy) for b in found) / 5 == pytest.approx(by_hand)
    assert reliability(outcomes(np.array([]), np.array([]))) == []
    assert math.isnan(gap(outcomes(np.array([]), np.array([]))))


def test_the_interval_is_of_speakers_and_holds_the_figure() -> None:
    rng = np.random.default_rng(1)
    sure = rng.uniform(0.3, 1, 600)
    right = rng.random(600) < sure - 0.1
    speakers = np.repeat(np.arange(12), 50)
    found = ece(outcomes(sure, right), speakers, replicates=300)
    assert found.value == pytest.approx(gap(outcomes(sure, right)))
    assert 0 <= found.low < found.value < found.high <= 1
    assert found.blocks == 12
    order = rng.permutation(600)
    shuffled = Outcomes(sure[order], right[order].astype(float), order)
    assert ece(shuffled, speakers, replicates=300).low == pytest.approx(found.low)
    assert math.isnan(ece(outcomes(sure, right), np.zeros(600), replicates=300).low)


def test_words_are_right_as_the_alignment_says() -> None:
    basic = normaliser("basic")
    found = word_outcomes(
        ["turn on light", "", "dont stop"],
        ["Turn the light, now!", "hm", "dont/stop"],
        [(0.9, 0.8, 0.7, 0.6), (0.5,), (0.4,)],
        basic,
    )
    assert found.confidence.tolist() == [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.4]  # a word split in two lends both its own
    assert found.right.tolist() == [1, 0, 1, 0, 0, 1, 1]
    assert found.utterance.tolist() == [0, 0, 0, 0, 1, 2, 2]
    assert found.within(np.array([False, True, True])).right.tolist() == [0, 1, 1]


def test_words_that_make_sense_together_only_are_left_out() -> None:
    joined = Normaliser("joined", "1", lambda text: text.replace("one hundred", "100"))
    found = word_outcomes(["100", "two"], ["one hundred", "two"], [(0.9, 0.8), (0.7,)], joined)
    assert found.utterance.tolist() == [1]
    without = word_outcomes(["a"], ["a"], [()], joined)  # on record before words had confidences
    assert len(without.confidence) == 0


def test_utterances_are_right_by_the_share_of_their_words() -> None:
    hits, substitutions, insertions = np.array([3.0, 0, 0]), np.array([1.0, 0, 0]), np.array([0.0, 0, 2])
    found = utterance_outcomes(np.array([0.9, 0.8, 0.7]), hits, substitutions, insertions)
    assert found.right.tolist() == [0.75, 1, 0]


def test_the_search_finds_the_valley() -> None:
    asked: list[float] = []

    def of(x: float) -> float:
        asked.append(x)
        return (x - 0.7) ** 2

    assert lowest(of, -1.5, 2.0, 0.05) == pytest.approx(0.7, abs=0.05)
    assert len(asked) < 14


def test_contributions_add_up_to_the_error_and_move_as_its_bootstrap_says() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.3, 1, 400)
    heard = Outcomes(sure, (rng.uniform(size=400) < sure - 0.15).astype(float), np.arange(400))
    each = contributions(heard)
    assert each.mean() == pytest.approx(gap(heard))
    speakers = np.repeat(np.arange(40), 10)
    interval = ece(heard, speakers)
    by_speaker = each.reshape(40, 10).mean(axis=1)
    error = by_speaker.std(ddof=1) / np.sqrt(40)
    assert (interval.high - interval.low) / (2 * 2.02 * error) == pytest.approx(1, abs=0.25)
