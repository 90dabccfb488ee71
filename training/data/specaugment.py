"""SpecAugment: stretches of time and bands of frequency are hidden from the model (Park et al., arXiv 1904.08779).

Works on the features of any family whose features are a spectrogram [frames, bands]. What is hidden takes the clip's own
mean, which is what zero is to the normalised features of the paper; time is not warped, which the paper found to matter
least. The masks follow from the seed of the exposure alone, so a run that is resumed, replayed, or done again with samples
left out hides the same.

The last frame of a clip is never hidden in time, because families put it in for the padding after the clip.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from training.data.seeds import Purpose, raw


class SpecAugment(BaseModel):
    """How much to hide. Widths are drawn evenly from 0 to the largest, places evenly from all that fit."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    time_masks: int = Field(2, ge=0, le=1000, description="Stretches of time to hide.")
    time_width: int = Field(20, ge=0, le=100_000, description="Frames of each at most (T of the paper).")
    time_share: float = Field(
        0.2, ge=0, le=1, description="Share of the clip's frames of each at most (p of the paper)."
    )
    frequency_masks: int = Field(2, ge=0, le=1000, description="Bands of frequency to hide.")
    frequency_width: int = Field(8, ge=0, le=100_000, description="Dimensions of each at most (F of the paper).")

    def __call__(self, features: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.float32]:
        """A copy of `features` [frames, dimensions] with the masks that `seed` draws."""
        frames, bands = features.shape
        drawn = raw(seed, Purpose.MASKS, 0, 2 * (self.time_masks + self.frequency_masks))
        even = (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53  # in [0, 1)
        places = even.reshape(-1, 2)
        hidden = np.zeros(features.shape, dtype=bool)
        widest = min(self.time_width, int(self.time_share * frames))
        for start, stop in _spans(places[: self.time_masks], widest, frames - 1):
            hidden[start:stop] = True
        for start, stop in _spans(places[self.time_masks :], self.frequency_width, bands):
            hidden[:, start:stop] = True
        return np.where(hidden, features.mean(dtype=np.float64).astype(np.float32), features)


def _spans(places: npt.NDArray[np.float64], widest: int, room: int) -> list[tuple[int, int]]:
    """(start, stop) within `room` from pairs of numbers in [0, 1)."""
    spans = []
    for width, start in places:
        size = int(width * (min(widest, room) + 1))
        first = int(start * (room - size + 1))
        spans.append((first, first + size))
    return spans
