"""Attribution on record: the influence of every training sample on every target, from the gradients of one model.

    found = attribute(store, "six-accents", method="adam_tracin", targets=["accent=*", "all"], workers=2)

The work is cut into units, one piece of the method (a checkpoint, say) × one block of training samples. Each unit's result
is kept as an artifact by a run of its own, under a key that covers all it depends on; so an attribution that is killed goes
on where it was, and one with more training samples or another method shares nothing wrongly. Parts are added up in the order
of the pieces, in double precision: neither the number of workers nor the order in which they finish changes a digit. The
batch size does, in the last digits of single precision, for matrix products sum in another order (about 1e-6 relative).
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from influence import slices
from influence.bank import opened_store
from influence.executor import Job, executor
from influence.methods import Method, Scorer, method as find_method
from influence.slices import FrozenSlice
from influence.targets import Targets, open_targets
from influence.trajectory import Trajectory, open_trajectory
from lineage.environment import code_version
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.sets import SampleSet, resolve_set
from lineage.store import Store
from training.determinism import depends, deterministic
from training.models import resolve_model
from training.progress import Progress, silent

BLOCK = 512  # training samples in a unit
BATCH = 32
REDUCTION = "sum of the utterances' losses / their reference words"


@dataclass(frozen=True)
class Attribution:
    """What was attributed: `values` [samples, K] for the training samples `samples` and the targets `targets`."""

    run_id: str
    model_id: str
    method: str
    targets: tuple[str, ...]
    samples: pa.Array
    values: npt.NDArray[np.float64]
    wall_s: float
    reused: bool
