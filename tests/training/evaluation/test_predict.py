from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
import torch

from lineage.errors import EarmarkError
from lineage.people import reach
from lineage.people.erase import erase
from lineage.selection.sets import SampleSet, members, resolve_set
from lineage.store import Store
from training.evaluation import predict as module
from training.evaluation.predict import predict, spoken_and_heard
from training.models.recorded import open_model
from training.normalise import normaliser


def test_predictions_are_complete_and_sorted(able: Store) -> None:
    done = predict(able, "able", "test")
    table = done.table
    assert table["sample_id"].to_pylist() == members(able, resolve_set(able, "test").digest).to_pylist()
    opened = open_model(able, "able")
    said = able.vault.transcripts(table["sample_id"].combine_chunks())
    for row in table.to_pylist():
        assert (
            row["words"] == row["hits"] + row["substitutions"] + row["deletions"] == len(said[row["sample_id"]].split())
        )
        assert row["tokens"] == row["words"] + 1
        assert 0 < row["confidence"] <= 1
    (first,) = list(able.vault.waveforms([table["sample_id"][0].as_py()]))
    batch = opened.family.collate([opened.family.features(first[1])], [said[first[0]]])
    with torch.no_grad():
        nll, _ = opened.family.losses(opened.model, batch)
    assert table["loss"][0].as_py() == pytest.approx(nll.item(), rel=1e-5)


def test_batches_change_nothing(able: Store) -> None:
    whole = predict(able, "able", "test")
    copy = able.root.parent / "copy"
    shutil.copytree(able.root, copy)
    other = Store.open(copy)
    (copy / "key").write_text("")
    found = predict(other, "able", "test", threads=2, batch_size=3)  # other threads: another key
    assert not found.reused
    for column in ("words", "hits", "substitutions", "deletions", "insertions", "tokens"):
        assert found.table[column].to_pylist() == whole.table[column].to_pylist()
    for column in ("loss", "confidence"):
        assert found.table[column].to_numpy() == pytest.approx(whole.table[column].to_numpy(), rel=1e-4)
    assert other.vault.hypotheses(found.run_id) == able.vault.hypotheses(whole.run_id)


def test_words_have_confidences_beside_them_in_the_vault(able: Store) -> None:
    done = predict(able, "able", "test")
    texts = spoken_and_heard(able, done)
    assert set(texts) == set(done.table["sample_id"].to_pylist())
    for _, heard, sure in texts.values():
        assert len(sure) == len(heard.split())
        assert all(0 < c <= 1 for c in sure)
    assert "word_confidences" not in able.read("predictions").column_names


def test_another_normaliser_counts_again_but_decodes_once(able: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = predict(able, "able", "test")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(module, "hear", never)
    again = predict(able, "able", "test", normalise="whisper")
    assert again.run_id != first.run_id
    assert again.normaliser == normaliser("whisper").label
    for column in ("loss", "tokens", "confidence"):
        assert again.table[column].to_pylist() == first.table[column].to_pylist()
    assert spoken_and_heard(able, again) == spoken_and_heard(able, first)
    with pytest.raises(AssertionError, match="decoded again"):
        predict(able, "able", "train")


def test_a_normaliser_that_deletes_signs_is_told_of(able: Store, populate: Callable[..., SampleSet]) -> None:
    populate(able, "hindi", 4, seed=14, texts=["हिन्दी में", "नमस्ते", "one", "two"])
    (warning,) = predict(able, "able", "hindi", normalise="whisper").warnings
    assert "whisper deletes" in warning
    assert "Devanagari" in warning
    assert "take basic" in warning
    assert predict(able, "able", "hindi").warnings == ()
    assert predict(able, "able", "test", normalise="whisper").warnings == ()


def test_erased_words_are_not_counted_again(able: Store, populate: Callable[..., SampleSet]) -> None:
    populate(able, "leaving", 8, seed=15)
    done = predict(able, "able", "leaving")
    erase(able, reach.speaker(able, "leaving-1"))
    elsewhere = Store.open(shutil.copytree(able.root, able.root.parent / "elsewhere"))  # nothing of it is in memory yet
    with pytest.raises(EarmarkError, match="erased"):
        predict(elsewhere, "able", done.set_digest, normalise="none")
