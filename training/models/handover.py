"""The model that this process trained last, for whoever opens it first: it need not be read from the files just written.

Training and evaluating one model after the other is what audits do all day, and building a model anew takes longer than
filling it. A small model is therefore left here when its training ends; large ones are not kept in memory for somebody who
may never come. Laws: what is taken is what the files would give, in evaluation mode on the CPU; it is taken once, so that two
owners never share a model.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from lineage.store import Store
from training.models.pristine import MOST_BYTES

_left: dict[tuple[Any, ...], nn.Module] = {}  # one at most


def leave(store: Store, model_id: str, attention: str, model: nn.Module) -> None:
    """Leave a model whose weights are those of `model_id`, with its implementation of attention."""
    _left.clear()
    if sum(p.numel() * p.element_size() for p in model.parameters()) <= MOST_BYTES:
        _left[store.root.resolve(), model_id, attention] = model


def take(store: Store, model_id: str, attention: str) -> nn.Module | None:
    """The model that was left, which is the caller's then; None if another was, or none."""
    return _left.pop((store.root.resolve(), model_id, attention), None)
