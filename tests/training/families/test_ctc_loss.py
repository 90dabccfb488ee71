from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from training.families.ctc_loss import ctc, differentiable_ctc, frames_needed

BLANK = 2


def case(seed: int = 0, b: int = 5, t: int = 12, v: int = 6) -> tuple[torch.Tensor, ...]:
    """Logits, frames, labels, counts: repeated labels, no label, all frames needed, padding on both axes."""
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(b, t, v, generator=draw, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[0, 1, 3, 4], [3, 3, 3, 0], [5, 0, 0, 0], [0, 0, 0, 0], [4, 4, 1, 1]])
    counts = torch.tensor([4, 3, 1, 0, 4])
    frames = torch.tensor([12, 9, 3, 4, 6])
    return logits, frames, labels, counts


def pytorch(logits: torch.Tensor, frames: torch.Tensor, labels: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    log_probs = logits.log_softmax(-1).transpose(0, 1)
    return functional.ctc_loss(log_probs, labels, frames, counts, BLANK, reduction="none")


@pytest.mark.parametrize("loss", [ctc, differentiable_ctc])
@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_are_pytorchs(loss: type[ctc], seed: int) -> None:
    logits, *others = case(seed)
    weights = torch.rand(5, dtype=torch.float64)
    expected = pytorch(logits, *others)
    (slope,) = torch.autograd.grad(expected @ weights, logits)
    found = loss(logits, *others, BLANK)
    assert torch.allclose(found, expected, rtol=0, atol=1e-10)
    (own,) = torch.autograd.grad(found @ weights, logits)
    assert torch.allclose(own, slope, rtol=0, atol=1e-10)


def test_probabilities_of_all_transcripts_add_up_to_one() -> None:
    logits = torch.randn(1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    texts = [[], *([a] for a in (0, 1)), *([a, b] for a in (0, 1) for b in (0, 1))]
    texts += [[a, b, a] for a, b in ((0, 1), (1, 0))]  # the others with three labels need more frames
    total = 0.0
    for text in texts:
        labels = torch.tensor([text or [0]])
        total += float(torch.exp(-differentiable_ctc(logits, torch.tensor([3]), labels, torch.tensor([len(text)]), 2)))
    assert total == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("loss", [ctc, differentiable_ctc])
def test_derivatives_of_both_orders(loss: type[ctc]) -> None:
    logits, *others = case(b=5, t=12, v=6)
    small = [part[:, :3] if part.ndim == 2 else part for part in others]
    frames, labels, counts = small[0].clamp_max(7), small[1], small[2].clamp_max(3)
    given = logits[:, :7].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, frames, labels, counts, BLANK), given)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, frames, labels, counts, BLANK), given)


def test_derivatives_by_functional_transforms() -> None:
    logits, *others = case()
    given = logits.detach()

    def total(x: torch.Tensor) -> torch.Tensor:
        return ctc(x, *others, BLANK).sum()

    slope = torch.func.grad(total)(given)
    assert torch.allclose(slope, torch.autograd.grad(total(logits), logits)[0], atol=1e-10)
    direction = torch.randn_like(given)
    _, forward = torch.func.jvp(torch.func.grad(total), (given,), (direction,))
    (first,) = torch.autograd.grad(total(logits), logits, create_graph=True)
    (backward,) = torch.autograd.grad((first * direction).sum(), logits)
    assert torch.allclose(forward, backward, atol=1e-10)
    each = torch.func.vmap(torch.func.grad(lambda x, *row: ctc(x[None], *(r[None] for r in row), BLANK)[0]))
    assert torch.allclose(each(given, *others), slope, atol=1e-10)


@pytest.mark.parametrize("loss", [ctc, differentiable_ctc])
def test_neither_neighbours_nor_padding_matter(loss: type[ctc]) -> None:
    logits, frames, labels, counts = case()
    together = loss(logits, frames, labels, counts, BLANK)
    spoilt = logits.detach().clone()
    for i in range(5):
        t, n = int(frames[i]), int(counts[i])
        alone = loss(logits[i : i + 1, :t], frames[i : i + 1], labels[i : i + 1, :n], counts[i : i + 1], BLANK)
        assert torch.allclose(alone, together[i : i + 1], rtol=1e-12)
        spoilt[i, t:] = torch.nan
    assert torch.equal(loss(spoilt, frames, labels, counts, BLANK), together)


@pytest.mark.parametrize("loss", [ctc, differentiable_ctc])
@pytest.mark.parametrize("why", ["too few frames", "probability zero"])
def test_what_cannot_be_aligned_costs_infinity_and_has_no_gradient(loss: type[ctc], why: str) -> None:
    logits, frames, labels, counts = case()
    if why == "too few frames":
        assert [frames_needed(row[:n].tolist()) for row, n in zip(labels, counts, strict=True)] == [4, 5, 1, 0, 6]
        frames = torch.tensor([12, 4, 3, 4, 6])
        given = logits
    else:
        closed = torch.zeros_like(logits)
        closed[1, :, 3] = -torch.inf
        given = logits + closed
    found = loss(given, frames, labels, counts, BLANK)
    assert torch.isinf(found).tolist() == [False, True, False, False, False]
    (once,) = torch.autograd.grad(found.sum(), logits, retain_graph=True)
    (slope,) = torch.autograd.grad(found.sum(), logits, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), logits)
    assert torch.allclose(once, slope, atol=1e-10)
    assert torch.isfinite(second).all()
    assert (slope[1] == 0).all()
