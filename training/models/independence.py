"""Whether a model treats the utterances of a batch each by itself, so that one can be left out without the others noticing.

It does not where a layer draws at random while training (dropout, LayerDrop, a model's own SpecAugment: one stream of numbers
for the whole batch) or takes statistics over the batch (batch normalisation).
"""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def rows_are_independent(model: nn.Module) -> bool:
    """Whether, in training mode, what an utterance's loss is hangs on no other utterance of its batch."""
    return not any(isinstance(m, _BatchNorm) or _draws(m) for m in model.modules())


def _draws(module: nn.Module) -> bool:
    """`transformers` keeps rates on its modules as numbers: `dropout`, `attention_dropout`, `layerdrop`, …"""
    rates = [value for name, value in vars(module).items() if "drop" in name and isinstance(value, (int, float))]
    if isinstance(module, nn.modules.dropout._DropoutNd):
        rates.append(module.p)
    return any(rate > 0 for rate in rates) or getattr(getattr(module, "config", None), "apply_spec_augment", False)
