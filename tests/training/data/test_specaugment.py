from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.specaugment import SpecAugment

masks = st.builds(
    SpecAugment,
    time_masks=st.integers(0, 4),
    time_width=st.integers(0, 40),
    time_share=st.floats(0, 1),
    frequency_masks=st.integers(0, 4),
    frequency_width=st.integers(0, 40),
)


def clip(frames: int, bands: int) -> np.ndarray:
    return np.random.default_rng(frames * 100 + bands).normal(size=(frames, bands)).astype(np.float32)


@given(masks, st.integers(1, 60), st.integers(1, 30), st.integers(0, 2**63 - 1))
@settings(max_examples=100, deadline=None)
def test_masks_are_whole_stretches_and_bands_within_their_widths(
    augment: SpecAugment, frames: int, bands: int, seed: int
) -> None:
    features = clip(frames, bands)
    before = features.copy()
    masked = augment(features, seed)
    assert np.array_equal(features, before)
    assert masked.dtype == np.float32
    assert masked.shape == features.shape
    hidden = masked != features
    assert np.allclose(masked[hidden], features.mean(), atol=1e-5)
    rows, columns = hidden.all(axis=1), hidden.all(axis=0)
    if frames > 1 and not columns.all():
        assert not hidden[-1].all()  # it stands for the padding
        assert (hidden == (rows[:, None] | columns[None, :])).all()
        assert rows.sum() <= augment.time_masks * min(augment.time_width, int(augment.time_share * frames))
        assert columns.sum() <= augment.frequency_masks * augment.frequency_width


def test_the_seed_decides_and_nothing_else() -> None:
    augment, features = SpecAugment(), clip(80, 40)
    np.random.seed(3)
    first = augment(features, 11)
    np.random.seed(4)
    assert np.array_equal(first, augment(features, 11))
    assert len({augment(features, seed).tobytes() for seed in range(20)}) == 20


def test_widths_are_even_from_nothing_to_the_largest() -> None:
    augment = SpecAugment(time_masks=0, frequency_masks=1, frequency_width=4)
    features = clip(3, 50)
    widths = [int((augment(features, seed) != features).all(axis=0).sum()) for seed in range(2000)]
    assert np.bincount(widths, minlength=5) == pytest.approx(np.full(5, 400), abs=80)
