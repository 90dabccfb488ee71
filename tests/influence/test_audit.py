from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from scipy import stats

from influence import bank
from influence.audit import AuditReport, audit, findings, run
from influence.executors.spread import ALONE
from influence.plans.plan import freeze
from influence.plans.planfile import AuditPlan
from influence.plans.request import request
from influence.rounds import Rounds
from influence.statistics.sequential import Sequential
from influence.statistics.verdicts import NOT_IDENTIFIABLE
from lineage.errors import EarmarkError, UnknownName
from lineage.store import Store
from tests.influence.conftest import make_store
from training.evaluation.mapsswe import mapsswe
from training.evaluation.predict import recorded, spoken_and_heard
from training.normalise import normaliser
from training.progress import silent
from training.recipe import Recipe
from training.statistics.multiplicity import merged

SLICES = ["accent=*", "noise=hum"]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("audit") / "store")


@pytest.fixture(scope="module")
def short(recipe: Recipe) -> Recipe:
    return recipe.variant(epochs=1)


@pytest.fixture(scope="module")
def report(fresh: Store, short: Recipe) -> AuditReport:
    return audit(fresh, short, slices=SLICES, seeds=2, controls=1, replicates=200, margin=0.3)


def test_one_effect_for_each_slice_on_each_slice_by_metric(report: AuditReport, fresh: Store) -> None:
    names = ["accent=north", "accent=south", "accent=west", "noise=hum"]
    cells = {(e.train_slice, e.eval_slice, e.metric) for e in report.effects}
    assert cells == {(a, b, m) for a in names for b in ["all", *names] for m in ("wer", "loss")}
    rows = fresh.read("effects", where="run_id = ?", parameters=[report.run_id]).to_pylist()
    assert [{k: v for k, v in r.items() if k != "run_id"} for r in rows] == [asdict(e) for e in report.effects]


def test_slices_of_equal_size_share_their_controls(report: AuditReport) -> None:
    assert report.retrainings == 2 * (1 + 4 + 2)  # all data, four slices, random removals of 12 and of 18


def test_the_estimate_is_the_metric_without_minus_with_all(report: AuditReport, fresh: Store) -> None:
    effect = report.effect("accent=south", "all")
    rates = fresh.sql(
        """SELECT m.seed, t.config LIKE '%' || ? || '%' AS without,
                  sum(substitutions + deletions + insertions) / sum(words) AS wer
           FROM predictions p JOIN models m USING (model_id) JOIN runs t ON t.run_id = m.run_id
           WHERE t.config LIKE '%"weights": {}%' OR t.config LIKE '%' || ? || '%' GROUP BY ALL""",
        [effect.train_set, effect.train_set],
    ).to_pylist()
    whole = [r["wer"] for r in rates if not r["without"]]
    without = [r["wer"] for r in rates if r["without"]]
    assert (len(whole), len(without)) == (2, 2)
    assert effect.estimate == pytest.approx(sum(without) / 2 - sum(whole) / 2)


def test_the_second_test_is_mapsswe_of_every_seed(report: AuditReport, fresh: Store) -> None:
    effect = report.effect("accent=south", "all")
    runs = fresh.sql(
        """SELECT t.seed, t.config LIKE '%' || ? || '%' AS without, any_value(p.run_id) AS run
           FROM predictions p JOIN models m USING (model_id) JOIN runs t ON t.run_id = m.run_id
           WHERE t.config LIKE '%"weights": {}%' OR t.config LIKE '%' || ? || '%' GROUP BY ALL ORDER BY 1, 2""",
        [effect.train_set] * 2,
    ).to_pylist()
    p = []
    for whole, without in zip(runs[::2], runs[1::2], strict=True):
        a, b = (spoken_and_heard(fresh, recorded(fresh, r["run"], "basic")) for r in (without, whole))
        text = normaliser("basic")
        p.append(mapsswe(*zip(*((text(a[i][0]), text(a[i][1]), text(b[i][1])) for i in a), strict=True)).p)
    expected = [value for value in p if value == value]
    assert effect.mapsswe_p == (pytest.approx(merged(expected)) if expected else None)
    assert report.effect("accent=south", "all", "loss").mapsswe_p is None


def test_asking_again_reads_it_back(report: AuditReport, fresh: Store, short: Recipe) -> None:
    runs = len(fresh.runs())
    again = audit(fresh, short, slices=SLICES, seeds=2, controls=1, replicates=200, margin=0.3)
    assert again.reused
    assert (again.effects, again.run_id, again.trained) == (report.effects, report.run_id, 0)
    assert len(fresh.runs()) == runs


def test_a_wider_audit_reuses_the_retrainings_of_a_narrower_one(
    report: AuditReport, fresh: Store, short: Recipe
) -> None:
    wider = audit(fresh, short, slices=[*SLICES, "noise=clean"], seeds=2, controls=1, replicates=200, margin=0.3)
    assert wider.trained == 2  # the new slice; its control has the size of one that is there
    assert wider.effect("accent=north").estimate == report.effect("accent=north").estimate


def test_the_plan_is_on_record_before_any_retraining(report: AuditReport, fresh: Store) -> None:
    plan = fresh.resolve_run(report.plan_run)
    trained = [r for r in fresh.runs() if r.kind == "train"]
    assert plan.config["audit"] == report.audit
    assert all(plan.ended <= r.started for r in trained if plan.id in r.parents)
    assert {s["slice"] for s in fresh.read("slices", where="run_id = ?", parameters=[plan.id]).to_pylist()} >= {
        "accent=north", "noise=hum", "all"
    }  # fmt: skip


def test_the_recipe_s_own_model_keeps_its_checkpoints_and_no_other(report: AuditReport, fresh: Store) -> None:
    kept = {
        (r.seed, len(r.result["checkpoints"])) for r in fresh.runs() if r.kind == "train" and not r.config["weights"]
    }
    assert kept == {(0, 3), (1, 0)}


def test_found_beside_expected(report: AuditReport) -> None:
    expected = {"accent=north": report.effect("accent=north").verdict, "noise=hum": "hurts"}
    found = {f.effect.train_slice: f for f in findings(report, expected)}
    assert found["accent=north"].holds
    assert not found["noise=hum"].holds
    assert found["accent=west"].holds is None
    with pytest.raises(EarmarkError, match="accent=est"):
        findings(report, {"accent=est": "helps"})


def test_mistakes_are_told_before_anything_is_done(fresh: Store, short: Recipe) -> None:
    runs = len(fresh.runs())
    wrong = [
        {"slices": ["acent=north"]},
        {"slices": []},
        {"slices": ["all"]},
        {"slices": ["accent=north"], "evaluation": ["accent=est"]},
        {"slices": ["accent=north"], "evaluation_set": "nowhere"},
        {"slices": ["accent=north"], "seeds": 0},
        {"slices": ["accent=north"], "seeds": [1, 1]},
        {"slices": ["accent=north"], "controls": -1},
        {"slices": ["accent=north"], "match": "age"},
        {"slices": ["accent=north"], "margin": -1},
        {"slices": ["accent=north"], "metrics": ["mos"]},
        {"slices": ["accent=north"], "metrics": ["loss"], "sequential": Sequential((2, 3))},
        {"slices": ["accent=north"], "seeds": 4, "sequential": Sequential((2, 3))},
    ]
    for asked in wrong:
        with pytest.raises(EarmarkError):
            audit(fresh, short, **asked)  # type: ignore[arg-type]
    done = [r for r in fresh.runs()[runs:] if r.kind != "plan" or r.status == "completed"]
    assert not [r for r in done if r.kind in ("train", "evaluate", "ablate")]


def test_what_is_settled_gets_no_more_seeds_whatever_interrupts_the_audit(
    report: AuditReport, fresh: Store, short: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Sequential((2, 3), metric="loss", futility=0)
    level = looks.look(0).level(0.05)
    own = [report.effect(name, "all", "loss") for name in ("accent=north", "accent=south", "accent=west", "noise=hum")]
    needed = sorted(abs(e.difference) + e.error * stats.t.isf(level, e.freedom) for e in own)  # type: ignore
    margin = (needed[1] + needed[2]) / 2  # two slices are settled at the first look
    statistics = {"margins": {"loss": margin}, "replicates": 200, "sequential": looks.to_json()}
    asked = {"recipe": short, "slices": SLICES, "controls": {"number": 1}, "statistics": statistics}
    plan = AuditPlan.parse(asked)
    real, calls = bank.Bank.fill, []

    def killed(*arguments: object, **options: object) -> bank.Filled:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(bank.Bank, "fill", killed)
    with pytest.raises(KeyboardInterrupt):
        run(fresh, plan)
    monkeypatch.undo()
    found = run(fresh, plan)
    seeds = {e.train_slice: (e.seeds, e.looks) for e in found.effects}
    assert sorted(seeds.values()) == [(2, 1), (2, 1), (3, 2), (3, 2)]
    assert found.planned == 3 * (1 + 4 + 2)
    assert found.trained <= found.retrainings - 14 <= 5  # all data, two slices, their controls
    # more on record than was needed changes nothing
    audit(fresh, short, slices=SLICES, seeds=3, controls=1, replicates=20)
    again = Rounds(fresh, freeze(fresh, request(fresh, plan)))
    effects, _ = again.carry_out(ALONE, silent)
    assert tuple(effects) == found.effects
    assert again.trained == 0


def test_what_more_seeds_would_hardly_tell_gets_no_more_of_them(
    fresh: Store, short: Recipe, report: AuditReport
) -> None:
    unreachable = {"margins": {"loss": 1e-9}, "replicates": 50, "sequential": {"looks": [2, 3], "metric": "loss"}}
    asked = {"recipe": short, "slices": ["accent=north"], "controls": {"number": 1}, "statistics": unreachable}
    found = run(fresh, AuditPlan.parse(asked))
    assert (found.retrainings, found.planned) == (6, 9)
    effect = found.effect("accent=north", "all", "loss")
    assert (effect.verdict, effect.seeds) == (NOT_IDENTIFIABLE, 2)
    assert "more test speakers would tell, more seeds hardly" in effect.reason


def test_other_metrics_are_measured_when_asked_for(fresh: Store, short: Recipe, report: AuditReport) -> None:
    asked = ("wer", "cer", "ece_utterance", "ece_word", "entity_errors")
    found = audit(fresh, short, slices=SLICES, seeds=2, controls=1, replicates=200, margin=0.3, metrics=asked)
    assert found.trained == 0
    assert {e.metric for e in found.effects} == {
        "wer",
        "cer",
        "ece_utterance",
        "ece_word",
    }  # no entities are tagged here
    assert found.effect("accent=north", "all") == replace(report.effect("accent=north", "all"), audit=found.audit)
    rates = fresh.sql(
        "SELECT t.config LIKE '%' || ? || '%' AS without, sum(character_errors) / sum(characters) AS cer, "
        "avg(abs(confidence)) AS sure FROM predictions p JOIN models m USING (model_id) JOIN runs t ON t.run_id = m.run_id "
        "WHERE t.seed < 2 AND (t.config LIKE '%\"weights\": {}%' OR t.config LIKE '%' || ? || '%') GROUP BY ALL ORDER BY 1",
        [found.effect("accent=north").train_set] * 2,
    ).to_pylist()
    assert found.effect("accent=north", "all", "cer").estimate == pytest.approx(rates[1]["cer"] - rates[0]["cer"])


def test_an_unknown_training_set_says_what_there_is(fresh: Store, short: Recipe) -> None:
    with pytest.raises(UnknownName, match="train"):
        audit(fresh, short.variant(train="trian"), slices=["accent=north"])


def test_retrainings_that_fail_are_reported_and_the_rest_is_measured(
    fresh: Store, short: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = bank.retrain

    def flaky(**arguments: object) -> dict[str, object]:
        if arguments["weights"] == {broken: 0.0}:
            raise RuntimeError("out of luck")
        return real(**arguments)  # type: ignore[arg-type]

    asked = {"slices": SLICES, "seeds": 2, "controls": 0, "replicates": 100}
    broken = audit(fresh, short, **asked).effect("accent=west").train_set  # type: ignore[arg-type]
    monkeypatch.setattr(bank, "retrain", flaky)
    found = audit(fresh, short, **asked, level=0.9)  # type: ignore[arg-type]
    assert len(found.failures) == 2
    assert all("without accent=west" in name for name in found.failures)
    assert {e.train_slice for e in found.effects} == {"accent=north", "accent=south", "noise=hum"}
    monkeypatch.undo()
    mended = audit(fresh, short, **asked, level=0.9)  # type: ignore[arg-type]
    assert not mended.failures
    assert not mended.reused  # it was tried again
