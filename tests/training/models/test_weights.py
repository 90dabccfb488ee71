from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lineage.errors import EarmarkError
from training.models.weights import weights_digest


def by_hand(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        head = {
            "dtype": {torch.float32: "F32", torch.bfloat16: "BF16"}[tensor.dtype],
            "name": name,
            "shape": list(tensor.shape),
        }
        digest.update(json.dumps(head, sort_keys=True, separators=(",", ":")).encode() + b"\n")
        digest.update(tensor.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def test_the_digest_is_what_the_page_says(base: Path) -> None:
    assert weights_digest(base) == by_hand(load_file(base / "model.safetensors"))


def test_it_is_of_the_tensors_not_of_the_file(tmp_path: Path) -> None:
    a, b = torch.randn(3, 4), torch.randn(5).bfloat16()
    save_file({"a": a, "b": b}, tmp_path / "one.safetensors")
    (tmp_path / "two").mkdir()
    save_file({"b": b}, tmp_path / "two" / "x.safetensors", {"note": "cut into shards"})
    save_file({"a": a}, tmp_path / "two" / "y.safetensors")
    whole = weights_digest(tmp_path / "one.safetensors")
    assert whole == weights_digest(tmp_path / "two") == by_hand({"a": a, "b": b})


@pytest.mark.parametrize("change", ["value", "name", "shape", "dtype", "base"])
def test_any_change_shows(tmp_path: Path, change: str) -> None:
    a = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    save_file({"a": a}, tmp_path / "1.safetensors")
    before = weights_digest(tmp_path / "1.safetensors", "b" * 64)
    changed = {"value": a + 1e-7, "shape": a.reshape(3, 2), "dtype": a.view(torch.int32)}.get(change, a)
    save_file({"b" if change == "name" else "a": changed}, tmp_path / "2.safetensors")
    assert weights_digest(tmp_path / "2.safetensors", ("c" if change == "base" else "b") * 64) != before


def test_files_that_are_no_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match="holds no weights"):
        weights_digest(tmp_path)
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"\x08\0\0\0\0\0\0\0not json")
    with pytest.raises(EarmarkError, match="not a safetensors file"):
        weights_digest(path)
    save_file({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(EarmarkError, match="cut short"):
        weights_digest(path)
