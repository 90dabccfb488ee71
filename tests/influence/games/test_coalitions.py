from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from earmark.cli.interact import _sampling
from influence.audit import audit
from influence.games.coalitions import interact, widened
from influence.games.game import disjoint
from influence.games.interactions import deletion
from influence.games.shapley import CAUTION
from influence.games.worth import InteractionReport
from influence.statistics.contrasts import Contrast
from influence.statistics.panels import Metric
from lineage.errors import EarmarkError
from lineage.selection.sets import resolve_set
from lineage.selection.slices import parse_slices, select
from lineage.store import Store
from tests.influence.conftest import make_store
from training.recipe import Recipe

SLICES = ["accent=north", "accent=south & noise=hum", "accent=west"]
NAMES = ["accent=north", "accent=south & noise=hum", "accent=west"]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("game") / "store")


@pytest.fixture(scope="module")
def short(recipe: Recipe) -> Recipe:
    return recipe.variant(epochs=1, checkpoints=0)


@pytest.fixture(scope="module")
def report(fresh: Store, short: Recipe) -> InteractionReport:
    return interact(fresh, short, slices=SLICES, order=3, seeds=2, replicates=200, evaluation=["noise=hum"])


def test_every_coalition_is_trained_over_every_seed(report: InteractionReport, fresh: Store) -> None:
    assert (report.method, report.retrainings, report.trained) == ("exact", 16, 16)
    rows = fresh.read("interactions", where="run_id = ?", parameters=[report.run_id]).to_pylist()
    assert [{k: v for k, v in r.items() if k != "run_id"} for r in rows] == [asdict(r) for r in report.rows]


@pytest.mark.parametrize("metric", ["wer", "loss"])
@pytest.mark.parametrize("where", ["all", "noise=hum"])
def test_values_add_up_to_what_all_are_worth_together(report: InteractionReport, metric: str, where: str) -> None:
    values = [report.row("shapley", name, where, metric).estimate for name in NAMES]
    assert sum(values) == pytest.approx(report.row("total", "all together", where, metric).estimate)


def test_the_deletion_of_one_is_the_audit_s_effect_and_shares_its_models(
    report: InteractionReport, fresh: Store, short: Recipe
) -> None:
    audited = audit(fresh, short, slices=["accent=north"], seeds=2, controls=0, replicates=200)
    assert audited.trained == 0
    mine = report.row("deletion", "accent=north")
    assert mine.estimate == pytest.approx(audited.effect("accent=north", "all").estimate)
    assert (mine.low, mine.high) != (None, None)


def test_metrics_are_those_of_audits(report: InteractionReport, fresh: Store, short: Recipe) -> None:
    metrics: list[Metric] = ["wer", "cer", "ece_utterance", "ece_word"]
    found = interact(fresh, short, slices=SLICES, seeds=2, replicates=100, metrics=metrics)
    audited = audit(fresh, short, slices=["accent=north"], seeds=2, controls=0, replicates=100, metrics=metrics)
    assert (found.trained, audited.trained) == (0, 0)
    assert {r.metric for r in found.rows} == set(metrics)
    for metric in metrics:
        mine = found.row("deletion", "accent=north", metric=metric)
        assert mine.estimate == pytest.approx(audited.effect("accent=north", "all", metric).estimate)
        assert mine.low is not None
    with pytest.raises(EarmarkError, match="metrics wr — choose of wer, loss"):
        interact(fresh, short, slices=SLICES, seeds=2, metrics=["wr"])  # type: ignore[list-item]


def test_the_interaction_of_two_is_what_they_are_worth_beyond_their_own(report: InteractionReport) -> None:
    both = " × ".join(NAMES[:2])
    alone = [report.row("deletion", n).estimate for n in NAMES[:2]]
    third = report.row("interaction", " × ".join(NAMES)).estimate
    assert report.row("deletion", " × ".join(NAMES)).estimate == pytest.approx(third)
    # with three slices I(ab) is the mean of the derivative with and without c: deletion − I(abc)/2
    assert report.row("interaction", both).estimate == pytest.approx(report.row("deletion", both).estimate - third / 2)
    assert all(np.isfinite(alone))


def test_leaving_out_both_costs_less_than_each_by_their_interaction() -> None:
    values = {0b00: -0.5, 0b01: -0.3, 0b10: -0.35, 0b11: -0.25}
    found = {subset: sum(w * values[c] for c, w in deletion(2, subset).items()) for subset in (0b01, 0b10, 0b11)}
    both = values[0b11] - values[0b00]
    assert found[0b01] + found[0b10] - both == pytest.approx(found[0b11])


def test_a_caution_stands_beside_every_value(report: InteractionReport) -> None:
    assert all(CAUTION in r.caution for r in report.rows if r.measure != "total")
    assert {r.p_adjusted is None for r in report.rows} == {False}
    assert all((r.p_adjusted or 0) >= (r.p or 0) for r in report.rows)


def test_asking_again_reads_it_back(report: InteractionReport, fresh: Store, short: Recipe) -> None:
    runs = len(fresh.runs())
    again = interact(fresh, short, slices=SLICES, order=3, seeds=2, replicates=200, evaluation=["noise=hum"])
    assert again.reused
    assert (again.rows, again.trained) == (report.rows, 0)
    with pytest.raises(EarmarkError, match="seeds: none — give one"):
        interact(fresh, short, slices=["accent=north", "accent=west"], seeds=0)
    assert len(fresh.runs()) == runs


@pytest.mark.parametrize("how", ["permutations", "regression"])
def test_sampled_values_share_the_bank_and_add_up(
    report: InteractionReport, fresh: Store, short: Recipe, how: str
) -> None:
    """Three slices have eight coalitions, which are all there: sampling them trains nothing."""
    asked = {"slices": SLICES, "seeds": 2, "replicates": 100, "sampling": how, "standard_error": 10.0}
    with pytest.raises(EarmarkError, match="affords"):
        interact(fresh, short, **asked, budget=7)  # type: ignore[arg-type]
    found = interact(fresh, short, **asked)  # type: ignore[arg-type]
    assert (found.method, found.trained) == (how, 0)
    assert found.rows[0].pairs is not None
    assert found.rows[0].pairs <= 20  # enough is enough
    total = report.row("total", "all together")
    values = [found.row("shapley", name) for name in NAMES]
    assert sum(v.estimate for v in values) == pytest.approx(total.estimate)
    assert found.row("total", "all together").estimate == pytest.approx(total.estimate)
    assert all(v.sampling_error is not None for v in values)
    assert all((v.error or 0) >= (v.sampling_error or 0) for v in values)


def test_of_too_few_pairs_values_have_no_interval(report: InteractionReport, fresh: Store, short: Recipe) -> None:
    """Twelve retrainings afford one pair of orders; two or more where they happen to be the same."""
    asked: dict[str, Any] = {"slices": SLICES, "seeds": 2, "sampling": "permutations", "budget": 12}
    several = (interact(fresh, short, **asked, replicates=100 + draws) for draws in range(10))
    few = next(f for f in several if (f.rows[0].pairs or 0) < 3)
    assert few.trained == 0
    total, values = few.row("total", "all together"), [few.row("shapley", name) for name in NAMES]
    assert None not in (total.low, total.p)
    assert {(v.low, v.high, v.error, v.sampling_error, v.p, v.p_adjusted) for v in values} == {(None,) * 6}
    assert sum(v.estimate for v in values) == pytest.approx(total.estimate)
    said = (
        f"to tell the error of having drawn just these: {few.rows[0].pairs}, where 3 are the least — raise the budget"
    )
    assert all(said in v.caution for v in values)
    assert said not in total.caution
    assert [_sampling(row) for row in (total, *values)] == ["", *["too few"] * 3]


def test_many_slices_are_asked_for_pairs_only(fresh: Store, short: Recipe) -> None:
    found = interact(fresh, short, slices=SLICES, seeds=2, replicates=100, budget=14)
    assert (found.method, found.retrainings, found.trained) == ("deletion", 14, 0)
    assert {r.measure for r in found.rows} == {"deletion"}


def test_overlapping_slices_are_refused_or_cut(fresh: Store, short: Recipe) -> None:
    with pytest.raises(EarmarkError, match="share 6 samples"):
        interact(fresh, short, slices=["accent=north", "noise=hum"], seeds=1)
    population = resolve_set(fresh, "train")
    wanted = parse_slices(fresh, ["accent=north", "noise=hum"], population.digest)
    parts = disjoint(fresh, wanted, population, partition=True)
    assert [p.name for p in parts] == ["accent=north only", "noise=hum only", "accent=north & noise=hum"]
    ids = [set(select(fresh, p, population.digest).to_pylist()) for p in parts]
    assert [len(i) for i in ids] == [6, 12, 6]
    assert len(set.union(*ids)) == 24


def test_mistakes_are_told_before_anything_is_done(fresh: Store, short: Recipe) -> None:
    runs = len(fresh.runs())
    for wrong in (
        {"slices": ["accent=north"]},
        {"slices": ["acent=north", "accent=west"]},
        {"slices": ["accent=north", "accent=west"], "order": 3},
        {"slices": ["accent=north", "accent=west"], "seeds": 0},
        {"slices": ["accent=north", "accent=west"], "evaluation_set": "nowhere"},
        {"slices": ["accent=*"], "seeds": 2, "budget": 8},
        {"slices": ["accent=*"], "shapley": True, "budget": 8, "sampling": "guessing"},
        {"slices": ["accent=*"], "level": 95},
    ):
        with pytest.raises(EarmarkError):
            interact(fresh, short, **wrong)  # type: ignore[arg-type]
    assert len(fresh.runs()) == runs


def test_one_seed_gives_figures_without_intervals(fresh: Store, short: Recipe) -> None:
    found = interact(fresh, short, slices=SLICES, seeds=1, replicates=50)
    assert found.trained == 0
    assert {(r.low, r.p, r.p_adjusted) for r in found.rows} == {(None, None, None)}
    assert all("one seed" in r.caution for r in found.rows)


def test_a_retraining_that_fails_costs_its_seed_and_is_tried_again(
    report: InteractionReport, fresh: Store, short: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    from influence import bank

    real = bank.retrain

    def flaky(**arguments: object) -> dict[str, object]:
        if arguments["seed"] == 1 and not arguments["weights"]:
            raise RuntimeError("out of luck")
        return real(**arguments)  # type: ignore[arg-type]

    asked = {"slices": SLICES, "seeds": 2, "replicates": 60}
    monkeypatch.setattr(bank, "retrain", flaky)
    found = interact(fresh, short, **asked)  # type: ignore[arg-type]
    assert (list(found.failures), found.rows[0].seeds, found.trained) == (["all data, seed 1"], 1, 0)
    monkeypatch.undo()
    mended = interact(fresh, short, **asked)  # type: ignore[arg-type]
    assert (dict(mended.failures), mended.rows[0].seeds, mended.reused, mended.trained) == ({}, 2, False, 0)


def test_the_error_of_sampling_widens_an_interval() -> None:
    plain = Contrast(1.0, 0.5, 2.0, 0.3, 8.0)
    wide = widened(plain, 0.4, 3, 0.95)
    assert wide.error == pytest.approx(0.5)
    assert wide.low < plain.low
    assert wide.high > plain.high
    assert 3 < wide.freedom < 11
    assert widened(plain, 1e-9, 3, 0.95).high == pytest.approx(plain.high)
