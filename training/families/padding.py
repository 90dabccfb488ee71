"""Layers that look across the end of an utterance, made to stop there.

A batch is padded to its longest utterance, and a layer that averages or convolves over time takes the padding for sound, so
that what is heard in an utterance hangs on its neighbours. `transformers` masks attention, but not these:

- the first convolution of many wav2vec 2.0 and HuBERT bases is followed by `nn.GroupNorm`, whose mean and variance are taken
  over all frames. Passing no mask, as these bases are commonly used, does not mend that;
- the adapters that shorten the output of some bases convolve over a few frames at once.

Each layer is told how many `frames` [B] of its input each utterance has, before each forward pass; None means all of them.
Then a padded utterance is treated as it would be by itself. What comes out behind its end is finite and of no use.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaskedGroupNorm(nn.GroupNorm):
    """An `nn.GroupNorm` of one group a channel, on [B, channels, T], over each utterance's own frames."""

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
        inside, frames = _inside(input, self.frames), self.frames.view(-1, 1, 1)
        centred = input - torch.where(inside, input, 0).sum(dim=2, keepdim=True) / frames
        variance = torch.where(inside, centred, 0).square().sum(dim=2, keepdim=True) / frames
        scale = self.weight.view(1, -1, 1) * (variance + self.eps).rsqrt()
        return centred * scale + self.bias.view(1, -1, 1)


def silence_padding(layer: nn.Conv1d) -> None:
    """Let a convolution on [B, channels, T] find zeros behind each utterance's end, as if nothing were there."""
    layer.frames = None  # type: ignore[assignment]
    layer.register_forward_pre_hook(_silence)


def _silence(layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    (input,) = given
    return given if layer.frames is None else (torch.where(_inside(input, layer.frames), input, 0),)  # type: ignore[arg-type]


def _inside(input: Tensor, frames: Tensor) -> Tensor:
    return torch.arange(input.shape[2], device=input.device) < frames.view(-1, 1, 1)
