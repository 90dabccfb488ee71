"""The identity of weights: a digest over tensors, so that it does not depend on the file that they happen to lie in.

`model_id` is SHA-256 over the tensors in the order of their names, each as one line of JSON (name, dtype, shape) followed by
its bytes, little-endian and row-major, as `safetensors` holds them. Tied tensors are saved once and count once. Adapters mean
nothing without the weights they stand beside, so the id of a LoRA model begins with the digest of its base.

Law: the id of a model can be recomputed from its saved files alone, with nothing but this page.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lineage.errors import EarmarkError


def weights_digest(path: Path, base: str | None = None) -> str:
    """Digest (hex) of the tensors in a `.safetensors` file, or in all of a folder's.

    `base` is the digest of the base that adapters belong to.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    if not files:
        raise EarmarkError(f"{path} holds no weights (*.safetensors) — give a folder that a training run kept")
    tensors = {name: (file, entry, start) for file in files for name, entry, start in _entries(file)}
    digest = hashlib.sha256()
    if base is not None:
        digest.update(_line({"base": base}))
    for name in sorted(tensors):
        file, entry, start = tensors[name]
        digest.update(_line({"name": name, "dtype": entry["dtype"], "shape": entry["shape"]}))
        begin, end = entry["data_offsets"]
        with file.open("rb") as stream:
            stream.seek(start + begin)
            left = end - begin
            while left:
                block = stream.read(min(left, 1 << 20))
                if not block:
                    raise EarmarkError(f"{file} is cut short — restore it from a copy")
                digest.update(block)
                left -= len(block)
    return digest.hexdigest()


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _entries(file: Path) -> Iterator[tuple[str, dict[str, Any], int]]:
    """(name, header entry, where the data begin) of each tensor of a safetensors file."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        try:
            header = json.loads(stream.read(length))
        except ValueError as error:
            raise EarmarkError(f"{file} is not a safetensors file — restore it from a copy") from error
    for name, entry in header.items():
        if name != "__metadata__":
            yield name, entry, 8 + length
