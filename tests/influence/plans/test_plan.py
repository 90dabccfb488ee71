"""Plans: one digest for one question, fixed before anything is trained, and judged as declared."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from influence.audit import AuditReport, run
from influence.plans.controls import draw as drawn
from influence.plans.controls import line, removal
from influence.plans.draft import draft
from influence.plans.outlook import outlook
from influence.plans.plan import freeze, sketch
from influence.plans.planfile import AuditPlan
from influence.plans.request import request
from influence.statistics.set_luck import rank_p
from lineage.errors import EarmarkError, UnknownName
from lineage.recorder import described
from lineage.selection.algebra import cut
from lineage.selection.sets import members, resolve_set
from lineage.store import Store
from tests.influence.conftest import make_store
from training.recipe import Recipe

CLAIM = "removing accent=north raises WER on accent=north by more than 0 points"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("plan") / "store")


@pytest.fixture(scope="module")
def fields(recipe: Recipe) -> dict[str, Any]:
    short = recipe.variant(epochs=1, checkpoints=0).model_dump(mode="json", exclude_defaults=True)
    return {
        "name": "accents", "recipe": short, "slices": ["accent=north"], "seeds": 2, "hypotheses": [CLAIM],
        "controls": {"number": 1}, "statistics": {"replicates": 100, "margins": {"wer": 90}},
        "null": ["accent=north"], "planted": {"share": 0.2, "words": 1},
    }  # fmt: skip


@pytest.fixture(scope="module")
def report(fresh: Store, fields: dict[str, Any]) -> AuditReport:
    return run(fresh, AuditPlan.parse(fields))


def _digest(store: Store, fields: dict[str, Any]) -> str:
    return request(store, AuditPlan.parse(fields)).digest


def test_one_question_has_one_digest(fresh: Store, fields: dict[str, Any], tmp_path: Path) -> None:
    first = _digest(fresh, fields)
    other = "removing accent=north changes WER on all by less than 3 points"
    same = [
        {"name": "another name"},
        {"executor": {"workers": 7}},
        {"order": "gradients"},
        {"train": "train", "evaluate": "test"},
        {"train": resolve_set(fresh, "train").digest},
        {"slices": "accent=north"},
        {"hypotheses": [f" {CLAIM.replace('0 points', '0.0 points')}."]},
        {"interventions": ["remove"]},
        {"seeds": [0, 1]},
        {"fail_on": ["failures", "refuted"]},
    ]
    assert {_digest(fresh, {**fields, **change}) for change in same} == {first}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(fields["recipe"]))
    (tmp_path / "plan.yaml").write_text("# a comment\n" + yaml.safe_dump({**fields, "recipe": "recipe.yaml"}))
    assert request(fresh, AuditPlan.load(tmp_path / "plan.yaml")).digest == first
    different: list[dict[str, Any]] = [
        {"seeds": [0, 2]}, {"slices": ["accent=south"], "hypotheses": [], "null": []}, {"hypotheses": [other]},
        {"controls": {"number": 2}}, {"controls": {"number": 1, "match": "speakers"}}, {"fail_on": []}, {"planted": None},
        {"interventions": [{"kind": "remove", "variants": True}]}, {"statistics": {"margins": {"wer": 4}}},
        {"look_at": ["noise=hum"]}, {"null": []}, {"recipe": {**fields["recipe"], "epochs": 2}}, {"evaluate": "train"},
        {"budget": {"retrainings": 5}}, {"budget": {"retrainings": 5, "hours": 2}}, {"budget": {"hours": 2}},
    ]  # fmt: skip
    digests = [_digest(fresh, {**fields, **change}) for change in different]
    assert len({first, *digests}) == len(digests) + 1
    assert _digest(fresh, {**fields, "hypotheses": [CLAIM, other]}) == _digest(
        fresh, {**fields, "hypotheses": [other, CLAIM]}
    )


def test_mistakes_in_a_plan_are_told(fresh: Store, fields: dict[str, Any]) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"slises": []}, "slises"),
        ({"recipe": "nowhere.yaml"}, "no recipe at"),
        ({"recipe": {**fields["recipe"], "epoch": 3}}, "did you mean 'epochs'"),
        ({"interventions": ["rename"]}, "remove"),
        ({"fail_on": ["everything"]}, "fail_on"),
        ({"fail_on": ["causes"]}, "causes can never be met — give 'causes'"),
        ({"fail_on": ["power"], "planted": None}, "power can never be met — give 'planted'"),
        ({"fail_on": ["null"], "null": []}, "null can never be met — give 'null'"),
        ({"slices": [{"name": "x"}]}, "one of ids, set and where"),
        ({"null": ["accent=south"]}, "none of the plan's slices"),
        ({"hypotheses": [CLAIM.replace("removing", "weighting")]}, "nothing in the plan does"),
        ({"hypotheses": ["it matters"]}, "cannot be read"),
        ({"amends": "0123456789"}, "0 plans on record begin with"),
        ({"controls": {"curve": [36]}}, "needs more than 36"),
        ({"statistics": {"level": 2}}, "level"),
        ({"budget": {"hours": 0}}, "budget.hours"),
        ({"executor": {"worker": 2}}, "executor.worker"),
        ({"executor": {"kind": "slurm"}}, "executor.kind"),
        ({"slices": [{"name": "x", "set": "nowhere"}]}, "nowhere"),
        ({"statistics": {"sequential": {"looks": [2, 3]}}, "seeds": 4}, "make them equal"),
        ({"statistics": {"sequential": {"looks": [1, 2]}}}, "looks after 1, 2 seeds"),
        ({"statistics": {"sequential": {"looks": [2], "metric": "cer"}}}, "add it to the metrics"),
        ({"statistics": {"metrics": ["wer", "mos"]}}, "metrics"),
        ({"hypotheses": [CLAIM.replace("WER", "CER")]}, "cer is not measured"),
        ({"seeds": 0}, "field 'seeds': input should be greater than or equal to 1, not 0 — How many"),
        ({"seeds": 10**9}, "field 'seeds': input should be less than or equal to 1000"),
        (
            {"statistics": {"margins": {"wer": -1}}},
            "field 'statistics.margins.wer': .* greater than 0, not -1 — Largest",
        ),
        ({"statistics": {"metrics": ["wer", "wer"]}}, "name each once"),
        ({"statistics": {"normalise": "basik"}}, "normalise': no such normaliser; choose one of none, basic"),
        ({"statistics": {"metrics": ["loss"]}, "hypotheses": [], "null": []}, "planted is judged by WER"),
        ({"interventions": ["reweight"], "hypotheses": []}, "null: nothing removes 'accent=north'"),
        ({"interventions": ["remove", "remove"]}, "'removing accent=north' twice"),
        ({"interventions": [{"kind": "corrupt", "shares": [0.5, 0.5]}], "null": [], "hypotheses": []}, "twice"),
        ({"slices": ["planted: accent = 'north'"], "null": [], "hypotheses": []}, "'removing planted' twice"),
    ]
    runs = len(fresh.runs())
    for change, said in wrong:
        with pytest.raises(EarmarkError, match=said):
            sketch(fresh, request(fresh, AuditPlan.parse({**fields, **change})))
    assert len(fresh.runs()) == runs


def test_looks_say_how_many_seeds_there_are_and_are_part_of_the_digest(fresh: Store, fields: dict[str, Any]) -> None:
    open_ended = {name: value for name, value in fields.items() if name != "seeds"}
    looks = {**fields["statistics"], "sequential": {"looks": [2, 3, 5]}}
    sequential = AuditPlan.parse({**open_ended, "statistics": looks})
    assert sequential.chosen_seeds() == (0, 1, 2, 3, 4)
    fixed = {**open_ended, "seeds": 5}
    digests = {request(fresh, sequential).digest, _digest(fresh, fixed)}
    for other in ({"looks": [2, 5]}, {"looks": [2, 3, 5], "spending": "obrien-fleming"}):
        digests.add(_digest(fresh, {**fixed, "statistics": {**looks, "sequential": other}}))
    digests.add(_digest(fresh, {**fixed, "statistics": {**fields["statistics"], "screening": True}}))
    assert len(digests) == 5


def test_what_is_foretold_is_what_is_recorded(fresh: Store, fields: dict[str, Any]) -> None:
    """A sketch writes nothing and lists the retrainings that the plan then has, digests included."""
    plain = {**fields, "planted": None, "hypotheses": [], "interventions": [{"kind": "remove", "variants": True}]}
    asked = request(fresh, AuditPlan.parse(plain))
    runs = len(fresh.runs())
    before = sketch(fresh, asked)
    assert (before.run_id, len(fresh.runs())) == ("", runs)
    after = freeze(fresh, asked)
    assert after.retrainings() == before.retrainings()
    assert after == sketch(fresh, asked) == freeze(fresh, asked)


def test_an_audit_answers_its_hypotheses_and_checks_itself(
    report: AuditReport, fresh: Store, fields: dict[str, Any]
) -> None:
    assert [h.sentence for h in report.hypotheses] == [CLAIM]
    assert {(c.kind, c.slice) for c in report.checks} == {("power", "planted"), ("null", "accent=north")}
    power = next(c for c in report.checks if c.kind == "power")
    assert power.holds == (report.effect("planted", "all").verdict == "hurts")
    assert not power.holds  # an untrained model has nothing to lose: the audit has to say that its power is not shown
    assert power.said == "the audit's power is not shown"
    again = run(fresh, AuditPlan.parse(fields))
    assert again.reused
    assert (again.hypotheses, again.checks, again.failed) == (report.hypotheses, report.checks, report.failed)


def test_the_exit_status_is_what_the_plan_says(report: AuditReport, fresh: Store, fields: dict[str, Any]) -> None:
    """Only the conditions change, so nothing is trained again."""
    strict = {**fields, "fail_on": ["power"], "amends": report.audit}
    assert (report.status, run(fresh, AuditPlan.parse(strict)).failed) == (0, ("power",))
    done = run(fresh, AuditPlan.parse({**strict, "fail_on": ["unsupported", "power", "null"]}))
    assert done.status == 1
    assert done.trained == 0
    holds = next(c for c in done.checks if c.kind == "null").holds
    assert ("null" in done.failed) == (not holds)


def test_hypotheses_cannot_be_chosen_afterwards(report: AuditReport, fresh: Store, fields: dict[str, Any]) -> None:
    changed = {**fields, "hypotheses": [CLAIM.replace("raises", "lowers")]}
    runs = len(fresh.runs())
    with pytest.raises(EarmarkError, match="cannot be chosen afterwards") as told:
        run(fresh, AuditPlan.parse(changed))
    assert f"amends: {report.audit[:12]}" in str(told.value) or "amends: " in str(told.value)
    assert len(fresh.runs()) == runs
    amended = run(fresh, AuditPlan.parse({**changed, "amends": report.audit[:12]}))
    assert (amended.amends, amended.trained) == (report.audit, 0)
    assert fresh.resolve_run(amended.plan_run).config["amends"] == report.audit
    freeze(fresh, request(fresh, AuditPlan.parse({**changed, "seeds": [7], "hypotheses": []})))  # claims nothing
    freeze(
        fresh, request(fresh, AuditPlan.parse({**changed, "recipe": {**fields["recipe"], "epochs": 3}}))
    )  # other models


def test_a_budget_is_kept(fresh: Store, fields: dict[str, Any], report: AuditReport) -> None:
    poor = {**fields, "budget": {"retrainings": 1}, "amends": report.audit}
    assert run(fresh, AuditPlan.parse(poor)).trained == 0  # all are on record
    with pytest.raises(EarmarkError, match="needs 2 retrainings more, its budget has 1"):
        run(fresh, AuditPlan.parse({**poor, "slices": ["accent=south", "accent=north"]}))
    expected = outlook(fresh, sketch(fresh, request(fresh, AuditPlan.parse(fields))))
    assert expected.missing == 0
    assert expected.seconds() == 0


def test_nineteen_controls_are_the_same_in_every_seed_and_a_curve_is_shared(
    fresh: Store, fields: dict[str, Any]
) -> None:
    bare = {**fields, "hypotheses": [], "planted": None}
    many = sketch(fresh, request(fresh, AuditPlan.parse({**bare, "controls": {"number": 19}})))
    (compared,) = many.comparisons
    assert len(compared.controls) == 19
    assert all(len(set(map(str, many.rows[r].variations))) == 1 for r in compared.controls)
    curve = {"controls": {"curve": [4, 8, 8]}, "slices": ["accent=north", "noise=hum"], "null": []}
    few = sketch(fresh, request(fresh, AuditPlan.parse({**bare, **curve})))
    one, other = few.comparisons
    assert one.controls == other.controls
    assert len(set(one.controls)) == 3
    assert one.control_weights == pytest.approx(line([4, 8, 8], 12))


def test_ranks_and_lines() -> None:
    spread = [0.01 * i for i in range(19)]
    assert rank_p(0.5, spread) == rank_p(-0.5, spread) == 1 / 20
    assert rank_p(0.09, spread) > 0.5
    assert rank_p(0.5, spread[:3]) == 1 / 4
    weights = line([10, 20, 40], 30)
    assert sum(w * 0.002 * n for w, n in zip(weights, [10, 20, 40], strict=True)) == pytest.approx(0.06)


def test_controls_of_whole_speakers_and_of_as_many_words(fresh: Store) -> None:
    population = resolve_set(fresh, "train")
    rows = described(fresh, drawn(fresh, removal(population, 12, 0.0, 3, match="speakers")))
    sizes = Counter(r["speaker_key"] for r in described(fresh, members(fresh, population.digest)).values())
    taken = {r["speaker_key"] for r in rows.values()}
    assert sum(sizes[s] for s in taken) == len(rows) == 12
    wanted = removal(population, 9, 0.0, 2, match="words", words=30)
    words = sum(row["words"] for row in described(fresh, drawn(fresh, wanted)).values())
    assert (len(drawn(fresh, wanted)), words) == (9, wanted.words)


def test_slices_by_set_by_ids_and_crossed(fresh: Store, fields: dict[str, Any]) -> None:
    cut(fresh, ["train"], name="hard", where="noise = 'hum' AND accent <> 'west'")
    ids = [
        str(i)
        for i in list(described(fresh, drawn(fresh, removal(resolve_set(fresh, "train"), 3, 0.0, 0, match="count"))))
    ]
    entries = ["accent=* & noise=*", {"name": "hard", "set": "hard"}, {"name": "mine", "ids": ids}]
    asked = request(fresh, AuditPlan.parse({**fields, "slices": entries, "hypotheses": [], "null": []}))
    plan = sketch(fresh, asked)
    assert [s.name for s in plan.train[:2]] == ["accent=north & noise=clean", "accent=north & noise=hum"]
    found = {s.name: s for s in plan.train}
    assert len(found) == 8
    assert found["hard"].set_digest == resolve_set(fresh, "hard").digest
    assert found["mine"].size == 3
    with pytest.raises(UnknownName):
        request(fresh, AuditPlan.parse({**fields, "slices": ["acent=* & noise=*"]}))


def test_a_draft_is_a_plan(fresh: Store, report: AuditReport, fields: dict[str, Any]) -> None:
    text = draft(fresh)
    plan = AuditPlan.parse(yaml.safe_load(text))
    assert plan.slices == ("accent=*", "noise=*")
    assert plan.recipe == AuditPlan.parse(fields).recipe  # not that of the retraining with another seed that came last
    assert "of them on record" in text.splitlines()[0]
    assert 'null: ["' in text
    assert len(sketch(fresh, request(fresh, plan)).train) == 5
    wished = text.replace("# null:", "null:").replace("# planted:", "planted:").replace("[refuted,", "[null, power,")
    plan = AuditPlan.parse(yaml.safe_load(wished))
    assert plan.fail_on == ("null", "power", "failures")
    assert plan.planted is not None
    assert set(plan.null) <= {s.name for s in sketch(fresh, request(fresh, plan)).train}
    assert plan.null
    empty = Store.init(fresh.root.parent / "empty")
    with pytest.raises(EarmarkError, match="nothing was trained yet"):
        draft(empty)
