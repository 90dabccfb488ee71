from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lineage.errors import EarmarkError
from lineage.ids import halves
from lineage.selection.sets import SampleSet, create_set, resolve_set
from lineage.store import Store
from tests.training.conftest import tiny_voxtral
from training.data.corpus import open_corpus
from training.families import open_family
from training.families.languages import find_language

Populate = Callable[..., SampleSet]


def test_a_corpus_is_the_set_in_the_order_of_its_ids(store: Store, base: Path) -> None:
    family = open_family("whisper", str(base))
    digest = resolve_set(store, "train").digest
    corpus = open_corpus(store, digest, family)
    pairs = halves(corpus.ids)
    assert (pairs[:-1, 0] <= pairs[1:, 0]).all()
    said = store.vault.transcripts(corpus.ids)
    assert corpus.transcripts == [said[i] for i in corpus.ids.to_pylist()]
    assert corpus.samples["sample_id"].to_pylist() == corpus.ids.to_pylist()
    batch = corpus.batch([5, 2])
    assert batch["rows"].tolist() == [5, 2]
    one = corpus.batch([2])
    assert torch.equal(batch["input_features"][1], one["input_features"][0])
    assert open_corpus(store, digest, family) is corpus  # a worker opens it once
    corpus.check()
    assert corpus.encodable().all()


def test_masks_go_by_membership(store: Store, base: Path) -> None:
    corpus = open_corpus(store, resolve_set(store, "train").digest, open_family("whisper", str(base)))
    some = corpus.ids.take([1, 4, 9])
    assert corpus.mask(some).nonzero()[0].tolist() == [1, 4, 9]
    foreign = open_corpus(store, resolve_set(store, "test").digest, open_family("whisper", str(base))).ids
    assert not corpus.mask(foreign).any()


def test_strange_words_are_counted_and_named(store: Store, base: Path, populate: Populate) -> None:
    made = populate(store, "strange", 6, seed=8, texts=["one", "two ten", "ten", "three", "Four", "five"])
    family = open_family("whisper", str(base))
    corpus = open_corpus(store, made.digest, family)
    with pytest.raises(
        EarmarkError, match=r"3 of 6 transcripts \(first: sample .*\) have words .*: 'ten', 'Four' — correct"
    ):
        corpus.check()
    assert corpus.encodable().sum() == 3
    assert open_corpus(store, made.digest, family, transcripts="basic").encodable().sum() == 4


def test_long_transcripts_are_named(store: Store, base: Path, populate: Populate) -> None:
    made = populate(store, "wordy", 3, seed=9, texts=["one", "one " * 4 + "two", "two"])
    family = open_family("whisper", str(base))
    family.config.max_target_positions, before = 5, family.config.max_target_positions
    family._encode.cache_clear()
    try:
        with pytest.raises(EarmarkError, match=r"1 of 3 transcripts \(first: sample .*\): a transcript of 5 tokens"):
            open_corpus(store, made.digest, family).check()
    finally:
        family.config.max_target_positions = before
        family._encode.cache_clear()


def test_samples_bring_their_languages(store: Store, tmp_path: Path, populate: Populate) -> None:
    spoken = ["de", "en-GB", "Italian", "de"]
    made = populate(store, "tongues", 4, seed=12, texts=["one", "two", "three", "four"], languages=spoken)
    folder = str(tiny_voxtral(tmp_path))
    corpus = open_corpus(store, made.digest, open_family("voxtral", folder, language="per-sample"))
    said = dict(zip(corpus.spoken, corpus.languages, strict=True))
    assert said == dict(zip(["one", "two", "three", "four"], spoken, strict=True))
    batch = corpus.batch(range(4))
    for row, language in zip(batch["input_ids"], corpus.languages, strict=True):
        code = find_language(language or "")
        assert code is not None
        assert code.voxtral in corpus.family.tokenizer.decode(row)
    one = open_corpus(store, made.digest, open_family("voxtral", folder, language="fr"))
    assert one.languages == [None] * 4
    assert "lang:fr" in one.family.tokenizer.decode(one.batch([1])["input_ids"][0])


@pytest.mark.parametrize(
    ("spoken", "said"),
    [
        (
            [None, "de", None],
            r"2 of 3 samples have no language that base .* knows \(none is recorded\) \(first: sample",
        ),
        (
            ["en", "Elvish", None],
            r"2 of 3 samples .* \('Elvish'\) .* record the attribute 'language' as a code like 'de'",
        ),
    ],
)
def test_samples_without_a_known_language_are_counted(
    store: Store, tmp_path: Path, populate: Populate, spoken: list[str | None], said: str
) -> None:
    made = populate(store, said[:1] + str(spoken[0]), 3, seed=13, texts=["one", "two", "three"], languages=spoken)
    family = open_family("voxtral", str(tiny_voxtral(tmp_path)), language="per-sample")
    with pytest.raises(EarmarkError, match=said):
        open_corpus(store, made.digest, family)


def test_long_clips_noise_and_missing_samples_are_refused(store: Store, base: Path, populate: Populate) -> None:
    family = open_family("whisper", str(base))
    long = populate(store, "long", 4, seed=10, texts=["one"] * 3 + ["one two three four five six"])
    with pytest.raises(
        EarmarkError, match=r"1 of 4 samples are longer than the 0\.8 s .*longest: 0\.90 s.*segment transform"
    ):
        open_corpus(store, long.digest, family)
    with store.run("ingest") as run:
        ids = store.read("samples", ["sample_id"])["sample_id"].to_pylist()[:2]
        run.append(
            "samples",
            [{"sample_id": i, "kind": "noise", "duration_s": 0.1, "sample_rate": 8000, "channels": 1} for i in ids],
        )
        noise = create_set(run, ids, name="noise")
    with pytest.raises(EarmarkError, match="2 of 2 samples are noise, without words"):
        open_corpus(store, noise.digest, family)
    with pytest.raises(EarmarkError, match="has no members on record"):
        open_corpus(store, "0" * 64, family)
