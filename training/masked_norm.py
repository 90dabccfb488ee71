"""Group normalisation over an utterance's own frames.

The first convolution of many wav2vec 2.0 and HuBERT bases is followed by `nn.GroupNorm`, whose mean and variance are taken
over time, padding and all: what such a model hears in an utterance hangs on the longest one in its batch. Passing no mask, as
these bases are commonly used, does not mend that. Here the statistics stop where the utterance does, so that a padded
utterance is normalised as it would be by itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaskedGroupNorm(nn.GroupNorm):
    """An `nn.GroupNorm` of one group a channel, on [B, channels, T]; `frames` [B] says how many of T each utterance has.

    Set `frames` before each forward pass; None means all. What comes out behind an utterance's end is finite and of no use.
    """

    frames: Tensor | None = None

    @classmethod
    def like(cls, norm: nn.GroupNorm) -> MaskedGroupNorm:
        """The same norm with the same parameters (shared, not copied)."""
        if norm.num_groups != norm.num_channels:
            raise ValueError("statistics over several channels are not known here")
        made = cls(norm.num_groups, norm.num_channels, norm.eps)
        made.weight, made.bias = norm.weight, norm.bias
        return made

    def forward(self, input: Tensor) -> Tensor:
        """See the head of this file."""
        if self.frames is None:
            return super().forward(input)
        frames = self.frames.to(input.device).view(-1, 1, 1)
        inside = torch.arange(input.shape[2], device=input.device) < frames
        centred = input - torch.where(inside, input, 0).sum(dim=2, keepdim=True) / frames
        variance = torch.where(inside, centred, 0).square().sum(dim=2, keepdim=True) / frames
        scale = self.weight.view(1, -1, 1) * (variance + self.eps).rsqrt()
        return centred * scale + self.bias.view(1, -1, 1)
