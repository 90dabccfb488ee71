"""Per-sample gradients out of one batched forward and backward pass.

`Tap` listens to a model's layers while the loss of a batch is computed, keeps what goes into each layer, then asks for the
gradient of Σ_i nll_i at what came out. Samples do not mix inside the model, so row i of that gradient belongs to sample i
alone, and `layers` turns both into each sample's gradient, or directly into its inner products with given targets.

    with Tap(model) as tap:
        nll, tokens = family.losses(model, batch)
        scores = tap.dot(nll, targets)          # [B, K]; or tap.gradients(nll) → {parameter: [B, *shape]}

What has to be right for that, and is checked:

* the loss is a sum per sample (`nll[i]` depends on sample i only): a mean over the batch's tokens would make a sample's
  gradient depend on its neighbours. Padding then costs nothing: its positions carry no gradient;
* a parameter used in several places (tied embeddings) has the sum of what the places say;
* a layer called once for the whole batch (a table of positions) gets its output copied per sample, so that the samples'
  gradients are still apart when they reach it;
* every trainable parameter is accounted for: one that belongs to a layer of unknown kind, or is used outside its layer, is
  an error that names it, never a silent zero. `Tap.check` compares the whole with PyTorch's own gradient.

Results do not depend on the batch size or on the order of samples, but for rounding (about 1e-6 relative in float32).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrize import ParametrizationList

from influence.attribution.layers import KINDS, Embedding, Layer, kind_of, parameters_of
from lineage.errors import EarmarkError

Gradient = dict[str, Tensor]  # by parameter name


@dataclass
class _Call:
    """One call of a layer during the forward pass."""

    module: nn.Module
    kind: type[Layer]  # type: ignore[type-arg]
    given: Tensor
    returned: Tensor
    version: int


class Tap:
    """Listens to the layers of a model that own trainable parameters, between `with` and the end of the block.

    Raises:
        EarmarkError: a trainable parameter belongs to a layer of a kind whose gradients are not known.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.parameters: dict[str, nn.Parameter] = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._names = {id(p): n for n, p in self.parameters.items()}
        self._layers = self._find_layers()
        self._calls: list[_Call] = []
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._listening = True
        self._batch: int | None = None

    def _find_layers(self) -> dict[nn.Module, type[Layer]]:  # type: ignore[type-arg]
        layers = {}
        for path, module in self.model.named_modules():
            own = [n for n, p in parameters_of(module) if id(p) in self._names]
            if not own or isinstance(module, ParametrizationList):  # which is part of the layer around it
                continue
            kind = kind_of(module)
            if kind is None:
                raise EarmarkError(
                    f"per-sample gradients of {path}.{own[0]} are not known (a {type(module).__name__}) — attribute over "
                    f"layers of {', '.join(k.__name__ for k in KINDS)}, e.g. with method: lora, or freeze it"
                )
            layers[module] = kind
        return layers

    def __enter__(self) -> Self:
        self._calls.clear()
        for module in self._layers:
            self._handles.append(module.register_forward_hook(self._heard, with_kwargs=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._calls.clear()

    def batch(self, size: int) -> Self:
        """Say how many samples the next forward pass has; needed where the first layer called does not show it."""
        self._calls.clear()
        self._batch = size
        return self

    def dot(self, nll: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Inner products of each sample's gradient with K targets, [B, K].

        `nll` [B] comes from the forward pass that was listened to; `targets` has [K, *shape] for every trainable parameter
        (those left out count as zero).
        """
        self._expect(nll)
        scores: Tensor | None = None
        for layer, parameter, name in self._backward(nll):
            if name in targets:
                part = layer.dot(parameter, targets[name])
                scores = part if scores is None else scores + part
        if scores is None:
            raise EarmarkError(
                "none of the targets' parameters is trainable in this model — check that they belong together"
            )
        return scores

    def gradients(self, nll: Tensor) -> Gradient:
        """Each sample's gradient, [B, *shape] by parameter; zero where a parameter was not used."""
        self._expect(nll)
        found = {n: p.new_zeros(len(nll), *p.shape) for n, p in self.parameters.items()}
        for layer, parameter, name in self._backward(nll):
            found[name] += layer.gradient(parameter)
        return found

    def check(self, nll: Tensor, targets: Mapping[str, Tensor], tolerance: float = 1e-3) -> Tensor:
        """`dot`, after making sure that its sum over samples is what PyTorch's own gradient says.

        Raises:
            EarmarkError: it is not: the model uses its parameters in a way that hooks cannot see.
        """
        names = [n for n in self.parameters if n in targets]
        whole = torch.autograd.grad(
            nll.sum(), [self.parameters[n] for n in names], retain_graph=True, allow_unused=True
        )
        expected = sum(targets[n].flatten(1) @ g.flatten() for n, g in zip(names, whole, strict=True) if g is not None)
        scores = self.dot(nll, targets)
        total = scores.sum(dim=0)
        wrong = (total - expected).abs() > tolerance * scores.abs().sum(dim=0).clamp_min(1e-12)
        if bool(wrong.any()):
            raise EarmarkError(
                f"per-sample gradients of this {type(self.model).__name__} do not add up to its whole gradient "
                f"({total.tolist()} against {expected}) — a parameter is used outside its layer; attribute with LoRA"
            )
        return scores

    def _expect(self, nll: Tensor) -> None:
        if nll.ndim != 1 or not self._calls:
            raise ValueError("needs the per-sample losses [B] of a forward pass inside the block")

    def _heard(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """Forward hook: note the call; a look-up that the whole batch shares is copied per sample."""
        if not self._listening:
            return None
        kind = self._layers[module]
        if kind is Embedding:
            given = self._rows(module, args, kwargs)
            if given.ndim == 1 or (given.shape[0] == 1 and self._size(given) != 1):
                shared = given if given.ndim > 1 else given.unsqueeze(0)
                size = self._size(given)
                given = shared.expand(size, *shared.shape[1:])
                output = (output if output.ndim == shared.ndim + 1 else output.unsqueeze(0)).expand(
                    size, *output.shape[output.ndim - shared.ndim :]
                )
        else:
            given = args[0] if args else next(iter(kwargs.values()))
        if self._batch is None:
            self._batch = given.shape[0]
        if given.shape[0] != self._batch or not output.requires_grad:
            path = next(n for n, m in self.model.named_modules() if m is module)
            raise EarmarkError(
                f"{path} got {tuple(given.shape)} in a batch of {self._batch}: its first dimension is not the samples — "
                "attribution needs a family whose layers keep the batch first"
            )
        self._calls.append(_Call(module, kind, given.detach(), output, output._version))
        return output

    def _size(self, given: Tensor) -> int:
        return self._batch if self._batch is not None else given.shape[0]

    def _rows(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """Which rows a table looked up, found by looking up the numbers of the rows."""
        weight = module.weight
        numbers = torch.arange(len(weight), dtype=torch.float64, device=weight.device).unsqueeze(1)  # type: ignore[arg-type]
        with self._deaf(), torch.no_grad():
            rows: Tensor = functional_call(module, {"weight": numbers}, args, kwargs)
        return rows.squeeze(-1).long()

    @contextmanager
    def _deaf(self) -> Iterator[None]:
        self._listening = False
        try:
            yield
        finally:
            self._listening = True

    def _backward(self, nll: Tensor) -> Iterator[tuple[Layer, str, str]]:  # type: ignore[type-arg]
        """(layer, its parameter, the parameter's name in the model) for every use of a trainable parameter."""
        calls, self._calls, self._batch = self._calls, [], None
        heard = {id(c.module) for c in calls}
        silent = [m for m in self._layers if id(m) not in heard]
        unheard = [p for m in silent for _, p in parameters_of(m) if id(p) in self._names]
        found = torch.autograd.grad(nll.sum(), [*(c.returned for c in calls), *unheard], allow_unused=True)
        for parameter, gradient in zip(unheard, found[len(calls) :], strict=True):
            if gradient is not None and not any(id(parameter) == id(p) for c in calls for p in c.module.parameters()):
                raise EarmarkError(
                    f"{self._names[id(parameter)]} is used outside its layer, where per-sample gradients cannot be seen — "
                    "attribute with LoRA, or freeze it"
                )
        for call, g in zip(calls, found[: len(calls)], strict=True):
            if call.returned._version != call.version:
                raise EarmarkError(
                    f"the output of a {type(call.module).__name__} is overwritten in place, where its gradient cannot be "
                    "seen — attribute with LoRA, or freeze it"
                )
            if g is None:
                continue
            layer = call.kind(call.module, call.given, g)
            for parameter_name, parameter in parameters_of(call.module):
                if id(parameter) in self._names:
                    yield layer, parameter_name, self._names[id(parameter)]
