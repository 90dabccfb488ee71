"""How far two sets of weights lie from each other: what a replay that is not identical has moved."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open


@dataclass(frozen=True)
class Distance:
    """From one model's weights to another's, over all tensors together.

    `relative` is ‖b − a‖ / ‖a‖ (L2), `largest` the largest |b − a| of a single weight, `tensor` where that is; `moved` of
    `tensors` differ at all. Weights that are not numbers are infinitely far.
    """

    relative: float
    largest: float
    tensor: str
    moved: int
    tensors: int


def distance(a: Path, b: Path) -> Distance | None:
    """The distance from the weights in folder `a` to those in folder `b` (`*.safetensors`), one tensor in memory at a time.

    None if they are not of one kind: other tensors, or of other shapes.
    """
    with ExitStack() as stack:
        left, right = _tensors(stack, a), _tensors(stack, b)
        if left.keys() != right.keys() or not left:
            return None
        moved, norm, largest, tensor, count = 0.0, 0.0, 0.0, "", 0
        for name in sorted(left):
            before, after = (side[name].get_tensor(name).to(torch.float64) for side in (left, right))
            if before.shape != after.shape:
                return None
            gap = torch.nan_to_num((after - before).abs(), nan=math.inf)
            norm += float(before.square().sum())
            moved += float(gap.square().sum())
            far = float(gap.max()) if gap.numel() else 0.0
            count += far > 0
            if far > largest:
                largest, tensor = far, name
    relative = 0.0 if moved == 0 else math.sqrt(moved / norm) if norm else math.inf
    return Distance(relative, largest, tensor, count, len(left))


def _tensors(stack: ExitStack, folder: Path) -> dict[str, Any]:
    """The open file of each tensor of a folder, by the tensor's name."""
    return {name: file for file in _files(stack, folder) for name in file.keys()}  # noqa: SIM118


def _files(stack: ExitStack, folder: Path) -> Iterator[Any]:
    for path in sorted(folder.glob("*.safetensors")):
        yield stack.enter_context(safe_open(path, framework="pt"))
