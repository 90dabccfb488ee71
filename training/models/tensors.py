"""The tensors of a model that training moves: taken out, written to disk, read and put back."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lineage.errors import EarmarkError

Tensors = dict[str, torch.Tensor]
FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


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
    """Write tensors as safetensors, on the disk once this returns."""
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path, metadata)
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def read(path: Path) -> Tensors:
    """The tensors of a file that `write` wrote."""
    found: Tensors = load_file(path)
    return found


@contextmanager
def disk_watched(root: Path) -> Iterator[None]:
    """Within, a disk that is full is said so in one line, whichever library was writing; `root` is that of the store.

    Raises:
        EarmarkError: the disk of the store, or that of temporary files, is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise _full(root, os.strerror(error.errno)) from error
    except SafetensorError as error:  # its writer wraps what the system said
        code = re.search(r"os error (\d+)", str(error))
        if code is None or int(code[1]) not in FULL:
            raise
        raise _full(root, os.strerror(int(code[1]))) from error


def _full(root: Path, reason: str) -> EarmarkError:
    return EarmarkError(
        f"cannot write in {root} or {tempfile.gettempdir()}: {reason} — free some space; the same command goes on from there"
    )
