"""Temperature scaling: one number that makes a model's confidences honest (Guo et al., ICML 2017).

Divided by a temperature above 1, logits give less certain probabilities; which token is most likely stays as it is, and so do
the words. The temperature is fitted on a development set, by the cross-entropy of word confidences against right and wrong,
and goes on record as an event of the model, so that every later evaluation decodes with it. Fitting on the set that is then
reported flatters the figure: use another.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime

import torch

from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.machine.environment import code_version
from lineage.selection.sets import resolve_set
from lineage.store import Store
from training.data.corpus import open_corpus
from training.determinism import depends, deterministic, pick_device
from training.evaluation.calibration import Outcomes, gap, lowest, surprise, word_outcomes
from training.evaluation.hearing import BATCH, batches
from training.evaluation.predict import CALIBRATED, temperature_of
from training.families import Decoded
from training.models.recorded import open_model, resolve_model
from training.normalise import normaliser
from training.progress import Progress, silent

COLDEST, HOTTEST = 0.25, 8.0
TOLERANCE = 0.05  # of the temperature's logarithm
FEWEST_WORDS = 20


@dataclass(frozen=True)
class Calibration:
    """A fitted temperature, and word-level ECE on the development set at temperature 1 (`before`) and at it (`after`)."""

    run_id: str
    model_id: str
    set_digest: str
    temperature: float
    before: float
    after: float
    words: int
    reused: bool


def calibrate(
    store: Store,
    model: str,
    set_ref: str,
    *,
    normalise: str = "basic",
    batch_size: int = BATCH,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = silent,
) -> Calibration:
    """Fit a model's temperature on a development set and put it on record; later evaluations use it.

    Args:
        store: where model and set are and the run goes.
        model: name, id or beginning of an id.
        set_ref: name or digest of a development set, decoded about a dozen times.
        normalise: normaliser that tells right from wrong.
        batch_size: utterances decoded together.
        device: 'cpu', 'cuda' or 'auto'.
        threads: arithmetic threads.
        progress: told of features and decodings.

    Raises:
        EarmarkError: no such model or set, or too few words in it to fit anything.
    """
    record, data = resolve_model(store, model), resolve_set(store, set_ref)
    text, place = normaliser(normalise), pick_device(device)
    settings = {
        "model": record.model_id,
        "set": data.digest,
        "normaliser": text.label,
        "device": place,
        "threads": threads,
    }
    key = digest_of(
        {**settings, "calibrate": code_version("training"), "environment": depends(place), "text": text.digest}
    )
    done = store.find_run(key)
    if done is not None and temperature_of(store, record.model_id) == done.result["temperature"]:
        return Calibration(done.id, record.model_id, data.digest, **done.result, reused=True)
    with (
        deterministic(threads),
        store.run(
            "calibrate",
            job=f"calibrate {record.name}",
            config=settings,
            key=key,
            inputs=[record.model_id, data.digest],
            parents=[record.run_id],
            package="training",
        ) as run,
    ):
        opened = open_model(store, record.model_id)
        corpus = open_corpus(store, data.digest, opened.family, transcripts=opened.transcripts, progress=progress)
        said = [text(t) for t in corpus.spoken]
        model_here = opened.model.to(place).eval()

        def outcomes(temperature: float) -> Outcomes:
            heard: dict[int, Decoded] = {}
            with torch.no_grad():
                for rows, batch in batches(corpus, torch.device(place), batch_size, [""] * len(corpus)):
                    found = opened.family.decode(model_here, batch, temperature=temperature)
                    heard |= zip(rows.tolist(), found, strict=True)
                    progress(len(heard), len(corpus), f"temperature {temperature:.2f}")
            decoded = [heard[i] for i in range(len(corpus))]
            return word_outcomes(said, [d.text for d in decoded], [d.words for d in decoded], text)

        plain = outcomes(1.0)
        words = len(plain.confidence)
        if words < FEWEST_WORDS:
            raise EarmarkError(
                f"{words} words with a confidence on {data.name} are too few to fit a temperature — use a larger set"
            )
        range_ = math.log(COLDEST), math.log(HOTTEST)
        best = math.exp(lowest(lambda x: surprise(outcomes(math.exp(x))), *range_, TOLERANCE))
        fitted = outcomes(best)
        if surprise(plain) <= surprise(fitted):
            best, fitted = 1.0, plain
        run.result = {"temperature": best, "before": gap(plain), "after": gap(fitted), "words": words}
        detail = json.dumps({**run.result, "set": data.digest, "run": run.id}, sort_keys=True)
        event = {"model_id": record.model_id, "event": CALIBRATED, "detail": detail, "at": datetime.now(UTC)}
        run.append("model_events", [event])
    return Calibration(run.id, record.model_id, data.digest, **run.result, reused=False)
