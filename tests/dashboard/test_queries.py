"""Queries against figures worked out by hand (see the three rules in `stores`)."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest

from dashboard.queries import effects, fidelity, influences, integrity, overview, samples, utterances
from dashboard.queries.evaluations import (
    Evaluation,
    conditions,
    evaluations,
    filterable,
    filtered_rates,
    measures,
    parts,
    slice_rates,
)
from lineage.selection.sets import members
from lineage.store import Store
from tests.dashboard import stores
from tests.dashboard.stores import SLICES, STRENGTH, Known
from training.statistics import bootstrap

BABBLE = (("noise", ("babble",)),)


@pytest.fixture(scope="module")
def evaluation(known: Known) -> Evaluation:
    return evaluations(known.store)[0]


# -- overview ----------------------------------------------------------------------------------------------------------


def test_totals(known: Known) -> None:
    found = overview.totals(known.store)
    assert (found.samples, found.derived, found.noises, found.speakers) == (36, 12, 1, 12)
    assert found.seconds == pytest.approx(36 * 0.5)
    assert found.recorded_seconds == pytest.approx(24 * 0.5)
    assert found.sources == 1
    assert found.licences == ("CC-BY-4.0", "CC0-1.0", "CC0-1.0 AND CC-BY-4.0") or "CC0-1.0" in found.licences
    assert found.models == 2
    assert found.runs == len(known.store.runs())


def test_an_empty_store_has_no_totals(bare: Store) -> None:
    found = overview.totals(bare)
    assert (found.samples, found.seconds, found.licences, found.runs) == (0, 0.0, (), 0)
    assert overview.attributes(bare) == ()
    assert overview.runs(bare, None, 0, 10).pages == 1


def test_composition_counts_by_value(known: Known) -> None:
    assert {"accent", "noise", "split"} <= set(overview.attributes(known.store))
    shares = {s.value: s for s in overview.composition(known.store, "noise")}
    assert (shares["clean"].samples, shares["babble"].samples) == (24, 12)
    assert shares["babble"].speakers == 12


def test_runs_come_by_kind_newest_first_a_page_at_a_time(known: Known) -> None:
    first = overview.runs(known.store, None, 0, 5)
    second = overview.runs(known.store, None, 1, 5)
    ids = [r.run_id for r in first.rows + second.rows]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 10
    trained = overview.runs(known.store, "train", 0, 10)
    assert [(r.job, r.status) for r in trained.rows] == [
        ("broken", "failed"),
        ("tiny", "completed"),
        ("tiny", "completed"),
    ]
    kinds = {k.kind: k for k in overview.run_kinds(known.store)}
    assert (kinds["train"].completed, kinds["train"].unfinished) == (2, 1)


def test_sets_and_models_are_named(known: Known) -> None:
    splits = overview.sets(known.store, ("split",), 0, 10)
    assert {s.name for s in splits.rows} == {"train", "test"}
    assert {s.size for s in splits.rows} == {12}
    assert overview.set_kinds(known.store)["slice"] == 9
    found = overview.models(known.store, 0, 10)
    assert found.total == 2
    assert {m.trained_on for m in found.rows} == {"train"}


# -- evaluations -------------------------------------------------------------------------------------------------------


def test_models_trained_on_everything_come_first(known: Known) -> None:
    first, second = evaluations(known.store)
    assert (first.model_id, first.left_out, first.set_name) == (known.model, (), "test")
    assert second.left_out == ("accent=scot",)
    assert first.predictions == known.predicted


def test_rates_are_errors_over_words(known: Known, evaluation: Evaluation) -> None:
    rates = {r.slice: r for r in slice_rates(known.store, evaluation, "wer")}
    by_hand = {
        "all": 15 / 48,
        "accent=scot": 9 / 24,
        "accent=us": 6 / 24,
        "noise=babble": 9 / 24,
        "noise=clean": 6 / 24,
    }
    assert {name: r.rate.value for name, r in rates.items()} == pytest.approx(by_hand)
    assert (rates["all"].speakers, rates["all"].samples, rates["all"].words) == (6, 12, 48)
    assert measures(known.store, evaluation) == ("wer", "loss")


def test_filters_count_again_with_the_same_bootstrap(known: Known, evaluation: Evaluation) -> None:
    rates = {r.slice: r for r in filtered_rates(known.store, evaluation, "wer", BABBLE)}
    assert {n: r.rate.value for n, r in rates.items()} == pytest.approx(
        {"all": 9 / 24, "accent=scot": 6 / 12, "accent=us": 3 / 12, "noise=babble": 9 / 24}
    )
    recorded = {r.slice: r for r in slice_rates(known.store, evaluation, "wer")}
    assert rates["noise=babble"].rate == recorded["noise=babble"].rate
    # Every speaker of an accent errs alike, so resampling them changes nothing.
    assert rates["accent=scot"].rate.ends is not None
    assert rates["accent=scot"].rate.ends.low == pytest.approx(0.5)
    assert (rates["accent=scot"].speakers, rates["accent=scot"].words) == (3, 12)


def test_an_unfiltered_recount_equals_the_record(known: Known, evaluation: Evaluation) -> None:
    every = (("noise", ("babble", "clean")),)
    for metric in ("wer", "loss"):
        again = {r.slice: r for r in filtered_rates(known.store, evaluation, metric, every)}
        for row in slice_rates(known.store, evaluation, metric):
            assert again[row.slice].rate.value == pytest.approx(row.rate.value)
            mine, theirs = again[row.slice].rate.ends, row.rate.ends
            assert mine is not None
            assert theirs is not None
            assert [mine.low, mine.high] == pytest.approx([theirs.low, theirs.high])
            assert (again[row.slice].speakers, again[row.slice].words) == (row.speakers, row.words)


def test_attributes_to_filter_by(known: Known, evaluation: Evaluation) -> None:
    found = filterable(known.store, evaluation)
    assert found["accent"] == ("scot", "us")
    assert found["noise"] == ("babble", "clean")
    assert "split" not in found  # one value tells nothing apart


@pytest.mark.parametrize(
    ("slice", "expected"),
    [
        ("accent=scot", ("accent", "scot")),
        ("all", ("", "all")),
        ("a=b & c=d", ("", "a=b & c=d")),
        ("long talk=1", ("", "long talk=1")),
    ],
)
def test_names_of_slices(slice: str, expected: tuple[str, str]) -> None:
    assert parts(slice) == expected


def test_a_slice_without_members_on_record_is_not_guessed_at(known: Known, evaluation: Evaluation) -> None:
    assert conditions(evaluation, "the long ones") is None
    assert utterances.tally(known.store, evaluation, "the long ones", ()) is None


def test_hostile_slices_and_filters_stay_text(known: Known, evaluation: Evaluation) -> None:
    for hostile in ("accent='; DROP TABLE x; --", "a'b=c'd"):
        found = utterances.tally(known.store, evaluation, hostile, (("x'y", ("z'",)),))
        assert found is None or found.samples == 0


# -- utterances --------------------------------------------------------------------------------------------------------


def test_tallies(known: Known, evaluation: Evaluation) -> None:
    found = utterances.tally(known.store, evaluation, "accent=scot", ())
    assert found == utterances.Tally(6, 3, 24, substitutions=6, deletions=3, insertions=0, perfect=0)
    both = utterances.tally(known.store, evaluation, "accent=us", BABBLE)
    assert both == utterances.Tally(3, 3, 12, substitutions=0, deletions=3, insertions=0, perfect=0)


def test_utterances_come_a_page_at_a_time_and_none_is_lost(known: Known, evaluation: Evaluation) -> None:
    for order in utterances.ORDERS:
        seen: list[uuid.UUID] = []
        for number in range(3):
            page = utterances.utterances(known.store, evaluation, "all", (), order, number, 5)
            assert (page.total, page.pages) == (12, 3)
            seen += [u.sample_id for u in page.rows]
        assert sorted(seen) == members(known.store, known.test.digest).to_pylist()
    worst = utterances.utterances(known.store, evaluation, "all", (), "errors", 0, 3).rows
    assert [(u.errors, dict(u.attributes)["accent"]) for u in worst] == [(2, "scot")] * 3


def test_a_page_past_the_end_is_the_last(known: Known, evaluation: Evaluation) -> None:
    assert utterances.utterances(known.store, evaluation, "all", (), "errors", 99, 5).number == 2


def test_one_utterance(known: Known, evaluation: Evaluation) -> None:
    some = members(known.store, known.test.digest).to_pylist()[0]
    found = utterances.utterance(known.store, evaluation, some)
    assert found is not None
    assert found.words == 4
    assert utterances.utterance(known.store, evaluation, uuid.UUID(int=1)) is None


# -- effects and influences --------------------------------------------------------------------------------------------


def test_audits_and_their_cells(known: Known) -> None:
    (audit,) = effects.audits(known.store)
    assert (audit.audit, audit.metrics, audit.train_slices, audit.eval_slices) == (known.audit, ("wer", "loss"), 4, 5)
    cells = {(e.train_slice, e.eval_slice): e for e in effects.effects(known.store, audit.run_id, audit.audit, "wer")}
    assert len(cells) == 20
    own = cells["accent=scot", "accent=scot"]
    assert own.estimate is not None
    assert own.estimate.value == pytest.approx(STRENGTH["accent=scot"])
    assert [own.estimate.ends.low, own.estimate.ends.high] == pytest.approx([0.18, 0.32])
    assert own.kind == effects.HELPS
    assert cells["noise=clean", "noise=clean"].kind == effects.HURTS


def test_an_effect_without_interval_is_not_shown(tmp_path: Path) -> None:
    store = stores.empty(tmp_path / "store")
    with store.run("ablate", job="one seed") as run:
        row = {
            "audit": "f" * 64, "train_slice": "a", "train_set": "1" * 64, "eval_slice": "b", "eval_set": "2" * 64,
            "metric": "wer", "estimate": 0.5, "verdict": "not identifiable",
        }  # fmt: skip
        run.append("effects", [row])
    (cell,) = effects.effects(store, run.id, "f" * 64, "wer")
    assert cell.estimate is None
    assert cell.kind == effects.OPEN


def test_sums_of_influences(known: Known) -> None:
    (attribution,) = influences.attributions(known.store)
    train = {name: known.slices[f"train:{name}"].set_digest for name in SLICES}
    found = influences.sums(known.store, attribution, tuple(train.values()))
    assert len(found) == 4 * 5
    for name in SLICES:
        ids = members(known.store, train[name]).to_pylist()
        target = known.slices["test:all"].set_digest
        assert found[train[name], target] == pytest.approx(sum(known.values[i, "all"] for i in ids))


def test_fidelity_is_that_of_the_influence_package(known: Known) -> None:
    (audit,), (attribution,) = effects.audits(known.store), influences.attributions(known.store)
    found = fidelity.agreement(known.store, audit, "loss", attribution)
    cells = effects.effects(known.store, audit.run_id, audit.audit, "loss")
    x = [found.predicted[e.train_set, e.eval_set] for e in cells]
    y = [e.estimate.value for e in cells if e.estimate]
    assert found.pearson is not None
    assert found.spearman is not None
    assert found.pearson.value == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert found.spearman.pairs == 20
    assert found.spearman.ends.low < found.spearman.value <= found.spearman.ends.high + 1e-9
    assert found.ceiling is not None
    other = fidelity.agreement(known.store, audit, "nothing", attribution)
    assert (other.predicted, other.spearman) == ({}, None)


def test_most_helpful_and_most_harmful(known: Known) -> None:
    (attribution,) = influences.attributions(known.store)
    train, target = known.slices["train:noise=clean"].set_digest, known.slices["test:noise=clean"].set_digest
    values = sorted(known.values[i, "noise=clean"] for i in members(known.store, train).to_pylist())
    for helpful, expected in ((True, [v for v in values if v > 0][::-1]), (False, [v for v in values if v < 0])):
        shown: list[float] = []
        for number in range(4):
            page = influences.ranked(known.store, attribution, target, train, helpful, number, 2)
            assert page.total == len(expected)
            if number < page.pages:
                shown += [i.value for i in page.rows]
        assert shown == pytest.approx(expected)
    assert influences.largest(known.store, attribution, target, train) == pytest.approx(max(map(abs, values)))


# -- samples -----------------------------------------------------------------------------------------------------------


def test_lineage_leads_to_the_recordings(known: Known) -> None:
    mixed = known.store.sql("SELECT child_id FROM edges ORDER BY child_id LIMIT 1").to_pylist()[0]["child_id"]
    root = samples.lineage_of(known.store, mixed)
    assert root is not None
    assert (root.transform, root.parameters["snr_db"], root.facts.recorded) == ("noise", 6.0, False)
    assert [(o.role, o.parent.facts.kind, o.parent.facts.recorded) for o in root.origins] == [
        ("speech", "speech", True),
        ("noise", "noise", True),
    ]
    assert all(not o.parent.origins for o in root.origins)
    assert samples.lineage_of(known.store, uuid.UUID(int=1)) is None


def test_consumption(known: Known) -> None:
    scot, us = (
        members(known.store, known.slices[f"train:accent={a}"].set_digest).to_pylist()[0] for a in ("scot", "us")
    )
    assert samples.consumption(known.store, us) == samples.Consumption(derived=0, models=2, exposures=4)
    assert samples.consumption(known.store, scot).models == 1  # left out of the other
    hiss = known.store.sql("SELECT sample_id FROM samples WHERE kind = 'noise'").to_pylist()[0]["sample_id"]
    assert samples.consumption(known.store, hiss).derived == 12


# -- integrity ---------------------------------------------------------------------------------------------------------


def test_a_look_finds_what_is_gone_or_cut(own: Store) -> None:
    store = own
    assert integrity.look(store).ok
    assert integrity.full_check(store).ok
    first, second = (s for s in store.segments("samples")[:2])
    (store.root / first.path).unlink()
    with (store.root / second.path).open("ab") as stream:
        stream.write(b"x")
    found = integrity.look(store)
    assert [first.path in found.problems[0], second.path in found.problems[1]] == [True, True]
    assert {f.file for f in integrity.full_check(store).findings} >= {first.path, second.path}


def test_the_bootstrap_in_use_is_the_evaluations_own(known: Known, evaluation: Evaluation) -> None:
    assert (evaluation.level, evaluation.replicates, evaluation.seed_of_bootstrap) == (0.95, 200, 0)
    assert evaluation.replicates != bootstrap.REPLICATES  # so that the test above would notice
