from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from influence.statistics.effects import Declaration, Effect, EvalSlice, LeftOut, effects
from influence.statistics.panels import Outcome
from lineage.errors import EarmarkError

SPEAKERS = [uuid.UUID(int=1000 + i) for i in range(12)]
SAMPLES = [uuid.UUID(int=i) for i in range(96)]
BY = {s: SPEAKERS[i % 12] for i, s in enumerate(SAMPLES)}
WORDS = dict.fromkeys(SAMPLES, 8.0)


def outcome(rng: np.random.Generator, rate: float, without: set[uuid.UUID] | None = None) -> Outcome:
    """Errors at `rate`, three times as many on the samples `without`."""
    rates = [min(0.9, rate * 3) if s in (without or set()) else rate for s in SAMPLES]
    errors = dict(zip(SAMPLES, rng.binomial(8, rates).astype(float), strict=True))
    return Outcome(errors, {s: e * 2 + rng.normal(0, 0.1) for s, e in errors.items()})


def looked_at(name: str, samples: list[uuid.UUID]) -> EvalSlice:
    return EvalSlice(name, f"eval-{name}", {s: WORDS[s] for s in samples}, {s: BY[s] for s in samples})


SCOT = SAMPLES[:48]
SLICES = [LeftOut("scot", "train-scot", 1, (3,)), LeftOut("null", "train-null", 2, (3,))]


def run(seeds: int = 4, declared: Declaration | None = None, seed: int = 0, **changes: object) -> list[Effect]:
    rng = np.random.default_rng(seed)
    rows = [
        [outcome(rng, 0.15) for _ in range(seeds)],
        [outcome(rng, 0.15, set(SCOT)) for _ in range(seeds)],
        [outcome(rng, 0.15) for _ in range(seeds)],
        [outcome(rng, 0.15) for _ in range(seeds)],
    ]
    looked = [looked_at("all", SAMPLES), looked_at("scot", SCOT), looked_at("null", SAMPLES[48:])]
    return effects(rows, SLICES, looked, declared or Declaration(margins={"wer": 0.08}), audit="a")


def cell(found: list[Effect], train: str, eval_: str, metric: str = "wer") -> Effect:
    return next(e for e in found if (e.train_slice, e.eval_slice, e.metric) == (train, eval_, metric))


def test_a_slice_that_matters_helps_itself_and_the_null_does_nothing() -> None:
    found = run()
    scot, null = cell(found, "scot", "scot"), cell(found, "null", "null")
    assert scot.verdict == "helps"
    assert scot.estimate == pytest.approx(0.3, abs=0.05)
    assert null.verdict == "no effect larger than 8 points"
    assert len(found) == 2 * 3 * 2


def test_sign_and_control() -> None:
    scot = cell(run(), "scot", "scot")
    assert scot.low is not None
    assert scot.low > 0
    assert scot.control is not None
    assert scot.difference == pytest.approx(scot.estimate - scot.control)


def test_own_cells_are_a_family_apart_from_the_others() -> None:
    found = run()
    own = [e for e in found if e.train_slice == e.eval_slice and e.metric == "wer"]
    assert max(e.p_adjusted / e.p for e in own if e.p > 0) <= 2
    # corrected only among themselves: adding another evaluation slice to look at leaves them as they are
    more = [
        looked_at("all", SAMPLES),
        looked_at("scot", SCOT),
        looked_at("null", SAMPLES[48:]),
        looked_at("half", SAMPLES[:24]),
    ]
    rng = np.random.default_rng(0)
    rows = [[outcome(rng, 0.15, set(SCOT) if r == 1 else None) for _ in range(4)] for r in range(4)]
    wider = effects(rows, SLICES, more, Declaration(margins={"wer": 0.08}), audit="a")
    assert [e for e in wider if e.train_slice == e.eval_slice and e.metric == "wer"] == own


def test_without_controls_there_is_no_difference() -> None:
    rng = np.random.default_rng(0)
    rows = [[outcome(rng, 0.15) for _ in range(3)] for _ in range(2)]
    found = effects(rows, [LeftOut("x", "t", 1)], [looked_at("all", SAMPLES)], Declaration(), audit="a")[0]
    assert found.control is found.difference is found.difference_low is None


@pytest.mark.parametrize(
    ("speakers", "reason"),
    [
        (dict.fromkeys(SAMPLES), "no speakers recorded"),
        (dict.fromkeys(SAMPLES, SPEAKERS[0]), "one test speaker"),
        ({s: BY[s] if i % 4 else None for i, s in enumerate(SAMPLES)}, "no recorded speaker"),
    ],
)
def test_claims_about_speakers_need_speakers(speakers: dict[uuid.UUID, uuid.UUID | None], reason: str) -> None:
    rng = np.random.default_rng(0)
    rows = [[outcome(rng, 0.15, set(SAMPLES) if r else None) for _ in range(3)] for r in range(2)]
    looked = [EvalSlice("all", "e", WORDS, speakers)]
    found = effects(rows, [LeftOut("x", "t", 1)], looked, Declaration(), audit="a")[0]
    assert found.verdict == "not identifiable"
    assert reason in found.reason
    assert found.low is not None  # the figures are given all the same
    about_these = effects(rows, [LeftOut("x", "t", 1)], looked, Declaration(generalise="utterances"), audit="a")[0]
    assert about_these.verdict == "helps"
    assert "these test speakers" in about_these.reason


def test_one_seed_and_few_words_are_not_identifiable() -> None:
    assert "one seed only" in cell(run(seeds=1), "scot", "scot").reason
    rng = np.random.default_rng(0)
    rows = [[outcome(rng, 0.15) for _ in range(3)] for _ in range(2)]
    few = effects(rows, [LeftOut("x", "t", 1)], [looked_at("few", SAMPLES[:4])], Declaration(), audit="a")[0]
    assert "too few words: 32" in few.reason


def test_utterances_without_a_loss_count_for_wer_only() -> None:
    rng = np.random.default_rng(0)
    rows = [[outcome(rng, 0.15) for _ in range(3)] for _ in range(2)]
    cut = [[Outcome(o.errors, {s: o.loss[s] for s in SAMPLES[:60]}) for o in row] for row in rows]
    found = effects(
        cut,
        [LeftOut("x", "t", 1)],
        [looked_at("all", SAMPLES), looked_at("rest", SAMPLES[60:])],
        Declaration(),
        audit="a",
    )
    assert [(e.eval_slice, e.metric) for e in found] == [("all", "wer"), ("rest", "wer"), ("all", "loss")]


def test_metrics_have_their_own_denominators() -> None:
    rng = np.random.default_rng(0)
    rows = [[outcome(rng, 0.15, set(SCOT) if r else None) for _ in range(3)] for r in range(2)]
    letters = {s: 40.0 + i % 7 for i, s in enumerate(SAMPLES)}
    said = dict.fromkeys(SAMPLES[:30], 2.0)  # the others name nothing
    rich = [
        [
            replace(o, others={"cer": o.errors, "entity_errors": {s: min(o.errors[s], 2.0) for s in SAMPLES}}, sure={
                s: (0.9, 1 - o.errors[s] / 8) for s in SAMPLES
            })
            for o in row
        ]
        for row in rows
    ]  # fmt: skip
    amounts = {"cer": letters, "entity_errors": said, "ece_utterance": dict.fromkeys(SAMPLES, 1.0)}
    looked = [replace(looked_at("all", SAMPLES), amounts=amounts)]
    declared = Declaration(metrics=("cer", "entity_errors", "ece_utterance"))
    cer, entities, sure = effects(rich, [LeftOut("x", "t", 1)], looked, declared, audit="a")

    def change(of: Callable[[Outcome], float]) -> float:
        return float(np.mean([of(o) for o in rich[1]]) - np.mean([of(o) for o in rich[0]]))

    assert cer.estimate == pytest.approx(change(lambda o: sum(o.errors.values()) / sum(letters.values())))
    assert entities.estimate == pytest.approx(
        change(lambda o: sum(o.others["entity_errors"][s] for s in SAMPLES[:30]) / 60)
    )
    assert sure.estimate == pytest.approx(change(lambda o: abs(0.9 - np.mean([r for _, r in o.sure.values()]))))
    assert "points" in cer.verdict + cer.reason
    assert "higher calibration error" in sure.reason


def test_the_same_outcomes_give_the_same_digits() -> None:
    assert run() == run()


@pytest.mark.parametrize(
    "wrong", [{"level": 1.0}, {"margins": {"mos": 1}}, {"margins": {"wer": 0}}, {"generalise": "all"}]
)
def test_declarations_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(EarmarkError):
        Declaration(**wrong)  # type: ignore[arg-type]
