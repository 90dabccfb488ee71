from __future__ import annotations

import numpy as np
import pytest

from influence.discovery.clusters import embeddings, fit
from lineage.errors import EarmarkError
from lineage.selection.sets import resolve_set
from lineage.store import Store
from training.fit import train
from training.recipe import Recipe


def clouds(seed: int, each: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three clouds of embeddings in twenty dimensions; only the second is misheard."""
    rng = np.random.default_rng(seed)
    which = np.repeat([0, 1, 2], each)
    places = np.random.default_rng(99).normal(0, 3, (3, 20))
    rates = rng.binomial(5, np.where(which == 1, 0.7, 0.1)) / 5
    return places[which] + rng.normal(size=(3 * each, 20)), rates, which


def test_a_misheard_cloud_is_a_cluster_on_new_data_too() -> None:
    seen, rates, _ = clouds(0)
    found = fit(seen, rates, 3)
    other, _, which = clouds(1)
    labels = found.of(other)
    bad = np.bincount(labels[which == 1]).argmax()
    assert ((labels == bad) == (which == 1)).mean() > 0.95


def test_errors_part_what_place_hardly_does() -> None:
    """Error-aware: along a line without gaps, the clusters part where the errors begin."""
    rng = np.random.default_rng(5)
    line = rng.uniform(0, 1, (400, 1)) * np.ones((1, 3)) + rng.normal(0, 0.01, (400, 3))
    rates = (line[:, 0] > 0.7).astype(float)
    labels = fit(line, rates, 2).of(line)
    bad = rates > 0
    assert max((labels == k)[bad].mean() - (labels == k)[~bad].mean() for k in (0, 1)) > 0.8


def test_membership_is_by_place_alone() -> None:
    seen, rates, _ = clouds(2)
    found = fit(seen, rates, 3)
    assert (found.of(seen) == found.of(seen.copy())).all()
    assert [found.of(seen[i : i + 1])[0] for i in range(0, 180, 20)] == found.of(seen)[::20].tolist()


def test_too_few_to_cluster() -> None:
    with pytest.raises(EarmarkError, match="too few"):
        fit(np.zeros((6, 4)), np.zeros(6), 3)


def test_embeddings_are_of_the_clip_and_not_of_its_padding(store: Store, recipe: Recipe) -> None:
    model = train(store, recipe)
    population = resolve_set(store, "test")
    found = embeddings(store, model.model_id, population.digest)
    assert found.shape[0] == population.size
    assert np.isfinite(found).all()
    assert np.ptp(found, axis=0).max() > 0
    assert (embeddings(store, model.model_id, population.digest) == found).all()
