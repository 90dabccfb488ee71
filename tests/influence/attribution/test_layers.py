from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm as normed

from influence.attribution.layers import (
    Conv1d,
    Embedding,
    Layer,
    LayerNorm,
    Linear,
    NormedConv1d,
    kind_of,
    parameters_of,
)

B, T = 3, 7


def cases() -> list[tuple[str, nn.Module, torch.Tensor, type[Layer]]]:  # type: ignore[type-arg]
    torch.manual_seed(0)
    x = torch.randn(B, T, 6)
    signal = torch.randn(B, 4, 15)
    ids = torch.randint(0, 5, (B, T))
    return [
        ("linear", nn.Linear(6, 5), x, Linear),
        ("linear without time", nn.Linear(6, 5), x[:, 0], Linear),
        ("linear on planes", nn.Linear(6, 5, bias=False), x.reshape(B, T, 1, 6), Linear),
        ("conv", nn.Conv1d(4, 6, 3), signal, Conv1d),
        ("strided, padded", nn.Conv1d(4, 6, 3, stride=2, padding=1), signal, Conv1d),
        ("dilated", nn.Conv1d(4, 6, 3, dilation=2, padding=2), signal, Conv1d),
        ("same", nn.Conv1d(4, 6, 4, padding="same"), signal, Conv1d),
        ("circular", nn.Conv1d(4, 6, 3, padding=1, padding_mode="circular"), signal, Conv1d),
        ("grouped", nn.Conv1d(4, 6, 3, groups=2, padding=1), signal, Conv1d),
        ("normed", normed(nn.Conv1d(4, 6, 3, groups=2, padding=1), dim=2), signal, NormedConv1d),
        ("normed by output", normed(nn.Conv1d(4, 6, 3, bias=False), dim=0), signal, NormedConv1d),
        ("embedding", nn.Embedding(5, 6), ids, Embedding),
        ("embedding with padding", nn.Embedding(5, 6, padding_idx=2), ids, Embedding),
        ("layer norm", nn.LayerNorm(6), x, LayerNorm),
        ("layer norm over planes", nn.LayerNorm((T, 6)), x.reshape(B, 1, T, 6), LayerNorm),
    ]


@pytest.mark.parametrize("case", cases(), ids=lambda c: c[0])
@pytest.mark.parametrize("k", [1, 4])
def test_gradients_are_those_of_a_loop_over_samples(
    case: tuple[str, nn.Module, torch.Tensor, type[Layer]], k: int
) -> None:  # type: ignore[type-arg]
    _, module, given, kind = case
    module = module.double()
    given = given.double() if given.is_floating_point() else given
    assert kind_of(module) is kind
    g = torch.randn_like(module(given))
    layer = kind(module, given, g)
    for name, parameter in parameters_of(module):
        targets = torch.randn(k, *parameter.shape, dtype=torch.float64)
        formed, dots = layer.gradient(name), layer.dot(name, targets)
        assert formed.shape == (B, *parameter.shape)
        for b in range(B):
            loss = (module(given[b : b + 1]) * g[b : b + 1]).sum()
            (expected,) = torch.autograd.grad(loss, parameter)
            assert torch.allclose(formed[b], expected, atol=1e-10)
            assert torch.allclose(dots[b], targets.flatten(1) @ expected.flatten(), atol=1e-10)


def test_descendants_that_compute_something_else_are_not_known() -> None:
    class Odd(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input) ** 2

    assert kind_of(Odd(2, 2)) is None
    assert kind_of(nn.BatchNorm1d(3)) is None
    assert kind_of(normed(nn.Linear(2, 2))) is None
