"""The same bits again: what has to be fixed while arithmetic runs, and what its last bit depends on nevertheless.

Sums in another order differ in the last bit, and a training run amplifies that bit to different weights. So algorithms are
deterministic, the number of threads is the recipe's, and every step seeds all generators (see `training.data.seeds`). What
remains (kind of machine, versions of the packages) cannot be fixed, only recorded: `depends` names it, and it is part of
the key under which a run's result is reused.
"""

from __future__ import annotations

import os
import platform
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch

from lineage.errors import EarmarkError
from lineage.machine.environment import package_versions
from training.memory import keep_freed

PACKAGES = ("accelerate", "numpy", "peft", "torch", "transformers")


@contextmanager
def deterministic(threads: int = 1) -> Iterator[None]:
    """Compute deterministically with `threads` arithmetic threads; settings and generators are put back afterwards."""
    keep_freed()
    before = torch.get_num_threads()
    strict, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    memory: Any = torch.utils.deterministic  # a module whose settings are properties, which its type does not tell
    benchmark, filled = torch.backends.cudnn.benchmark, memory.fill_uninitialized_memory
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    # Filling whatever is about to be written over would only make a read of it repeatable, and costs a twentieth.
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(strict, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        memory.fill_uninitialized_memory = filled
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


_cuda = cache(torch.cuda.is_available)


def seed_all(seed: int) -> None:
    """Start every generator that a model or a library may draw from."""
    if _cuda():
        torch.manual_seed(seed)  # seeds all devices
    else:  # without devices it would note a stack trace for each that might come yet, at every step
        torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def pick_device(wanted: str) -> str:
    """'cpu' or 'cuda' for a recipe's device.

    Raises:
        EarmarkError: CUDA is asked for and there is none.
    """
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise EarmarkError("device: cuda, but there is no CUDA device here — write device: cpu or auto in the recipe")
    return "cuda" if there and wanted in ("cuda", "auto") else "cpu"


def check_precision(precision: str, device: str) -> None:
    """Whether this machine computes in that precision.

    Raises:
        EarmarkError: bf16 is asked for and the device does not have it.
    """
    if precision != "bf16":
        return
    if device == "cpu":
        raise EarmarkError("precision: bf16, but there is no GPU here — write precision: fp32 in the recipe")
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        raise EarmarkError(
            f"precision: bf16, but {torch.cuda.get_device_name()} does not have it — write precision: fp32 in the recipe"
        )


def depends(device: str) -> dict[str, Any]:
    """What the last bit of a result depends on besides recipe, data, seed, threads and code, as JSON."""
    out: dict[str, Any] = {
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "packages": package_versions(*PACKAGES),
    }
    if device == "cuda":
        out |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return out
