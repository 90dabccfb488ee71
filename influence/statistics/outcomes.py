"""What retrained models did on an evaluation set, read from the record: values by sample, and what they are counted over."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from influence.statistics.effects import EvalSlice
from influence.statistics.panels import USUAL, Array, Outcome
from lineage.errors import EarmarkError
from lineage.selection.sets import members
from lineage.selection.slices import FrozenSlice
from lineage.store import Store
from training.evaluation.calibration import utterance_outcomes, word_outcomes
from training.evaluation.entities import Tally, tagged, tallies
from training.evaluation.evaluate import columns
from training.evaluation.figures import PARTS
from training.evaluation.predict import described, recorded, spoken_and_heard
from training.evaluation.wer import align
from training.normalise import normaliser


def outcome(store: Store, predictions: str, normalise: str = "basic", metrics: Sequence[str] = USUAL) -> Outcome:
    """What one `predictions` run found, by sample; entities and single words only where the `metrics` ask for them."""
    table = recorded(store, predictions, normalise).table
    ids = table["sample_id"].to_pylist()
    hits, replaced, missed, made_up, loss, wrong, sure = columns(
        table, "hits", *PARTS, "loss", "character_errors", "confidence"
    )
    utterances = utterance_outcomes(sure, hits, replaced, made_up)
    others = {"cer": _known(ids, wrong)}
    if "entity_errors" in metrics:
        found = _entities(store, predictions, normalise)
        others["entity_errors"] = {i: float(t.said - t.right) for i, t in found.items()}
    return Outcome(
        _known(ids, replaced + missed + made_up),
        _known(ids, loss),
        others,
        {
            i: (c, r)
            for i, c, r in zip(ids, utterances.confidence.tolist(), utterances.right.tolist(), strict=True)
            if c == c
        },
        _words(store, predictions, normalise) if "ece_word" in metrics else {},
    )


def eval_slices(
    store: Store,
    slices: Sequence[FrozenSlice],
    predictions: str,
    normalise: str = "basic",
    metrics: Sequence[str] = USUAL,
) -> list[EvalSlice]:
    """Words and speakers of evaluation slices; words as the normaliser of the `predictions` run counts them.

    Raises:
        EarmarkError: a slice has no reference words.
    """
    table = recorded(store, predictions, normalise).table
    ids = table["sample_id"].to_pylist()
    words, letters = (_known(ids, c) for c in columns(table, "words", "characters"))
    known = described(store, table["sample_id"].combine_chunks())
    speakers = dict(zip(ids, known["speaker_key"].to_pylist(), strict=True))
    amounts = {"cer": letters, "ece_utterance": dict.fromkeys(ids, 1.0)}
    if "entity_errors" in metrics:
        found = _entities(store, predictions, normalise)
        amounts["entity_errors"] = {i: float(t.said) for i, t in found.items() if t.said}
    targets = []
    for frozen in slices:
        ids = members(store, frozen.set_digest).to_pylist()
        own = {metric: {i: below[i] for i in ids if i in below} for metric, below in amounts.items()}
        of_whom = {i: speakers[i] for i in ids}
        targets.append(EvalSlice(frozen.name, frozen.set_digest, {i: words[i] for i in ids}, of_whom, own))
        if not sum(targets[-1].words.values()):
            raise EarmarkError(f"evaluation slice {frozen.name} has no reference words — leave it out")
    return targets


def _known(ids: Sequence[UUID], values: Array) -> dict[UUID, float]:
    """By sample, where there is a value: a transcript that the model cannot spell has no loss."""
    return {i: v for i, v in zip(ids, values.tolist(), strict=True) if v == v}


def _words(store: Store, run_id: str, normalise: str) -> dict[UUID, list[tuple[float, float]]]:
    """Confidence of each decoded word and whether it is right, by utterance; see `calibration.word_outcomes`."""
    text, texts = normaliser(normalise), spoken_and_heard(store, recorded(store, run_id, normalise))
    said, heard, sure = zip(*texts.values(), strict=True) if texts else ((), (), ())
    found = word_outcomes([text(s) for s in said], heard, sure, text)
    words: dict[UUID, list[tuple[float, float]]] = {i: [] for i in texts}
    ids = list(texts)
    for c, r, k in zip(found.confidence.tolist(), found.right.tolist(), found.utterance.tolist(), strict=True):
        words[ids[k]].append((c, r))
    return words


def _entities(store: Store, run_id: str, normalise: str) -> dict[UUID, Tally]:
    """Entities that the manifest tagged, said and heard whole, by sample; see `training.evaluation.entities`."""
    predictions = recorded(store, run_id, normalise)
    ids = predictions.table["sample_id"].combine_chunks()
    own, texts = tagged(store, ids), spoken_and_heard(store, predictions)
    text = normaliser(normalise)
    there = [i for i in ids.to_pylist() if i in own and i in texts]
    alignments = [align(text(texts[i][0]), text(texts[i][1])) for i in there]
    kinds = tallies(alignments, [own[i] for i in there], {}, text).values()
    return {
        i: Tally(sum(t.said for t in each), sum(t.right for t in each))
        for i, each in zip(there, zip(*kinds, strict=True), strict=True)
    }
