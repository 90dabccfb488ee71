"""The tensors of a model that training moves: taken out, written to disk, read and put back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lineage.errors import EarmarkError
from lineage.segments import disk_error

Tensors = dict[str, torch.Tensor]


def moving(model: torch.nn.Module) -> Tensors:
    """Trained parameters, and the buffers that are part of a model's state, as they are: not copied."""
    kept = model.state_dict().keys()
    parameters = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    return parameters | {n: b for n, b in model.named_buffers() if n in kept}


def restore(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put back what `moving` gave.

    Raises:
        EarmarkError: the tensors are another model's.
    """
    own = moving(model)
    if own.keys() != tensors.keys():
        odd = sorted(own.keys() ^ tensors.keys())[0]
        raise EarmarkError(f"the saved tensors and the model differ in {odd} — they are of another model; train anew")
    with torch.no_grad():
        for name, value in tensors.items():
            own[name].copy_(value)


def write(path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors, on the disk once this returns.

    Raises:
        EarmarkError: the disk is full or may not be written.
    """
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    try:
        save_file(plain, path, metadata)
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    except OSError as error:
        raise disk_error(path, error) from error
    except SafetensorError as error:  # its writer wraps what the system said
        raise EarmarkError(f"cannot write {path}: {error} — free some space or check the permissions") from error


def read(path: Path) -> Tensors:
    """The tensors of a file that `write` wrote."""
    found: Tensors = load_file(path)
    return found
