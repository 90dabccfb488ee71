from __future__ import annotations

from collections.abc import Callable

import pytest

from lineage.errors import EarmarkError
from lineage.selection.sets import SampleSet, create_set, members, resolve_set
from lineage.store import Store
from training.evaluation.evaluate import evaluate
from training.evaluation.predict import predict, spoken_and_heard, temperature_of
from training.evaluation.temperature import calibrate
from training.models.recorded import resolve_model


def test_calibration_makes_confidences_honest_on_other_data_and_leaves_the_words(
    able: Store, populate: Callable[..., SampleSet]
) -> None:
    populate(able, "held-out", 60, seed=21, speakers=6)
    before = evaluate(able, "able", "held-out")
    done = calibrate(able, "able", "dev")
    assert done.temperature > 1.1  # trained to the last drop, it boasts
    assert done.after < done.before
    assert temperature_of(able, done.model_id) == done.temperature
    after = evaluate(able, "able", "held-out")
    assert after.predictions.temperature == done.temperature
    assert after.figure("ece_word").interval.value < before.figure("ece_word").interval.value
    assert after.wer == before.wer
    was, now = (spoken_and_heard(able, e.predictions) for e in (before, after))
    assert {i: t[1] for i, t in was.items()} == {i: t[1] for i, t in now.items()}
    assert all(a >= b for i in was for a, b in zip(was[i][2], now[i][2], strict=True))  # hotter: never surer
    for column in ("loss", "tokens"):
        assert before.predictions.table[column].to_pylist() == after.predictions.table[column].to_pylist()


def test_it_is_an_event_of_the_model_and_made_once(able: Store) -> None:
    done = calibrate(able, "able", "dev")
    again = calibrate(able, "able", "dev")
    assert again.reused
    assert (again.run_id, again.temperature) == (done.run_id, done.temperature)
    events = able.read("model_events", where="event = 'calibrated'").to_pylist()
    assert {e["model_id"] for e in events} == {resolve_model(able, "able").model_id}
    assert able.resolve_run(done.run_id).result["words"] == done.words
    assert predict(able, "able", "test").table["temperature"].unique().to_pylist() == [done.temperature]


def test_the_last_calibration_holds(able: Store) -> None:
    first = calibrate(able, "able", "dev")
    second = calibrate(able, "able", "train")
    assert temperature_of(able, first.model_id) == second.temperature != first.temperature
    back = calibrate(able, "able", "dev")
    assert (back.reused, back.temperature) == (False, first.temperature)
    assert temperature_of(able, first.model_id) == first.temperature


def test_too_few_words_are_refused_and_fit_nothing(able: Store) -> None:
    held = temperature_of(able, resolve_model(able, "able").model_id)
    with able.run("ingest", job="few") as run:
        create_set(run, members(able, resolve_set(able, "dev").digest).slice(0, 2), name="few")
    with pytest.raises(EarmarkError, match="too few to fit a temperature — use a larger set"):
        calibrate(able, "able", "few")
    assert temperature_of(able, resolve_model(able, "able").model_id) == held
