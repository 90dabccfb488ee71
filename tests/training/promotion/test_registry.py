"""Promotion behind a gate: refusals that say which slice, force, rollback, and all of it on record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lineage import aliases
from lineage.errors import Conflict, EarmarkError
from lineage.people import policy, reach
from lineage.people.erase import erase
from lineage.people.obligations import settle
from lineage.people.policy import Policy
from lineage.selection.sets import SampleSet, resolve_set
from lineage.store import Store
from tests.training.recognisers import deaf_to, listen, perfect
from training.evaluation.predict import predict
from training.fit import train
from training.models.recorded import resolve_model
from training.promotion import gate as gates
from training.promotion.gate import Gate, judge
from training.promotion.registry import PromotionRefused, history, promote, rollback
from training.recipe import Recipe


@pytest.fixture(scope="module")
def town(store: Store, base: Path, populate: Callable[..., SampleSet]) -> Store:
    """A set `judged` of sixteen speakers, and models `a`, `b` and `c` of which `b` shall hear nobody from the north."""
    populate(store, "judged", 32, seed=5, speakers=16)
    populate(store, "own", 8, seed=6)
    for seed, name in enumerate("abc"):
        taught = "own" if name == "c" else "train"
        train(
            store,
            Recipe(name=name, base=str(base), train=taught, epochs=2, batch_size=4, learning_rate=1e-3, seed=seed),
        )
    return store


@pytest.fixture
def ids(town: Store, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    found = {name: resolve_model(town, name).model_id for name in "abc"}
    listen(monkeypatch, dict(zip(found.values(), (perfect, deaf_to(accent="north"), perfect), strict=True)))
    return found


GATE = Gate(name="strict", sets=("judged",), worse_by=2.0)


def test_one_slice_is_enough_to_be_refused_and_it_is_named(town: Store, ids: dict[str, str]) -> None:
    whole = Gate(name="whole", sets=("judged",), slices=("accent=south",), worse_by=60.0)
    promote(town, "a", "one", gate=GATE)  # points to nothing yet: nothing to compare with
    with pytest.raises(PromotionRefused, match=r"gate 'strict' refuses b .* for @one: slices: refused") as refused:
        promote(town, "b", "one", gate=GATE)
    (finding,) = refused.value.verdict.refusals
    assert "accent=north +100.00 points" in finding.detail
    assert "accent=south" not in finding.detail
    figures = {f["slice"]: f for f in finding.figures}
    assert figures["accent=south"]["difference"] == 0.0
    assert (figures["accent=north"]["difference"], figures["accent=north"]["speakers"]) == (1.0, 8)
    assert resolve_model(town, "@one").model_id == ids["a"]
    last = history(town, "one")[-1]
    assert (last.event, last.model_id, len(last.refusals)) == ("refused", ids["b"], 1)
    promote(town, "b", "one", gate=whole)  # looks at the other slice, and bears much of the whole
    assert resolve_model(town, "@one").model_id == ids["b"]
    assert predict(town, "@one", "judged").model_id == ids["b"]
    assert promote(town, "a", "one", gate=GATE)[1].passed  # the way back is an improvement


def test_what_is_not_shown_to_be_no_worse_fails_where_safety_is_asked_for(town: Store, ids: dict[str, str]) -> None:
    a, c = (resolve_model(town, m) for m in "ac")
    safe = Gate(sets=("judged",), burden="safety", worse_by=0.0)
    assert judge(town, safe, c, a).passed  # equal to the last word
    alone = Gate(sets=("judged",), slices=("take = '3'",), burden="safety")
    (finding,) = judge(town, alone, c, a).refusals
    assert "speakers: 1, which is too few" in finding.detail
    mild = judge(town, alone.model_copy(update={"burden": "harm"}), c, a)
    assert mild.passed
    assert "too few speakers to judge take" in mild.findings[0].detail


def test_a_few_speakers_show_nothing_however_badly_they_are_heard(town: Store, ids: dict[str, str]) -> None:
    a, b = (resolve_model(town, m) for m in "ab")
    finding = judge(town, Gate(sets=("own",)), b, a).findings[0]  # four speakers, two of them from the north
    difference = {f["slice"]: f["difference"] for f in finding.figures}
    assert (difference["accent=north"], difference["accent=south"]) == (1.0, 0.0)
    assert finding.outcome == "not judged"
    assert "too few speakers to judge all, accent=north, accent=south" in finding.detail
    assert not judge(town, Gate(sets=("own",), burden="safety"), b, a).passed


def test_levels_are_shared_by_all_slices_of_all_sets(town: Store, ids: dict[str, str]) -> None:
    a, c = (resolve_model(town, m) for m in "ac")
    found = judge(town, Gate(sets=("judged", "train"), level=0.94), c, a).findings
    figures = [f for finding in found for f in finding.figures]
    assert len(figures) == 6
    assert {round(f["level"], 9) for f in figures} == {0.98}  # two tails of 6 % over six


def test_force_is_marked_and_needs_a_reason(town: Store, ids: dict[str, str]) -> None:
    promote(town, "a", "two")
    with pytest.raises(EarmarkError, match="needs a reason"):
        promote(town, "b", "two", gate=GATE, force=True, reason=" ")
    move, verdict = promote(town, "b", "two", gate=GATE, force=True, reason="the other one is down")
    assert not verdict.passed
    assert (move.detail["forced"], move.detail["passed"], move.detail["gate"]) == (True, False, GATE.digest)
    event = history(town, "two")[-1]
    assert (event.forced, event.reason) == (True, "the other one is down")
    assert town.resolve_run(event.run_id).result["gate"] == verdict.to_json()
    with pytest.raises(EarmarkError, match=r"points to b .* already"):
        promote(town, "b", "two")
    assert not promote(town, "c", "two", force=True, reason="none")[0].detail["forced"]  # nothing stood against it


def test_the_gate_in_force_is_the_newest_and_another_in_its_place_is_told(town: Store, ids: dict[str, str]) -> None:
    assert gates.in_force(town, "three") == Gate()
    gates.adopt(town, GATE, "@three")
    gates.adopt(town, Gate(name="elsewhere"), "four")
    assert gates.in_force(town, "three") == GATE
    promote(town, "a", "three")
    with pytest.raises(PromotionRefused):
        promote(town, "b", "three")
    promote(town, "b", "three", gate=Gate(name="lax"))
    assert [e.instead_of for e in history(town, "three")] == [None, None, GATE.digest]
    gates.adopt(town, None, "three")
    assert gates.in_force(town, "three") == Gate()


def test_rollback_restores_and_itself_is_on_record(town: Store, ids: dict[str, str]) -> None:
    with pytest.raises(EarmarkError, match="no alias '@five'"):
        rollback(town, "five")
    for name in "abc":
        promote(town, name, "five")
        if name == "a":
            with pytest.raises(EarmarkError, match="pointed to nothing before"):
                rollback(town, "five")
    before = history(town, "five")
    assert rollback(town, "five", reason="complaints").model_id == ids["b"]
    assert rollback(town, "@five").model_id == ids["a"]
    now = history(town, "five")
    assert now[:3] == before
    assert [(e.event, e.model_id) for e in now[3:]] == [("rolled_back", ids["b"]), ("rolled_back", ids["a"])]
    assert now[3].reason == "complaints"


def test_a_promotion_that_was_overtaken_says_so(
    town: Store, ids: dict[str, str], populate: Callable[..., SampleSet], base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(happens: Callable[[], object]) -> None:
        real = judge

        def slowly(*args: object, **options: object) -> object:
            verdict = real(*args, **options)  # type: ignore[arg-type]
            monkeypatch.setattr(gates, "judge", real)
            happens()
            return verdict

        monkeypatch.setattr(gates, "judge", slowly)

    meanwhile(lambda: promote(Store.open(town.root), "c", "six"))
    with pytest.raises(Conflict, match="@six was moved to"):
        promote(town, "a", "six")
    assert [m.model_id for m in aliases.moves(town, "six")] == [ids["c"]]
    populate(town, "fleeting", 8, seed=8)
    train(town, Recipe(name="d", base=str(base), train="fleeting", epochs=2, batch_size=4, learning_rate=1e-3))
    meanwhile(lambda: erase(Store.open(town.root), reach.speaker(town, "fleeting-1")))
    with pytest.raises(Conflict, match="something was erased since"):
        promote(town, "d", "six")
    assert [m.model_id for m in aliases.moves(town, "six")] == [ids["c"]]


def test_a_replay_is_looked_for(town: Store, ids: dict[str, str]) -> None:
    b = resolve_model(town, "b")
    wanted = Gate(replay="required")
    assert [f.detail for f in judge(town, wanted, b, None).refusals] == ["not replayed"]
    assert judge(town, Gate(), b, None).findings[-1].outcome == "not judged"
    for verdict, passes in (("identical", True), ("different", False)):
        with town.run("replay", config={"changes": {}}, inputs=[b.model_id], parents=[b.run_id]) as run:
            run.result |= {"verdict": verdict, "model_id": b.model_id, "replayed": None}
        assert judge(town, wanted, b, None).passed is judge(town, Gate(), b, None).passed is passes


def test_policy_looks_at_what_a_model_was_trained_from_too(town: Store, ids: dict[str, str]) -> None:
    data = resolve_set(town, "judged").digest  # sixteen speakers; `own`, which `c` was trained on, has four
    with town.run("train", inputs=[data, ids["c"]]) as run:
        row = {"model_id": "e" * 64, "name": "child", "family": "x", "base": "x", "artifact": "x", "set_digest": data}
        run.append("models", [row])
    policy.adopt(town, Policy(name="many", minimum_speakers={"all": 5}))
    (finding,) = judge(town, Gate(), resolve_model(town, "child"), None).refusals
    policy.adopt(town, None)
    assert (finding.rule, resolve_set(town, "own").digest[:12] in finding.detail) == ("policy", True)
    assert data[:12] not in finding.detail


def test_policy_is_judged_as_of_now_and_erasures_are_not_forgiven(town: Store, ids: dict[str, str]) -> None:
    a, c = (resolve_model(town, m) for m in "ac")
    policy.adopt(town, Policy(name="closed", licences=("CC0-1.0",)))
    (finding,) = judge(town, Gate(), c, None).refusals
    assert (finding.rule, "no licence is on record" in finding.detail) == ("policy", True)
    policy.adopt(town, Policy(name="closed", licences=("CC0-1.0",), on_violation="warn"))
    assert judge(town, Gate(), c, None).passed
    policy.adopt(town, None)
    promote(town, "c", "seven")
    promote(town, "a", "seven")
    erase(town, reach.speaker(town, "own-1"))
    (finding,) = judge(town, Gate(), c, a).refusals
    assert finding.rule == "erasures"
    assert rollback(town, "seven").detail["owes_retrain"]  # in an emergency it may come back, and it is told
    settle(town, "@seven", "retired", by="dpo")
    assert judge(town, Gate(), c, a).refusals[0].rule == "erasures"
    promote(town, "a", "seven")
    with pytest.raises(EarmarkError, match="was retired — promote another"):
        rollback(town, "seven")


def test_a_gate_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    for text, told in {
        "- a": "is a list, no gate — write 'field: value' lines such as sets:",
        "worse_than: 1": "did you mean 'worse_by'",
        "worse_by: -1": "field 'worse_by': input should be greater than or equal to 0",
        "normaliser: loud": "field 'normaliser': no normaliser 'loud'",
        "a: [": "not YAML",
    }.items():
        path.write_text(text)
        with pytest.raises(EarmarkError, match=told):
            Gate.load(path)
    path.write_text("sets: [judged]\nworse_by: 2\nname: strict\n")
    assert Gate.load(path).digest == GATE.digest
