"""The base in memory: many trainings of one base in one process read its files once.

A small base is kept as it was read, and every training gets a copy. Large ones are read anew, for keeping one would take as
much memory as training needs, and their trainings are long enough. Law: a copy is what the files would give, also when they
have changed meanwhile.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from training.families import Family

MOST_BYTES = 256 << 20

_kept: dict[tuple[Any, ...], nn.Module] = {}  # one at most


def fresh(family: Family, *, dropout: float | None, attention: str) -> nn.Module:
    """A model of the family's base that nobody else has, as `Family.model` makes it.

    Raises:
        EarmarkError: the weights are damaged or incomplete.
    """
    files = tuple((path, (status := path.stat()).st_size, status.st_mtime_ns) for path in family.base.files)
    key = (family, dropout, attention, files)
    if key not in _kept:
        model = family.model(dropout=dropout, attention=attention)
        if sum(p.numel() * p.element_size() for p in model.parameters()) > MOST_BYTES:
            return model
        _kept.clear()
        _kept[key] = model
    return copy.deepcopy(_kept[key])
