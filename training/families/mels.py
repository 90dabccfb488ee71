"""Log-mel spectrograms as Whisper's feature extractor makes them, kept without their padding.

Models with a Whisper encoder want clips padded to whole windows of it. The padding is one column over and over, so it is
cut off before features are kept and put back when a batch is made, which makes the cache small and is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lineage.errors import EarmarkError
from lineage.machine.environment import package_versions
from lineage.sound import waveforms
from lineage.sound.audio import Waveform
from training.families import Features
from training.families.base import Base


def check(base: Base, extractor: Any, bands: int) -> None:
    """Refuse an extractor that is not a function of the sound, or that does not fit a model of `bands` mel bands."""
    if extractor.dither:
        raise EarmarkError(f"base {base.ref} dithers its features, so they differ each time — set dither to 0")
    if extractor.feature_size != bands:
        raise EarmarkError(
            f"base {base.ref}: {extractor.feature_size} mel bands from the extractor, {bands} "
            "in the model — correct preprocessor_config.json"
        )


def settings(family: str, version: int, extractor: Any, frames: int) -> dict[str, Any]:
    """All that `columns` depends on besides the sound, for windows of so many frames; see `Family.feature_config`."""
    return {
        "family": family,
        "version": version,
        "extractor": extractor.to_dict(),
        "frames": frames,
        "packages": package_versions("numpy", "soxr", "torch", "transformers"),
    }


def heard(base: Base, extractor: Any, waveform: Waveform, seconds: float) -> npt.NDArray[np.float32]:
    """A clip as one channel at the extractor's rate.

    Raises:
        EarmarkError: it lasts longer than `seconds`.
    """
    rate = extractor.sampling_rate
    pcm = waveforms.mono(waveforms.resample(waveform, rate)).pcm[:, 0]
    if len(pcm) > round(seconds * rate):
        raise EarmarkError(
            f"the clip lasts {len(pcm) / rate:.2f} s but base {base.ref} takes {seconds:.2f} s at most — "
            "cut it with the segment transform"
        )
    return pcm


def columns(extractor: Any, pcm: npt.NDArray[np.float32], length: int) -> Features:
    """The spectrogram of a clip padded to `length` values, float32 [frames, bands]."""
    out = extractor(pcm, sampling_rate=extractor.sampling_rate, max_length=length, return_tensors="np")
    return np.ascontiguousarray(np.asarray(out["input_features"][0], dtype=np.float32).T)


def without_padding(frames: Features, least: int = 1) -> Features:
    """Frames up to and including the first of those that repeat to the end, but `least` of them."""
    different = np.flatnonzero((frames != frames[-1]).any(axis=1))
    return frames[: max(least, int(different[-1]) + 2 if len(different) else 1)]


def padded(clips: Sequence[Features], frames: int) -> Features:
    """What `without_padding` was given, for a batch: [clips, frames, bands]."""
    out = np.empty((len(clips), frames, clips[0].shape[1]), dtype=np.float32)
    for row, clip in zip(out, clips, strict=True):
        row[: len(clip)] = clip
        row[len(clip) :] = clip[-1]
    return out
