"""The embedded corpus is balanced, its voices keep apart, and it comes out the same every time."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path

import espeakng_loader
import pytest
import soundfile

from earmark.demo import base, corpus
from earmark.demo.corpus import BABBLE_VARIANTS, CONDITIONS, CORPUS_ACCENTS, TEST_VARIANTS, TRAIN_VARIANTS, utterances
from earmark.demo.grammar import vocabulary
from earmark.demo.synthesis import SAMPLE_RATE


@pytest.fixture(scope="module")
def plan():
    return list(utterances())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    corpus.write_corpus(folder)
    return folder


def rows(folder, name):
    return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]


def test_equal_counts_for_every_accent_split_and_condition(plan):
    counts = Counter((row["accent"], row["split"], row["condition"]) for row, _ in plan)
    for split, each in (("train", 27), ("test", 28)):
        assert {counts[accent, split, condition] for accent in CORPUS_ACCENTS for condition in CONDITIONS} == {each}
    assert len(CORPUS_ACCENTS) >= 6
    assert Counter(row["split"] for row, _ in plan) == {"train": 567, "test": 588}


def test_a_speaker_has_one_accent_and_one_split(plan):
    known = defaultdict(set)
    for row, voice in plan:
        known[row["speaker"]].add((row["accent"], row["split"], voice))
    assert all(len(found) == 1 for found in known.values())
    testers = Counter(accent for ((accent, split, _),) in known.values() if split == "test")
    assert min(testers.values()) >= 10


def test_conditions_are_balanced_within_every_speaker(plan):
    counts = Counter((row["speaker"], row["condition"]) for row, _ in plan)
    for speaker in {row["speaker"] for row, _ in plan}:
        assert len({counts[speaker, condition] for condition in CONDITIONS}) == 1


def test_no_voice_variant_stands_on_two_sides():
    sides = [TRAIN_VARIANTS, TEST_VARIANTS, BABBLE_VARIANTS, base.VARIANTS]
    everybody = [variant for side in sides for variant in side]
    assert len(everybody) == len(set(everybody))


def test_every_voice_variant_exists():
    there = {path.name for path in (Path(espeakng_loader.get_data_path()) / "voices" / "!v").iterdir()}
    assert {*TRAIN_VARIANTS, *TEST_VARIANTS, *BABBLE_VARIANTS, *base.VARIANTS} <= there


def test_the_null_accent_is_the_bases(plan):
    assert corpus.NULL_ACCENT in base.ACCENTS
    assert len(set(CORPUS_ACCENTS) - set(base.ACCENTS)) >= 4


def test_no_speaker_says_the_same_thing_twice(plan):
    said = [(row["speaker"], row["text"]) for row, _ in plan]
    assert len(set(said)) == len(said)


def test_words_are_the_vocabularys(plan):
    assert {word for row, _ in plan for word in row["text"].split()} == set(vocabulary())


def test_paths_are_relative_and_differ(plan):
    paths = [row["audio_path"] for row, _ in plan]
    assert len(set(paths)) == len(paths)
    assert not any(path.startswith("/") or ".." in path for path in paths)


@pytest.mark.slow
def test_what_is_written_is_what_the_manifests_say(written):
    spoken = [row for condition in CONDITIONS for row in rows(written, f"{condition}.jsonl")]
    assert len(spoken) == 567 + 588
    for row in spoken + rows(written, "noise.jsonl"):
        info = soundfile.info(written / row["audio_path"])
        assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 1, "PCM_16")
        if row["kind"] == "speech":
            assert 0.3 < info.duration <= 2.4
        else:
            assert "text" not in row
            assert info.duration == 4
    noises = Counter((row["noise"], row["split"]) for row in rows(written, "noise.jsonl"))
    assert set(noises) == {(noise, split) for noise in corpus.NOISES for split in ("train", "test")}
    assert min(noises.values()) >= 3


@pytest.mark.slow
def test_written_twice_it_is_the_same(written, tmp_path):
    corpus.write_corpus(tmp_path)
    digests = [
        {path.relative_to(folder): hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*.*")}
        for folder in (written, tmp_path)
    ]
    assert digests[0] == digests[1]
