"""Two models on sounds that nobody has transcribed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from lineage.errors import EarmarkError
from lineage.sound.audio import encode
from lineage.store import Store
from tests.earmark.test_cli import earmark
from tests.training.conftest import WORDS, say
from training.comparison.trial import METRICS, listen
from training.evaluation.predict import predict
from training.models.recorded import adopt_base, resolve_model


@pytest.fixture(scope="module")
def raw(able: Store) -> str:
    """The base that `able` was trained from, which has learnt nothing."""
    return adopt_base(able, resolve_model(able, "able").base).model_id


@pytest.fixture(scope="module")
def traffic(able: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sounds of the set `test` in four folders, one a user, beside one that is broken and one that is too long."""
    folder = tmp_path_factory.mktemp("traffic")
    ids = predict(able, "able", "test").table["sample_id"].to_pylist()
    for i, (_, wave) in enumerate(able.vault.waveforms(ids)):
        (folder / f"user{i % 4}").mkdir(exist_ok=True)
        (folder / f"user{i % 4}" / f"{i}.flac").write_bytes(encode(wave))
    (folder / "user0" / "broken.wav").write_bytes(b"RIFF")
    long = say(WORDS, 1.0, np.random.default_rng(0))
    (folder / "user0" / "long.flac").write_bytes(encode(long))
    return folder


def test_agreement_and_confidence_are_those_of_what_both_heard(able: Store, raw: str, traffic: Path) -> None:
    done = listen(able, "able", raw, traffic, batch_size=5)
    tables = [predict(able, model, "test") for model in ("able", raw)]
    heard = [able.vault.hypotheses(p.run_id) for p in tables]
    alike = [heard[0][i] == heard[1][i] for i in tables[0].table["sample_id"].to_pylist()]
    assert done.utterances == len(alike) == 16
    assert done.figures["agreement"].value == np.mean(alike)
    assert done.figures["agreement"].blocks == 4
    for side, p in zip(("first", "second"), tables, strict=True):
        mean = np.mean(p.table["confidence"].to_numpy())
        assert done.figures[f"confidence_{side}"].value == pytest.approx(mean, rel=1e-4)
    words = sum(p.table["words"].to_numpy().sum() for p in tables) / 2
    wers = [sum(p.table[c].to_numpy().sum() for c in ("substitutions", "deletions", "insertions")) for p in tables]
    edits = done.figures["disagreement"].value * sum(len(h.split()) for m in heard for h in m.values()) / 2
    assert abs(wers[0] - wers[1]) / words <= edits / words + 1e-9  # the triangle inequality
    assert len(done.refused) == 2
    assert any(line.startswith("user0/broken.wav") for line in done.refused)


def test_exchanging_the_models_exchanges_the_figures(able: Store, raw: str, traffic: Path) -> None:
    one, other = listen(able, "able", raw, traffic), listen(able, raw, "able", traffic)
    assert one.figures["agreement"] == other.figures["agreement"]
    assert one.figures["disagreement"].value == other.figures["disagreement"].value
    assert one.figures["confidence_first"] == other.figures["confidence_second"]
    assert one.figures["confidence_difference"].value == -other.figures["confidence_difference"].value
    assert able.resolve_run(one.run_id).result["traffic"] == able.resolve_run(other.run_id).result["traffic"]


def test_only_figures_are_kept(able: Store, raw: str, traffic: Path) -> None:
    before = {t: able.read(t).num_rows for t in ("samples", "predictions", "metrics")}
    done = listen(able, "able", raw, traffic)
    assert before == {t: able.read(t).num_rows for t in before}
    run = able.resolve_run(done.run_id)
    assert set(run.result["figures"]) == set(METRICS)
    assert "user0" not in str(run.to_json())
    assert not any(math.isnan(f.low) for f in done.figures.values())


def test_what_cannot_be_tried_is_told(able: Store, raw: str, tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match="there is no sound below it"):
        listen(able, "able", raw, tmp_path)
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(EarmarkError, match=r"none of 1 sounds can be heard \(first: a\.wav is an empty file"):
        listen(able, "able", raw, tmp_path)
    with pytest.raises(EarmarkError, match="are one model"):
        listen(able, "able", "able", tmp_path)


def test_a_person_asks_and_gets_what_the_traffic_has(
    able: Store, raw: str, traffic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ("ab", "able", raw[:12], "--store", str(able.root), "--json")
    earmark(*ask[:3], str(traffic), *ask[3:])
    told = capsys.readouterr()
    assert {r["metric"] for r in json.loads(told.out)} == set(METRICS)
    assert told.err.count("\n") >= 2  # the two that could not be heard
    earmark(*ask[:3], "test", *ask[3:])
    stored = json.loads(capsys.readouterr().out)
    assert stored[0]["slice"] == "all"
    for i, word in enumerate(("one", "two")):
        (tmp_path / f"{i}.flac").write_bytes(encode(say([word], 1.0, np.random.default_rng(i))))
        (tmp_path / f"{i}.txt").write_text(word)
    earmark(*ask[:3], str(tmp_path), *ask[3:])
    assert json.loads(capsys.readouterr().out)[0]["words"] == 2
    (tmp_path / "rows.jsonl").write_text('{"audio_path": "0.flac"}\n')
    earmark(*ask[:3], str(tmp_path / "rows.jsonl"), *ask[3:], status=2)
    assert "no row of it has words" in capsys.readouterr().err
