from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from influence.causes.compared import plain
from influence.causes.gap import gap, judge
from influence.causes.graph import CausalGraph
from influence.causes.rates import design, population_averaged
from influence.causes.utterances import UNKNOWN, averaged, load
from lineage.errors import EarmarkError, UnknownName
from lineage.selection.sets import resolve_set
from lineage.selection.slices import Slice, select
from lineage.store import Store
from tests.influence.causes.simulation import heard_by, true_gap, utterances
from tests.influence.conftest import make_store
from training.evaluation.predict import predict
from training.fit import train
from training.recipe import Recipe


def test_the_adjusted_gap_recovers_the_truth_that_the_raw_gap_misses() -> None:
    heard = utterances(1)
    found = judge(heard, "slice", replicates=300)
    adjusted = found.adjusted
    assert adjusted is not None
    assert found.mixed is not None
    assert found.raw.low > 0.05  # confounded: as if the slice were badly served
    assert adjusted.gap.low < 0 < adjusted.gap.high
    assert abs(found.mixed.gap) < 0.06
    assert found.adjusted_for == ("noise",)


def test_a_true_gap_is_found_beneath_the_confounding() -> None:
    heard = utterances(5, effect=0.5)
    found = judge(heard, "slice", replicates=300).adjusted
    assert found is not None
    assert found.gap.low < true_gap(heard, 0.5) < found.gap.high
    assert found.gap.low > 0
    assert found.inside - found.outside == pytest.approx(found.gap.value)


def test_without_confounding_adjusted_and_raw_agree() -> None:
    heard = utterances(2, confounded=0.0, effect=0.3)
    found = judge(heard, "slice", replicates=300)
    assert found.adjusted.gap.value == pytest.approx(found.raw.value, abs=0.01)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    covered = 0
    for seed in range(60):
        heard = utterances(1000 + seed, speakers=16, each=15, effect=0.4)
        interval = population_averaged(heard, design(heard)).gap
        covered += interval.low <= true_gap(heard, 0.4) <= interval.high
    assert covered >= 53  # 5 % of 95-percent intervals, six binomial hundredths below


def test_the_raw_gap_of_several_models_is_the_mean_of_theirs() -> None:
    heard = heard_by(3, 21, effect=0.4)
    found = judge(averaged(heard), "slice", replicates=200)
    each = [judge(h, "slice", replicates=200).raw.value for h in heard]
    assert found.raw.value == pytest.approx(np.mean(each))
    assert len({round(value, 6) for value in each}) == 3
    assert found.raw.blocks == 24


def test_a_model_that_says_the_same_again_tells_nothing_new() -> None:
    heard = utterances(22, effect=0.4)
    assert judge(averaged([heard] * 4), "slice", replicates=200) == judge(heard, "slice", replicates=200)


def test_several_models_are_not_more_speakers() -> None:
    """Of their mean the intervals cover the truth as often as they say; those of as many times the speakers would not."""
    covered, pretended = 0, 0
    for seed in range(60):
        heard = heard_by(5, 2000 + seed, speakers=16, each=15, effect=0.4)
        mean, truth = averaged(heard), true_gap(heard[0], 0.4)
        as_if = replace(
            mean, samples=mean.samples * 5, errors=np.concatenate([h.errors for h in heard]), words=np.tile(mean.words, 5),
            speakers=np.concatenate([h.speakers + 16 * i for i, h in enumerate(heard)]), inside=np.tile(mean.inside, 5),
            columns={"noise": np.tile(mean.columns["noise"], 5)},
        )  # fmt: skip
        ours, theirs = (population_averaged(h, design(h)).gap for h in (mean, as_if))
        covered += ours.low <= truth <= ours.high
        pretended += theirs.low <= truth <= theirs.high
    assert covered >= 53
    assert pretended < 50


def test_models_that_heard_other_utterances_have_no_mean() -> None:
    heard = utterances(23)
    with pytest.raises(ValueError, match="same utterances"):
        averaged([heard, heard.only(np.arange(len(heard)) > 0)])


def test_the_gap_is_about_the_slice_and_changes_sign_with_it() -> None:
    heard = utterances(3, effect=0.4)
    other = replace(heard, inside=~heard.inside)
    one, two = (population_averaged(h, design(h)) for h in (heard, other))
    assert two.gap.value == pytest.approx(-one.gap.value, rel=1e-6)
    assert two.ratio == pytest.approx(1 / one.ratio, rel=1e-6)


def test_no_overlap_is_refused_and_the_cells_are_named() -> None:
    heard = utterances(4)
    apart = replace(heard, columns={"device": np.where(heard.inside, "phone", "studio").astype(object)})
    with pytest.raises(EarmarkError, match=r"no overlap: 100%.*device=phone \(360 in the slice, 0 others\)"):
        judge(apart, "accent=scot")


def test_cells_without_support_are_left_out_and_named() -> None:
    heard = utterances(4, confounded=0.2)
    device = np.where(heard.inside & (np.arange(len(heard)) % 5 == 0), "car", "desk").astype(object)
    found = judge(replace(heard, columns={**heard.columns, "device": device}), "slice", replicates=200)
    assert not found.overlap.whole
    assert found.overlap.share_outside == 1
    assert "device=car" in found.cautions[0]
    assert found.raw_kept.value != found.raw.value
    assert found.left_aside == ("device",) or "device" in found.adjusted_for


def test_conditions_that_say_nothing_new_are_left_aside() -> None:
    heard = utterances(6)
    copy = {**heard.columns, "again": heard.columns["noise"], "same": np.full(len(heard), "x", dtype=object)}
    found = judge(replace(heard, columns=copy), "slice", replicates=200)
    assert set(found.left_aside) == {"same", "again=clean"}
    alone = judge(heard, "slice", replicates=200)
    assert found.adjusted.gap.value == pytest.approx(alone.adjusted.gap.value)


def test_numbers_are_adjusted_for_and_missing_ones_are_a_level() -> None:
    heard = utterances(7, confounded=0.6)
    level = np.where(heard.columns["noise"] == "babble", 5.0, 25.0)
    level[::50] = np.nan
    found = judge(replace(heard, columns={"snr_estimate_db": level}), "slice", replicates=200)
    assert abs(found.adjusted.gap.value) < abs(found.raw.value) / 2


def test_one_speaker_on_a_side_gives_no_interval() -> None:
    heard = utterances(8, speakers=8)
    one = replace(heard, inside=heard.speakers == 0)
    found = judge(one, "slice", replicates=200)
    assert np.isnan(found.adjusted.gap.low)
    assert any("single speaker" in c for c in found.cautions)


def test_a_side_without_errors_is_said_to_be_that() -> None:
    heard = utterances(9)
    spotless = replace(heard, errors=np.where(heard.inside, 0.0, heard.errors))
    with pytest.raises(EarmarkError, match=r"no word errors in the slice, .* adjust for nothing"):
        judge(spotless, "slice", replicates=200)


@pytest.fixture(scope="module")
def model(store: Store, recipe: Recipe) -> str:
    return train(store, recipe.variant(epochs=1)).model_id


def test_from_the_record(store: Store, model: str) -> None:
    report = gap(store, [model], "test", "noise=hum", adjust=["duration_s"], replicates=200)
    rows = store.sql(
        "SELECT s.noise = 'hum' AS inside, sum(p.substitutions + p.deletions + p.insertions) / sum(p.words) AS wer "
        "FROM predictions p JOIN samples s USING (sample_id) JOIN runs r ON r.run_id = p.run_id "
        "WHERE p.model_id = ? AND p.words > 0 GROUP BY inside ORDER BY inside",
        [model],
    ).to_pylist()
    assert report.gaps.raw.value == pytest.approx(rows[1]["wer"] - rows[0]["wer"])
    run = store.resolve_run(report.run_id)
    assert run.kind == "gap"
    assert json.loads(json.dumps(plain(report))) == run.result
    assert (report.models, report.each) == ((model,), (pytest.approx(report.gaps.raw.value),))


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> tuple[Store, list[str]]:
    """A recipe with three seeds and once with another learning rate; all but the third are evaluated."""
    made = make_store(tmp_path_factory.mktemp("seeds") / "store")
    short = recipe.variant(epochs=1, checkpoints=0)
    changed = [short, short.variant(seed=1), short.variant(seed=2), short.variant(learning_rate=1e-3, seed=3)]
    ids = [train(made, r).model_id for r in changed]
    for one in (ids[1], ids[0], ids[3]):
        predict(made, one, "test")
    return made, ids


def test_it_is_of_all_seeds_that_are_on_record(seeds: tuple[Store, list[str]]) -> None:
    made, ids = seeds
    told: list[str] = []
    asked: dict[str, Any] = {"adjust": ["duration_s"], "replicates": 200}
    both = gap(made, ids[1], "test", "noise=hum", **asked, progress=lambda done, total, label: told.append(label))
    assert both.models == (ids[0], ids[1])
    alone = [gap(made, [one], "test", "noise=hum", **asked) for one in ids[:2]]
    assert both.each == tuple(a.gaps.raw.value for a in alone)
    assert both.gaps.raw.value == pytest.approx(np.mean(both.each))
    assert {a.gaps.raw.blocks for a in (*alone, both)} == {6}
    assert told == ["estimating"] * 3
    assert gap(made, ids[0], "test", "noise=hum", **asked) == both  # whichever is named, and from the record
    assert gap(made, [ids[2]], "test", "noise=hum", **asked).models == (ids[2],)
    three = gap(made, ids[0], "test", "noise=hum", **asked)  # which was just evaluated
    assert three.models == tuple(ids[:3])
    assert gap(made, ids[3], "test", "noise=hum", **asked).models == (ids[3],)
    with pytest.raises(EarmarkError, match="no model to look at"):
        gap(made, [], "test", "noise=hum")


def test_each_model_that_has_to_be_evaluated_is_told_of(seeds: tuple[Store, list[str]]) -> None:
    made, ids = seeds
    told: list[tuple[int, int, str]] = []
    gap(made, ids[:2], "train", "noise=hum", replicates=50, progress=lambda *step: told.append(step))
    labels = {label.partition(",")[0] for _, _, label in told}
    assert labels == {"model 1 of 2", "model 2 of 2", "estimating"}


def test_how_many_models_it_is_of_is_said(seeds: tuple[Store, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    from tests.earmark.test_cli import earmark

    made, ids = seeds
    asked = ("gap", ids[0], "test", "--slice", "noise=hum", "--adjust", "duration_s", "--store", str(made.root))
    models = gap(made, ids[0], "test", "noise=hum", adjust=["duration_s"]).models
    earmark(*asked)
    assert f"of {len(models)} models that differ in their seeds, errors averaged; the raw gap of each: " in " ".join(
        capsys.readouterr().out.split()
    )
    earmark(*asked, "--json")
    assert json.loads(capsys.readouterr().out)["models"] == list(models)
    earmark(*asked, "--alone")
    assert "of one model\n" in capsys.readouterr().out


def test_what_is_not_recorded_is_unknown(store: Store, model: str) -> None:
    population = resolve_set(store, "test").digest
    inside = select(store, Slice.parse("accent=north"), population)
    run = predict(store, model, population).run_id
    heard = load(store, run, inside, ["snr_estimate_db", "source", "noise"])
    assert np.isnan(heard.columns["snr_estimate_db"]).all()
    assert set(heard.columns["source"]) == {UNKNOWN}
    assert set(heard.columns["noise"]) == {"hum", "clean"}
    assert heard.inside.sum() == 8


def test_mistakes_are_told(store: Store, model: str) -> None:
    graph = CausalGraph.parse("noise -> errors; accent -> errors")
    wrong = [
        ({"slice_text": "accent=*"}, "means 3 slices"),
        ({"slice_text": "all"}, "the others than all have no reference words"),
        ({"slice_text": "accent=north", "adjust": ["accent"]}, "no overlap: accent"),
        ({"slice_text": "accent=north", "causes": graph, "adjust": ["noise"]}, "asks to adjust for nothing"),
        ({"slice_text": "duration_s > 0.4", "causes": graph}, "not attribute=value"),
        ({"slice_text": "accent=north", "refutations": 5}, "nothing to refute"),
    ]
    for asked, said in wrong:
        with pytest.raises(EarmarkError, match=said):
            gap(store, model, "test", **asked)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="nose"):
        gap(store, model, "test", "accent=north", adjust=["nose"])


def test_on_the_command_line(store: Store, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.earmark.test_cli import earmark

    graph, drawn = tmp_path / "causes.yaml", tmp_path / "causes.svg"
    graph.write_text("causes:\n  edges: |\n    duration_s -> noise -> errors\n    duration_s -> errors\n")
    where = ("--store", str(store.root))
    earmark("gap", model, "test", "--slice", "noise=hum", "--causes", str(graph), "--draw", str(drawn), *where)
    told = capsys.readouterr().out
    assert "adjusted for duration_s" in told
    assert "beware: conditions nobody recorded are not adjusted for" in told
    assert drawn.read_text().startswith("<svg")
    nowhere = str(tmp_path / "nowhere" / "causes.svg")
    earmark("gap", model, "test", "--slice", "noise=hum", "--causes", str(graph), "--draw", nowhere, *where, status=2)
    assert f"cannot write {nowhere}" in capsys.readouterr().err
    earmark("gap", model, "test", "--slice", "noise=hum", "--adjust", "duration_s", "--json", *where)
    assert json.loads(capsys.readouterr().out)["adjusted_for"] == ["duration_s"]
    earmark("gap", model, "test", "--slice", "noise=hum", "--draw", str(drawn), *where, status=2)
