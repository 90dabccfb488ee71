from __future__ import annotations

import uuid

import numpy as np
import pytest
from pydantic import ValidationError

from lineage.derivation import transforms
from lineage.derivation.chance import Draw
from lineage.derivation.transforms import Parent
from lineage.errors import EarmarkError
from tests.lineage.sounds import sound

ONE = uuid.UUID(int=1)


def test_parameters_decide_the_transform_id_and_their_spelling_does_not() -> None:
    level = transforms.find("level")
    one, same, other = (transforms.row("level", level.check({"gain_db": g})) for g in (3, "3.0", 4))
    assert one == same
    assert one["transform_id"] != other["transform_id"]


def test_the_code_that_decides_the_sound_is_part_of_the_id() -> None:
    row = transforms.row("mono", {})
    assert row["code_version"] == transforms.row("level", {"gain_db": 1})["code_version"]
    assert row["code_version"] != transforms.row("tempo", {"factor": 1})["code_version"]
    assert "libsndfile" in row["packages"]
    assert set(transforms.PACKAGES) == {"numpy", "soxr"}
    assert all(name in row["packages"] for name in transforms.PACKAGES)


def test_every_transform_says_what_it_does() -> None:
    names = {t.name for t in transforms.transforms()}
    assert names >= {"resample", "mono", "trim", "segment", "concat", "noise", "speed", "level"}
    assert names >= {"tempo", "pitch", "reverb", "impulse", "telephone", "codec", "clip"}
    assert all(t.doc.endswith(".") for t in transforms.transforms())


@pytest.mark.parametrize("name", ["resample", "noise", "speed", "level"])
def test_what_has_to_be_given_has_no_default(name: str) -> None:
    with pytest.raises(EarmarkError, match="field required"):
        transforms.find(name).check({})
    with pytest.raises(ValidationError):
        transforms.find(name).parameters()


def test_every_parameter_says_what_it_means() -> None:
    assert all(f.description for t in transforms.transforms() for f in t.parameters.model_fields.values())


def test_only_what_is_above_a_clipped_peak_is_changed() -> None:
    wave = sound(0.1, peak=0.5)
    out = transforms.clip([Parent(ONE, wave, {})], Draw(0, [ONE]), over_db=6).wave
    ceiling = np.abs(wave.pcm).max() * 10 ** (-6 / 20)
    quiet = np.abs(wave.pcm) < ceiling
    assert np.array_equal(out.pcm[quiet], wave.pcm[quiet])
    assert np.allclose(np.abs(out.pcm[~quiet]), ceiling)
    assert 0.3 < quiet.mean() < 0.7


def test_trim_cuts_times_first_and_silence_then() -> None:
    parent = Parent(ONE, sound(1.0), {})
    result = transforms.trim([parent], Draw(0, [ONE]), start_s=0.25, end_s=0.25)
    assert result.wave.duration_s == 0.5
    assert (result.placements[0].parent_start_s, result.placements[0].duration_s) == (0.25, 0.5)
