"""Connectionist temporal classification (Graves et al., ICML 2006), differentiable as often as one likes.

The loss of an utterance is −log of the summed probability of all alignments of its labels with its frames, in nats. PyTorch's
own is fast and can be differentiated once; Hessians and metagradients differentiate it twice. So there are two here:

- `differentiable_ctc` is the forward recursion in the log semiring, in plain tensor operations: one step a frame, all
  utterances and alignment states of the batch at once. It has derivatives of every order and works under `torch.func`;
- `ctc` is what families use. On the CPU its value and first derivative are PyTorch's, and where the derivative is itself to be
  differentiated (`create_graph=True`) that one is taken from the twin. Nobody has to say which one they need, and a run that
  was recorded with the fast one can be differentiated through later. On other devices PyTorch's has no deterministic kernel,
  and under `torch.func` it has no rule, so there the twin does all of it.

Laws: both agree with `torch.nn.functional.ctc_loss` in value and gradient to rounding; an utterance's loss does not depend
on its neighbours or on padding; labels that cannot be aligned, or only through labels of probability zero, cost infinity and
have no gradient, never NaN.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# Stands for log 0. Finite, so that differences of two of them have a derivative; alignments through it weigh exactly nothing.
NEVER = -1e30


def frames_needed(labels: list[int]) -> int:
    """The fewest frames in which labels can be aligned: one each, and a blank between equal neighbours."""
    return len(labels) + sum(a == b for a, b in pairwise(labels))


def ctc(logits: Tensor, frames: Tensor, labels: Tensor, counts: Tensor, blank: int) -> Tensor:
    """Negative log-likelihood of each utterance's labels in nats, [B].

    Args:
        logits: of V labels at T frames, [B, T, V]; probabilities are their softmax.
        frames: how many frames each utterance has, [B]; those behind are padding.
        labels: target labels, [B, L]; those behind `counts` are padding.
        counts: how many labels each utterance has, [B].
        blank: the label that says nothing.
    """
    if logits.device.type != "cpu" or torch._C._are_functorch_transforms_active():
        return differentiable_ctc(logits, frames, labels, counts, blank)
    nll: Tensor = _Ctc.apply(logits, frames, labels, counts, blank)  # type: ignore[no-untyped-call]
    return nll


def differentiable_ctc(logits: Tensor, frames: Tensor, labels: Tensor, counts: Tensor, blank: int) -> Tensor:
    """As `ctc`, in plain operations."""
    log_probs = logits.log_softmax(dim=-1)
    (b, t, _), size = log_probs.shape, 2 * labels.shape[1] + 1
    # A blank before, between and after the labels: state 2k + 1 is label k.
    states = labels.new_full((b, size), blank)
    states[:, 1::2] = labels
    # From label to label without the blank between, where they differ.
    leaps = functional.pad((states[:, 2:] != states[:, :-2]) & (states[:, 2:] != blank), (2, 0))[:, :size]
    emitted = log_probs.gather(2, states.unsqueeze(1).expand(-1, t, -1)).clamp_min(NEVER)
    first = torch.arange(size, device=states.device) < 2
    reached = torch.where(first, emitted[:, 0], NEVER)
    history = [reached]
    for frame in range(1, t):
        stepped = functional.pad(reached, (1, 0), value=NEVER)[:, :size]
        leapt = torch.where(leaps, functional.pad(reached, (2, 0), value=NEVER)[:, :size], NEVER)
        reached = torch.stack([reached, stepped, leapt]).logsumexp(dim=0) + emitted[:, frame]
        history.append(reached)
    last = (frames - 1).view(1, b, 1).expand(1, b, size)
    final = torch.stack(history).gather(0, last)[0]
    ends = torch.stack([2 * counts, (2 * counts - 1).clamp_min(0)], dim=1)
    # Without labels there is one end, not two.
    nothing = torch.stack([torch.zeros_like(counts), counts == 0], dim=1).bool()
    nll = -torch.where(nothing, NEVER, final.gather(1, ends)).logsumexp(dim=1)
    return torch.where(nll < -NEVER / 2, nll, torch.inf)


class _Ctc(torch.autograd.Function):
    """PyTorch's loss, with the twin's derivative where that is to be differentiated."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, frames: Tensor, labels: Tensor, counts: Tensor, blank: int) -> Tensor:
        ctx.save_for_backward(logits, frames, labels, counts)
        ctx.blank = blank
        return _pytorch(logits, frames, labels, counts, blank)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        logits, frames, labels, counts = ctx.saved_tensors
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            given = logits if again else logits.detach().requires_grad_()
            loss = differentiable_ctc if again else partial(_pytorch, zero_infinity=True)
            nll = loss(given, frames, labels, counts, ctx.blank)
            (gradient,) = torch.autograd.grad(nll, given, grads[0], create_graph=again)
        return gradient, None, None, None, None


def _pytorch(
    logits: Tensor, frames: Tensor, labels: Tensor, counts: Tensor, blank: int, *, zero_infinity: bool = False
) -> Tensor:
    # Its gradient in the log probabilities is right only after the softmax's own, so the two stay together.
    log_probs = logits.log_softmax(dim=-1).transpose(0, 1)
    return functional.ctc_loss(log_probs, labels, frames, counts, blank, reduction="none", zero_infinity=zero_infinity)
