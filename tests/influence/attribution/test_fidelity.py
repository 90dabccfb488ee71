from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from influence.attribution.attribute import attribute
from influence.attribution.fidelity import Compared, correlations, fidelity
from influence.audit import audit
from lineage.errors import EarmarkError, UnknownName
from lineage.selection.sets import members
from lineage.store import Store
from tests.influence.conftest import make_store
from training.fit import train
from training.recipe import Recipe


def grid(rows: int, columns: int, noise: float, seed: int = 0) -> list[Compared]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(rows, columns))
    measured = truth + noise * rng.normal(size=truth.shape)
    return [
        Compared(f"t{i}", f"e{j}", float(truth[i, j]), float(measured[i, j]), float(measured[i, j] - 0.2), None)
        for i in range(rows)
        for j in range(columns)
    ]


def test_correlations_are_scipy_s() -> None:
    cells = grid(6, 5, 0.7)
    x, y = [c.predicted for c in cells], [c.measured for c in cells]
    spearman, pearson = correlations(cells)
    assert spearman.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert pearson.value == pytest.approx(stats.pearsonr(x, y).statistic)
    assert spearman.low < spearman.value < spearman.high


def test_a_perfect_prediction_and_a_useless_one() -> None:
    assert correlations(grid(6, 5, 0.0))[1].value == pytest.approx(1)
    low, high = (getattr(correlations(grid(6, 6, 50.0))[1], end) for end in ("low", "high"))
    assert low < 0 < high


def test_scaling_the_predictions_changes_nothing() -> None:
    cells = grid(5, 5, 0.5)
    scaled = [Compared(c.train_slice, c.eval_slice, 7 * c.predicted, c.measured, None, None) for c in cells]
    for a, b in zip(correlations(cells), correlations(scaled), strict=True):
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))


def test_too_few_cells_say_nothing() -> None:
    assert np.isnan(correlations(grid(1, 3, 0.5))[0].value)


def test_predicted_beside_measured(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> None:
    store: Store = make_store(tmp_path_factory.mktemp("fidelity") / "store")
    with pytest.raises(UnknownName, match="no attribution"):
        fidelity(store)
    recipe = recipe.variant(epochs=1)
    made = train(store, recipe)
    found = attribute(store, made.model_id, method="grad_dot", targets=["accent=*", "all"])
    with pytest.raises(UnknownName, match="no audit"):
        fidelity(store)
    report = audit(store, recipe, slices=["accent=*"], seeds=2, controls=0, replicates=50)
    compared = fidelity(store, method="grad_dot", metric="loss")
    assert (compared.audit, compared.model_id, len(compared.cells)) == (report.audit, made.model_id, 3 * 4)
    cell = next(c for c in compared.cells if (c.train_slice, c.eval_slice) == ("accent=south", "all"))
    effect = report.effect("accent=south", "all", "loss")
    assert cell.measured == effect.estimate
    left_out = set(members(store, effect.train_set).to_pylist())
    mask = [i in left_out for i in found.ids.to_pylist()]
    assert cell.predicted == pytest.approx(found.values[mask, 3].sum())
    assert len(fidelity(store, own=True).cells) == 3
    with pytest.raises(UnknownName):
        fidelity(store, method="tracin")
    attribute(store, made.model_id, method="grad_dot", targets=["noise=hum"])
    with pytest.raises(EarmarkError, match="no slices in common"):
        fidelity(store, metric="wer")
