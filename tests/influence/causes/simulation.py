"""Word errors and learning curves of which the truth is known."""

from __future__ import annotations

import uuid
from dataclasses import replace

import numpy as np

from influence.causes.utterances import Utterances
from influence.statistics.panels import Panel

RATE, NOISE_FACTOR, SPEAKER_SD, OWN_SD = 0.1, 3.0, 0.3, 0.1


def utterances(
    seed: int, *, speakers: int = 24, each: int = 30, effect: float = 0.0, confounded: float = 0.8
) -> Utterances:
    """Every other speaker is in the slice, whose log rate is `effect` higher; its share of babble is `confounded` higher.

    Errors are counts that scatter twice as much as Poisson's and more, and speakers differ.
    """
    return heard_by(1, seed, speakers=speakers, each=each, effect=effect, confounded=confounded)[0]


def heard_by(
    models: int, seed: int, *, speakers: int = 24, each: int = 30, effect: float = 0.0, confounded: float = 0.8
) -> list[Utterances]:
    """The same utterances as several models hear them: what is hard for one is hard for all, and each errs by itself.

    The models are worse and better than the first by up to a tenth, and each has trouble with speakers of its own; their mean
    has the gap of one (`true_gap`).
    """
    rng = np.random.default_rng(seed)
    n = speakers * each
    speaker = np.repeat(np.arange(speakers), each)
    inside = speaker % 2 == 0
    babble = rng.random(n) < 0.5 + np.where(inside, confounded, -confounded) / 2
    words = rng.integers(3, 12, n).astype(float)
    own = rng.normal(0, SPEAKER_SD, speakers)[speaker]
    rate = RATE * np.exp(effect * inside + np.log(NOISE_FACTOR) * babble + own) * rng.gamma(1.0, 1.0, n)
    ids = tuple(uuid.UUID(int=i) for i in range(n))
    noise = np.where(babble, "babble", "clean").astype(object)
    first = Utterances(ids, rng.poisson(words * rate).astype(float), words, speaker, inside, {"noise": noise})
    found = [first]
    levels = np.linspace(-0.1, 0.1, models - 1)
    for level in levels - levels.mean() if models > 1 else ():
        trouble = np.exp(rng.normal(-(OWN_SD**2) / 2, OWN_SD, speakers))[speaker]
        found.append(replace(first, errors=rng.poisson(words * rate * (1 + level) * trouble).astype(float)))
    return found


def true_gap(heard: Utterances, effect: float) -> float:
    """The standardised gap that `utterances` has on average over speakers."""
    babble = heard.columns["noise"] == "babble"
    base = RATE * np.where(babble, NOISE_FACTOR, 1.0) * np.exp(SPEAKER_SD**2 / 2)
    return float((heard.words * base).sum() / heard.words.sum() * (np.exp(effect) - 1))


def power_law(hours: float, floor: float = 0.1, gain: float = 0.4, power: float = 0.5) -> float:
    """WER after so many hours."""
    return floor + gain * (1 + hours) ** -power


def dosed(
    seed: int, hours: list[float], *, seeds: int = 3, speakers: int = 20, noise: float = 0.01, **law: float
) -> Panel:
    """Outcomes of retrainings at `hours` by `power_law`; speakers differ in level, seeds in luck."""
    rng = np.random.default_rng(seed)
    words = np.full(speakers, 200.0)
    truth = np.array([power_law(h, **law) for h in hours])
    level = np.exp(rng.normal(0, 0.2, speakers))
    level /= level.mean()
    luck = rng.normal(0, noise, (len(hours), seeds))
    rates = (truth[:, None] + luck)[:, :, None] * level
    values = rng.normal(rates * words, np.sqrt(rates * words) / 4)
    return Panel(np.maximum(values, 0.0), words, 1.0)
