from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from training.models.distance import distance


def saved(folder: Path, **tensors: torch.Tensor) -> Path:
    """Weights in a folder, each tensor in a file of its own."""
    folder.mkdir()
    for name, tensor in tensors.items():
        save_file({name: tensor}, folder / f"{name}.safetensors")
    return folder


def test_it_is_that_of_all_weights_as_one_vector(tmp_path: Path) -> None:
    a, b = torch.randn(3, 4), torch.randn(5)
    moved = b + torch.tensor([0.0, 0.0, -0.5, 0.0, 0.25])
    found = distance(saved(tmp_path / "x", a=a, b=b), saved(tmp_path / "y", a=a, b=moved))
    assert found is not None
    whole = torch.cat([a.flatten(), b]).double()
    assert found.relative == pytest.approx(float((moved - b).double().norm() / whole.norm()))
    assert found.largest == pytest.approx(0.5, rel=1e-5)
    assert (found.tensor, found.moved, found.tensors) == ("b", 1, 2)


def test_from_itself_it_is_nothing_whatever_the_files(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(2), "b": torch.randn(2, 2).bfloat16()}
    x = saved(tmp_path / "x", **tensors)
    (tmp_path / "y").mkdir()
    save_file(tensors, tmp_path / "y" / "model.safetensors")
    found = distance(x, tmp_path / "y")
    assert found is not None
    assert (found.relative, found.largest, found.tensor, found.moved) == (0.0, 0.0, "", 0)


def test_what_is_no_number_is_infinitely_far(tmp_path: Path) -> None:
    found = distance(saved(tmp_path / "x", a=torch.ones(2)), saved(tmp_path / "y", a=torch.tensor([1.0, math.nan])))
    assert found is not None
    assert found.relative == found.largest == math.inf


def test_other_tensors_or_shapes_have_no_distance(tmp_path: Path) -> None:
    x = saved(tmp_path / "x", a=torch.ones(2))
    assert distance(x, saved(tmp_path / "y", b=torch.ones(2))) is None
    assert distance(x, saved(tmp_path / "z", a=torch.ones(3))) is None
    assert distance(saved(tmp_path / "p"), saved(tmp_path / "q")) is None
