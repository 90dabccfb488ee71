"""Perceptual fingerprints: 256 bytes by which a copy of a recording is known, though re-encoded, louder or resampled.

A fingerprint is how the energy in eight bands between 200 and 3,400 Hz moves over the length of a clip: its logarithm in
`SNAPSHOTS` windows, each band less its own mean, so that neither the level nor a fixed colouring of the channel counts.
Energy that is compared between bands and moments is what Haitsma & Kalker ("A highly robust audio fingerprinting system",
ISMIR 2002) identify music by; here nothing has to be found in hours of sound, so the values are kept in place of their
signs, and two clips are alike as far as the values correlate.

Laws: a fingerprint is like itself by 1; it does not change with the gain (but for rounding and what is clipped). A clip that
was cut, stretched or pitched has another one; and what it was made of cannot be heard or said from it, but since
it tells one recording from others it is personal and lies in the vault.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lineage.sound.audio import FloatArray
from lineage.sound.spectrum import SNAPSHOTS, Spectrum

BANDS = 8
LOW_HZ, HIGH_HZ = 200.0, 3_400.0  # what a telephone carries
DEPTH = 1e-5  # of the strongest band and moment; what lies deeper is a codec's business
BYTES = SNAPSHOTS * BANDS


def fingerprint(seen: Spectrum) -> bytes:
    """The fingerprint of a sound: `BYTES` signed bytes, snapshot by snapshot."""
    energy = seen.power @ _bands(seen.power.shape[1], seen.step_hz)
    top = float(np.maximum.reduce(energy, axis=None))
    if not 0 < top < np.inf:
        return bytes(BYTES)
    moves = np.log(energy + np.float32(DEPTH * top))
    moves -= np.add.reduce(moves, axis=0) / np.float32(len(moves))
    largest = float(np.maximum.reduce(np.abs(moves), axis=None))
    if largest == 0:
        return bytes(BYTES)
    made: bytes = np.rint(moves * np.float32(127 / largest)).astype(np.int8).tobytes()
    return made


def vectors(fingerprints: list[bytes]) -> FloatArray:
    """Fingerprints as rows of unit length, [n, BYTES]: the product of two rows is their likeness, from -1 to 1.

    One without any movement is like nothing, not even itself.
    """
    rows = np.frombuffer(b"".join(fingerprints), dtype=np.int8).reshape(-1, BYTES).astype(np.float32)
    length = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return np.asarray(rows / np.where(length == 0, 1, length), dtype=np.float32)


@lru_cache(maxsize=64)
def _bands(bins: int, step_hz: float) -> npt.NDArray[np.float32]:
    """Which bins make up each band [bins, BANDS]: overlapping triangles, equally wide in the logarithm of the frequency."""
    edges = np.geomspace(LOW_HZ, HIGH_HZ, BANDS + 2)
    hertz = np.arange(bins)[:, None] * step_hz
    rise = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    weights = np.clip(np.minimum(rise, fall), 0, None)
    return (weights * step_hz).astype(np.float32)
