"""Hypotheses: what somebody claims before anything is trained, in a sentence that can be true or false.

    removing accent=scot raises WER on accent=scot by more than 2 points
    weighting noise=hum by 2 lowers loss on all by more than 0.01 nats per word
    removing accent=us changes WER on accent=us by less than 3 points

    sentence   = intervention, verb, metric, "on", evaluation slice, "by", bound, number, unit
    verb       = "raises" | "lowers" | "changes"
    bound      = "more than" (raises, lowers) | "less than" (changes: the claim that nothing of that size happens)
    metric     = "WER" | "CER" | "loss" | "entity errors" | "calibration error" | "word calibration error"
    unit       = "nats per word" (loss) | "points" (all others)

What an intervention is called says `influence.interventions`. The sentences of a plan together are its declared family: each
is tested one-sided beyond its margin (or twice, for equivalence), and Holm's correction goes over all of them.

Law: `parse(str(h)) == h`, and two sentences that mean the same are printed the same.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from influence.statistics.contrasts import Contrast
from influence.statistics.effects import Effect
from influence.statistics.sequential import ONLY, Look, Sequential
from lineage.errors import EarmarkError
from training.statistics.multiplicity import holm

Verb = Literal["raises", "lowers", "changes"]

NAMES = {
    "wer": "WER", "cer": "CER", "loss": "loss", "entity_errors": "entity errors", "ece_utterance": "calibration error",
    "ece_word": "word calibration error",
}  # fmt: skip
UNITS = {metric: "nats per word" if metric == "loss" else "points" for metric in NAMES}
SCALE = {metric: 1.0 if metric == "loss" else 100.0 for metric in NAMES}
EXAMPLE = "removing accent=scot raises WER on accent=scot by more than 2 points"
SENTENCE = re.compile(
    r"(?P<phrase>.+?) (?P<verb>raises|lowers|changes) (?P<metric>"
    + "|".join(NAMES.values())
    + r") on (?P<slice>.+) by (?P<bound>more|less) than "
    r"(?P<number>\d+(?:\.\d+)?) (?P<unit>points?|nats? per word)\.?",
    re.IGNORECASE,
)

SUPPORTED, REFUTED, OPEN = "supported", "refuted", "not identifiable"


@dataclass(frozen=True)
class Hypothesis:
    """One claim; `margin` in the metric's own unit (0.02 is two points of WER)."""

    phrase: str
    verb: Verb
    metric: str
    eval_slice: str
    margin: float

    def __str__(self) -> str:
        """The sentence, as it is printed everywhere."""
        number = f"{round(SCALE[self.metric] * self.margin, 9):.10g}"
        bound = "less" if self.verb == "changes" else "more"
        unit = "point" if self.metric != "loss" and number == "1" else UNITS[self.metric]
        return f"{self.phrase} {self.verb} {NAMES[self.metric]} on {self.eval_slice} by {bound} than {number} {unit}"


@dataclass(frozen=True)
class Answer:
    """What became of a hypothesis: 'supported', 'refuted' or 'not identifiable', and why; p-values of the claim."""

    sentence: str
    p: float
    p_adjusted: float
    verdict: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def parse(text: str) -> Hypothesis:
    """The hypothesis that a sentence states.

    Raises:
        EarmarkError: it is none; says which part is wrong.
    """
    said = " ".join(text.split())
    found = SENTENCE.fullmatch(said)
    if not found:
        raise EarmarkError(f"hypothesis '{said}' cannot be read: {_trouble(said)} — write it like: {EXAMPLE}")
    verb = found["verb"].lower()
    metric = next(m for m, name in NAMES.items() if name.lower() == found["metric"].lower())
    bound, unit = found["bound"].lower(), found["unit"].lower()
    if (verb == "changes") != (bound == "less"):
        raise EarmarkError(
            f"hypothesis '{said}': '{verb}' goes with '{'less' if verb == 'changes' else 'more'} than', for a claim of no "
            "effect needs an upper bound and a claim of one a lower bound — correct the sentence"
        )
    if unit.startswith("point") != (metric != "loss"):
        raise EarmarkError(f"hypothesis '{said}': {NAMES[metric]} is measured in {UNITS[metric]} — correct the unit")
    margin = round(float(found["number"]) / SCALE[metric], 12)
    if verb == "changes" and margin == 0:
        raise EarmarkError(f"hypothesis '{said}': nothing changes by less than 0 — give a margin")
    chosen: Verb = "raises" if verb == "raises" else "lowers" if verb == "lowers" else "changes"
    return Hypothesis(found["phrase"], chosen, metric, found["slice"], margin)


def check(hypotheses: Sequence[Hypothesis], phrases: Iterable[str], tested: Iterable[str]) -> None:
    """Whether each speaks of something that the plan does and looks at.

    Raises:
        EarmarkError: one does not, or two are the same.
    """
    known = {"does": list(phrases), "looks at": list(tested)}
    for h in hypotheses:
        for verb, value in (("does", h.phrase), ("looks at", h.eval_slice)):
            if value not in known[verb]:
                close = difflib.get_close_matches(value, known[verb], n=1, cutoff=0.5)
                hint = f"did you mean '{close[0]}'?" if close else f"it {verb}: {', '.join(known[verb][:12])}"
                raise EarmarkError(f"hypothesis '{h}': nothing in the plan {verb} '{value}' — {hint}")
        if list(hypotheses).count(h) > 1:
            raise EarmarkError(f"hypothesis '{h}' stands twice — keep one of them")


def answer(
    hypotheses: Sequence[Hypothesis],
    effects: Sequence[Effect],
    *,
    level: float,
    before: Sequence[Effect] = (),
    looks: Sequential | None = None,
) -> list[Answer]:
    """Test the declared family against the effects that were found; `level` is 1 − the family-wise error.

    `before` are the effects as they stood at earlier ones of several `looks`: p-values are of all looks together (see
    `sequential`).
    """
    cells: dict[tuple[str | None, str, str], list[Effect]] = {}
    for e in [*before, *effects]:
        cells.setdefault((e.phrase, e.eval_slice, e.metric), []).append(e)
    found = [_asked(cells.get((h.phrase, h.eval_slice, h.metric), []), looks) for h in hypotheses]
    raw = [
        min((at.look.p(_p(h, at.contrast)) for at in f.looks), default=1.0)
        for h, f in zip(hypotheses, found, strict=True)
    ]
    adjusted = holm(raw)
    return [_answer(h, f, p, q, 1 - level) for h, f, p, q in zip(hypotheses, found, raw, adjusted, strict=True)]


@dataclass(frozen=True)
class _At:
    """What was tested in a cell at one look."""

    contrast: Contrast
    look: Look


@dataclass(frozen=True)
class _Asked:
    """A cell as it stands, None if it was never measured, and the looks at which the design could answer."""

    effect: Effect | None
    looks: tuple[_At, ...]


def _asked(cells: Sequence[Effect], design: Sequential | None) -> _Asked:
    at = [
        _At(c, design.look(e.looks - 1) if design and e.looks else ONLY)
        for e in cells
        if (c := _contrast(e)) is not None
    ]
    return _Asked(cells[-1] if cells else None, tuple(at))


def _answer(h: Hypothesis, asked: _Asked, p: float, p_adjusted: float, alpha: float) -> Answer:
    if asked.effect is None:
        return Answer(str(h), p, p_adjusted, OPEN, "its retrainings failed")
    if not asked.looks:
        return Answer(str(h), p, p_adjusted, OPEN, asked.effect.reason)
    scale, unit, last = SCALE[h.metric], UNITS[h.metric], asked.looks[-1]
    level = 1 - 2 * last.look.level(alpha)
    low, high = (scale * end for end in last.contrast.span(level))
    beyond = "beyond its control " if asked.effect.difference is not None else ""
    span = f"the change {beyond}lies at {low:+.2f} to {high:+.2f} {unit} ({100 * level:.4g}% interval)"
    if p_adjusted <= alpha:
        return Answer(str(h), p, p_adjusted, SUPPORTED, span)
    if min(at.look.p(_p_contrary(h, at.contrast)) for at in asked.looks) <= alpha:
        return Answer(str(h), p, p_adjusted, REFUTED, span)
    return Answer(str(h), p, p_adjusted, OPEN, f"{span}: it speaks neither for nor against it")


def _contrast(effect: Effect | None) -> Contrast | None:
    """What was tested in a cell; None where the design could not answer."""
    if effect is None or effect.error is None or effect.freedom is None:
        return None
    value = effect.estimate if effect.difference is None else effect.difference
    nan = float("nan")
    return Contrast(value, nan, nan, effect.error, effect.freedom)


def _p(h: Hypothesis, c: Contrast) -> float:
    """p-value of the opposite of what is claimed."""
    if h.verb == "changes":
        return c.p_within(h.margin)
    return c.p_beyond(h.margin) if h.verb == "raises" else c.p_below(-h.margin)


def _p_contrary(h: Hypothesis, c: Contrast) -> float:
    """p-value of what is claimed."""
    if h.verb == "changes":
        return min(1.0, 2 * min(c.p_beyond(h.margin), c.p_below(-h.margin)))
    return c.p_below(h.margin) if h.verb == "raises" else c.p_beyond(-h.margin)


def _trouble(said: str) -> str:
    words = said.lower().split()
    if not {"raises", "lowers", "changes"} & set(words):
        return "it has none of the verbs raises, lowers, changes"
    if not any(name.lower() in said.lower() for name in NAMES.values()):
        return f"it names none of {', '.join(NAMES.values())}"
    if " on " not in said:
        return "it does not say on which slice"
    if not re.search(r" by (more|less) than \d", said.lower()):
        return "it has no bound, such as 'by more than 2 points'"
    return "its parts do not follow one another as they must"
