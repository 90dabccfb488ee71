"""Ids depend on content alone."""

from __future__ import annotations

import uuid

import numpy as np
import pytest

from lineage.identity import audio_digest, digest_of, hex_prefix, keyed_id, sample_id, transform_id, uuid7

PCM = np.linspace(-0.5, 0.5, 100, dtype=np.float32).reshape(-1, 1)


def test_the_audio_digest_is_over_sound_rate_and_channels() -> None:
    digest = audio_digest(PCM, 16_000)
    assert audio_digest(np.asfortranarray(PCM.astype(">f4")).astype(np.float32), 16_000) == digest
    assert audio_digest(PCM, 8_000) != digest
    assert audio_digest(PCM.reshape(-1, 2), 16_000) != digest
    assert audio_digest(PCM * np.float32(0.5), 16_000) != digest
    zeros = np.zeros((4, 1), np.float32)
    assert audio_digest(-zeros, 16_000) == audio_digest(zeros, 16_000)
    with pytest.raises(ValueError, match="shape"):
        audio_digest(PCM[:, 0], 16_000)


def test_golden_ids_pin_the_format() -> None:
    digest = audio_digest(PCM, 16_000)
    assert digest == "5e15489f6226ac322db8a1c41838b08aadd8438357269870177b7a7a18338e79"
    assert str(sample_id(digest, "turn it off")) == "64f8ea35-6d54-faaf-62ff-9fa4dad9548c"
    assert str(keyed_id(b"k" * 32, "speaker", "ann")) == "9e67458d-f276-440f-953b-1c76d687ac1c"
    assert digest_of({"b": 1, "a": [1.5, "é"]}) == "b3aa7c2c75e6eda68896ca65edd78b023f766c052f625885b86d88bfa1f1a585"


def test_another_transcript_is_another_sample() -> None:
    digest = audio_digest(PCM, 16_000)
    assert len({sample_id(digest, t) for t in ("a", "a ", "A", "", None)}) == 5


def test_keyed_ids_need_the_key_and_keep_purposes_apart() -> None:
    assert keyed_id(b"k" * 32, "speaker", "ann") != keyed_id(b"l" * 32, "speaker", "ann")
    assert keyed_id(b"k" * 32, "speaker", "ann") != keyed_id(b"k" * 32, "audio", "ann")


def test_a_transform_is_what_it_does_and_with_what() -> None:
    one = transform_id("speed", {"factor": 0.9, "a": 1}, "1", {"soxr": "1"})
    assert one == transform_id("speed", {"a": 1, "factor": 0.9}, "1", {"soxr": "1"})
    assert one != transform_id("speed", {"a": 1, "factor": 0.9}, "1", {"soxr": "2"})


def test_run_ids_are_version_7_and_sort_by_time() -> None:
    made = [uuid7() for _ in range(50)]
    assert len(set(made)) == 50
    assert all(uuid.UUID(m).version == 7 and uuid.UUID(m).variant == uuid.RFC_4122 for m in made)
    assert [m[:13] for m in made] == sorted(m[:13] for m in made)


def test_prefixes_are_typed_with_or_without_hyphens() -> None:
    assert hex_prefix(" AB-cd ") == "abcd"
    assert [hex_prefix(t) for t in ("", "xyz", "g", "a" * 65)] == [None] * 4
