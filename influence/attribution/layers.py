"""What one layer's input and output gradient say about each sample's gradient of its parameters.

For every kind of layer the gradient of sample b's loss in the layer's weights is a contraction of the layer's input on b and
the gradient at its output on b, over positions t (frames or tokens):

| layer | weight gradient of sample b | bias |
| --- | --- | --- |
| linear | Σ_t g[b,t] ⊗ a[b,t] | Σ_t g[b,t] |
| 1-d convolution | the same, a[b,t] being the patch that t sees; through a weight norm, where it has one | Σ_t g[b,t] |
| embedding | g[b,t] added to row ids[b,t] | |
| layer norm | Σ_t g[b,t] · normalised a[b,t] | Σ_t g[b,t] |

So one batched backward pass holds all of them (Goodfellow, arXiv 1510.01799; Rochette et al., arXiv 1912.06015). Against K
target gradients each sample is worth K numbers, and what is cheapest to get them depends on the layer: `dot` contracts
without ever forming a sample's gradient where that is no dearer (one target, one position, embeddings), and otherwise forms
them for one layer and a few samples at a time.

Adding a kind of layer means adding a class and a line in `KINDS`. Law: `dot` is `gradient` contracted with the targets.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import is_parametrized

LENGTH, DIRECTION = "parametrizations.weight.original0", "parametrizations.weight.original1"  # of a weight norm
FORMED_AT_ONCE = 1 << 25  # numbers of sample gradients formed at a time (128 MiB of float32)

M = TypeVar("M", bound=nn.Module)


class Layer(ABC, Generic[M]):
    """One call of a module: `gradient` and `dot` of one of its parameters for each of B samples.

    `a` and `g` are what the module was given and the gradient of the summed loss at what it returned, batch first.
    """

    def __init__(self, module: M, a: Tensor, g: Tensor) -> None:
        self.module = module
        self.a = a
        self.g = g

    @abstractmethod
    def gradient(self, name: str) -> Tensor:
        """Gradients in parameter `name`, [B, *shape of the parameter]."""

    def dot(self, name: str, targets: Tensor) -> Tensor:
        """Inner products with `targets` [K, *shape], [B, K]."""
        return self.gradient(name).flatten(1) @ targets.flatten(1).T


def _outer(g: Tensor, a: Tensor, shape: torch.Size) -> Tensor:
    """Σ_t g[b,t] ⊗ a[b,t]: [B,T,o], [B,T,i] → [B, *shape]."""
    return torch.bmm(g.transpose(1, 2), a).reshape(len(g), *shape)


def _outer_dot(g: Tensor, a: Tensor, targets: Tensor) -> Tensor:
    """The same against targets [K, …], [B, K]."""
    b, t, i = a.shape
    v = targets.reshape(len(targets), g.shape[2], i)
    if len(v) == 1 or t == 1:  # as cheap without forming any gradient
        return torch.stack([((a @ row.T) * g).sum(dim=(1, 2)) for row in v], dim=1)
    flat = v.flatten(1).T
    rows = max(1, FORMED_AT_ONCE // flat.shape[0])
    parts = [torch.bmm(g[s : s + rows].transpose(1, 2), a[s : s + rows]).flatten(1) @ flat for s in range(0, b, rows)]
    return torch.cat(parts)


class Linear(Layer[nn.Linear]):
    """`nn.Linear`, LoRA's included."""

    def __init__(self, module: nn.Linear, a: Tensor, g: Tensor) -> None:
        super().__init__(module, a.reshape(len(a), -1, a.shape[-1]), g.reshape(len(g), -1, g.shape[-1]))

    def gradient(self, name: str) -> Tensor:
        """See `Layer`."""
        return self.g.sum(dim=1) if name == "bias" else _outer(self.g, self.a, self.module.weight.shape)

    def dot(self, name: str, targets: Tensor) -> Tensor:
        """See `Layer`."""
        return super().dot(name, targets) if name == "bias" else _outer_dot(self.g, self.a, targets)


class Conv1d(Layer[nn.Conv1d]):
    """`nn.Conv1d` with any stride, dilation, groups and padding."""

    def __init__(self, module: nn.Conv1d, a: Tensor, g: Tensor) -> None:
        super().__init__(module, a, g.transpose(1, 2))

    def _patches(self) -> Tensor:
        """What each output position sees, [B, T, groups, inputs of a group × kernel]."""
        m = self.module
        a = self.a
        if m.padding_mode != "zeros":
            a = functional.pad(a, m._reversed_padding_repeated_twice, mode=m.padding_mode)
        elif m.padding == "same":
            total = m.dilation[0] * (m.kernel_size[0] - 1)
            a = functional.pad(a, (total // 2, total - total // 2))
        elif m.padding != "valid":
            a = functional.pad(a, (int(m.padding[0]),) * 2)
        reach = m.dilation[0] * (m.kernel_size[0] - 1) + 1
        seen = a.unfold(2, reach, m.stride[0])[..., :: m.dilation[0]]  # [B, in, T, kernel]
        b, _, t, k = seen.shape
        return seen.reshape(b, m.groups, -1, t, k).permute(0, 3, 1, 2, 4).reshape(b, t, m.groups, -1)

    def gradient(self, name: str) -> Tensor:
        """See `Layer`."""
        if name == "bias":
            return self.g.sum(dim=1)
        grouped = self.g.reshape(*self.g.shape[:2], self.module.groups, -1)
        formed = torch.einsum("btgo,btgi->bgoi", grouped, self._patches())
        return formed.reshape(len(formed), *self.module.weight.shape)

    def dot(self, name: str, targets: Tensor) -> Tensor:
        """See `Layer`."""
        if name == "bias" or self.module.groups > 1:
            return super().dot(name, targets)
        return _outer_dot(self.g, self._patches()[:, :, 0], targets)


class NormedConv1d(Conv1d):
    """`nn.Conv1d` whose weight is length · direction / ‖direction‖ (Salimans & Kingma, arXiv 1602.07868)."""

    def __init__(self, module: nn.Conv1d, a: Tensor, g: Tensor) -> None:
        super().__init__(module, a, g)
        (norm,) = module.parametrizations.weight  # type: ignore[union-attr, misc]
        length, direction = (p.detach() for p in module.parametrizations.weight.parameters())  # type: ignore[union-attr]
        self._others = [i + 1 for i in range(direction.ndim) if i != norm.dim]
        size = torch.norm_except_dim(direction, 2, norm.dim)
        self._unit, self._scale = direction / size, length / size

    def _along(self, weights: Tensor) -> Tensor:
        """How much of gradients [B, *shape of the weight] lies along the direction."""
        return (weights * self._unit).sum(dim=self._others, keepdim=True)

    def _across(self, weights: Tensor) -> Tensor:
        """What of them turns the direction; a map that is its own transpose."""
        return self._scale * (weights - self._along(weights) * self._unit)

    def gradient(self, name: str) -> Tensor:
        """See `Layer`."""
        if name not in (LENGTH, DIRECTION):
            return super().gradient(name)
        return (self._along if name == LENGTH else self._across)(super().gradient("weight"))

    def dot(self, name: str, targets: Tensor) -> Tensor:
        """See `Layer`."""
        if name not in (LENGTH, DIRECTION):
            return super().dot(name, targets)
        return super().dot("weight", targets * self._unit if name == LENGTH else self._across(targets))


class Embedding(Layer[nn.Embedding]):
    """`nn.Embedding` and its descendants that look rows up in their own way; `a` holds the row numbers, [B, …]."""

    def __init__(self, module: nn.Embedding, a: Tensor, g: Tensor) -> None:
        rows, g = a.reshape(len(a), -1), g.reshape(len(g), -1, g.shape[-1])
        if module.padding_idx is not None:  # PyTorch gives the padding row no gradient
            g = g * (rows != module.padding_idx).unsqueeze(-1).to(g.dtype)
        super().__init__(module, rows, g)

    def gradient(self, name: str) -> Tensor:
        """See `Layer`."""
        formed = self.g.new_zeros(len(self.g), *self.module.weight.shape)
        index = self.a.unsqueeze(-1).expand_as(self.g)
        return formed.scatter_add_(1, index, self.g)

    def dot(self, name: str, targets: Tensor) -> Tensor:
        """See `Layer`."""
        return torch.stack([(functional.embedding(self.a, row) * self.g).sum(dim=(1, 2)) for row in targets], dim=1)


class LayerNorm(Layer[nn.LayerNorm]):
    """`nn.LayerNorm` over any trailing dimensions."""

    def gradient(self, name: str) -> Tensor:
        """See `Layer`."""
        shape = self.module.normalized_shape
        product = self.g
        if name == "weight":
            product = self.g * functional.layer_norm(self.a, shape, eps=self.module.eps)
        middle = math.prod(product.shape[1 : product.ndim - len(shape)])
        return product.reshape(len(product), middle, *shape).sum(dim=1)


KINDS: dict[type[nn.Module], type[Layer]] = {  # type: ignore[type-arg]  # each of its own module
    nn.Linear: Linear,
    nn.Conv1d: Conv1d,
    nn.Embedding: Embedding,
    nn.LayerNorm: LayerNorm,
}


def parameters_of(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """A module's own parameters by name, those behind a parametrisation included."""
    return module.named_parameters(recurse=is_parametrized(module))


def kind_of(module: nn.Module) -> type[Layer] | None:  # type: ignore[type-arg]
    """The class that knows this module's gradients; None if there is none.

    Descendants that compute something else are not taken for their ancestor, except embeddings, whose look-up is observed.
    """
    if is_parametrized(module):
        normed = [name for name, _ in parameters_of(module)] in ([LENGTH, DIRECTION], ["bias", LENGTH, DIRECTION])
        weight = type(module.parametrizations.weight[0]).__name__ if normed else ""  # type: ignore[union-attr, index]
        return NormedConv1d if isinstance(module, nn.Conv1d) and weight == "_WeightNorm" else None
    for parent, kind in KINDS.items():
        if isinstance(module, parent) and (parent is nn.Embedding or type(module).forward is parent.forward):
            return kind
    return None
