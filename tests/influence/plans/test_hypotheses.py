"""The grammar of hypotheses, and what becomes of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from influence.plans.hypotheses import OPEN, REFUTED, SUPPORTED, Hypothesis, answer, check, parse
from influence.statistics.effects import Effect
from influence.statistics.sequential import Sequential
from lineage.errors import EarmarkError

SCOT = "removing accent=scot raises WER on accent=scot by more than 2 points"
NAMES = st.sampled_from(
    ["accent=scot", "accent=scot & noise=hum", "long clips", "rises on by", "all", "a by more than b"]
)
MARGINS = st.integers(0, 100_000).map(lambda n: n / 1000)


@given(
    NAMES.map(lambda n: f"removing {n}"), st.sampled_from(["raises", "lowers", "changes"]),
    st.sampled_from(["wer", "loss", "cer", "entity_errors", "ece_utterance", "ece_word"]), NAMES, MARGINS,
)  # fmt: skip
def test_what_is_printed_reads_back(phrase: str, verb: str, metric: str, where: str, number: float) -> None:
    margin = number if metric == "loss" else round(number / 100, 12)
    if verb == "changes" and not margin:
        return
    stated = Hypothesis(phrase, verb, metric, where, margin)  # type: ignore[arg-type]
    assert parse(str(stated)) == stated
    assert str(parse(str(stated))) == str(stated)


def test_sentences_that_mean_the_same_are_printed_the_same() -> None:
    for text in (
        SCOT,
        f"  {SCOT}.",
        SCOT.replace("WER", "wer").replace("2 points", "2.0 points"),
        SCOT.replace(" ", "  "),
    ):
        assert str(parse(text)) == SCOT
    assert str(parse(SCOT.replace("2 points", "1.0 points"))).endswith("by more than 1 point")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("accent=scot matters", "none of the verbs"),
        ("removing x raises PER on x by more than 2 points", "it names none of"),
        ("removing x raises WER by more than 2 points", "does not say on which slice"),
        ("removing x raises WER on x", "has no bound"),
        ("removing x raises WER on x by less than 2 points", "goes with 'more than'"),
        ("removing x changes WER on x by more than 2 points", "goes with 'less than'"),
        ("removing x raises WER on x by more than 2 nats per word", "WER is measured in points"),
        ("removing x changes WER on x by less than 0 points", "give a margin"),
        ("removing x raises WER on x by more than -2 points", "has no bound"),
        ("removing x raises WER on x by more than 2 points, perhaps", "do not follow one another"),
    ],
)
def test_what_is_no_hypothesis_says_why(text: str, said: str) -> None:
    with pytest.raises(EarmarkError, match=said):
        parse(text)


def test_a_hypothesis_speaks_of_what_the_plan_does() -> None:
    stated = parse(SCOT)
    check([stated], ["removing accent=scot"], ["accent=scot"])
    with pytest.raises(EarmarkError, match=r"nothing in the plan does .* did you mean 'removing accent=scots'"):
        check([stated], ["removing accent=scots"], ["accent=scot"])
    with pytest.raises(EarmarkError, match="nothing in the plan looks at"):
        check([stated], ["removing accent=scot"], ["all"])
    with pytest.raises(EarmarkError, match="stands twice"):
        check([stated, stated], ["removing accent=scot"], ["accent=scot"])


EFFECT = Effect(
    "a" * 64, "accent=scot", "b" * 64, "accent=scot", "c" * 64, "wer", 0.06, 0.04, 0.08, 0.95, 0.01, 0.0, 0.02, 0.05, 0.03,
    0.07, 3, 100, 0.001, 0.001, 0.02, 0.02, "helps", "", phrase="removing accent=scot", error=0.01, freedom=30.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("raises WER on accent=scot by more than 2 points", SUPPORTED),
        ("raises WER on accent=scot by more than 4.5 points", OPEN),
        ("raises WER on accent=scot by more than 9 points", REFUTED),
        ("lowers WER on accent=scot by more than 0 points", REFUTED),
        ("changes WER on accent=scot by less than 8 points", SUPPORTED),
        ("changes WER on accent=scot by less than 1 point", REFUTED),
        ("changes WER on accent=scot by less than 5 points", OPEN),
    ],
)
def test_claims_are_held_against_the_difference_to_the_control(claim: str, verdict: str) -> None:
    (found,) = answer([parse(f"removing accent=scot {claim}")], [EFFECT], level=0.95)
    assert found.verdict == verdict


def test_the_mirror_image_of_an_effect_answers_the_mirror_image_of_a_claim() -> None:
    flipped = replace(EFFECT, estimate=-0.06, difference=-0.05)
    claims = [parse(SCOT), parse(SCOT.replace("raises", "lowers"))]
    for effect, expected in ((EFFECT, [SUPPORTED, REFUTED]), (flipped, [REFUTED, SUPPORTED])):
        assert [a.verdict for a in answer(claims, [effect], level=0.95)] == expected


def test_holm_goes_over_the_family_and_an_obstacle_stays_one() -> None:
    weak = replace(EFFECT, difference=0.02, error=0.01)
    claim = parse(SCOT.replace("2 points", "0 points"))
    others = [parse(SCOT.replace("2 points", f"{n} points")) for n in (6, 7, 8)]
    assert answer([claim], [weak], level=0.95)[0].verdict == SUPPORTED
    assert answer([claim, *others], [weak], level=0.95)[0].verdict == OPEN
    blocked = replace(EFFECT, error=None, freedom=None, reason="one test speaker")
    (found,) = answer([claim], [blocked], level=0.95)
    assert (found.verdict, found.reason, found.p) == (OPEN, "one test speaker", 1.0)
    assert answer([claim], [], level=0.95)[0].verdict == OPEN


def test_looks_spend_their_share_and_what_an_earlier_one_showed_stays_shown() -> None:
    claim, looks = parse(SCOT), Sequential((4, 8))
    once = answer([claim], [EFFECT], level=0.95)[0]
    early = replace(EFFECT, looks=1)
    assert answer([claim], [early], level=0.95, looks=looks)[0].p == pytest.approx(min(1.0, 4 * once.p))
    doubtful = replace(EFFECT, estimate=0.02, difference=0.02, looks=2)
    assert answer([claim], [doubtful], level=0.95, looks=looks)[0].verdict == OPEN
    both = answer([claim], [doubtful], level=0.95, before=[early], looks=looks)[0]
    assert both.p == pytest.approx(min(1.0, 4 * once.p))
    assert both.verdict == answer([claim], [early], level=0.95, looks=looks)[0].verdict
