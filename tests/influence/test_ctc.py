"""Per-sample gradients, attribution and second derivatives of CTC models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from influence.attribution.attribute import attribute
from influence.attribution.hooks import Tap
from lineage.errors import EarmarkError
from lineage.sound.audio import Waveform
from lineage.store import Store
from tests.training.families.ctc_bases import KINDS, tiny_ctc
from training.families import Batch, Family, open_family
from training.fit import train
from training.models import lora
from training.recipe import Lora, Recipe

TEXTS = ["one", "two three", "", "six", "see ell"]
WHOLE = ("wav2vec2, group norm", "wav2vec2, layer norm", "wav2vec2, adapter", "hubert", "w2v-bert, rotary")
ADAPTED = ("wavlm", "w2v-bert", "w2v-bert, adapter")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("ctc")
    return {kind: tiny_ctc(root / kind, kind) for kind in KINDS}


def batch(family: Family, rows: range | list[int]) -> Batch:
    draw = np.random.default_rng(0)
    clips = [
        family.features(
            Waveform((0.1 * draw.normal(size=(4_000 + 2_700 * ((3 * i) % 5), 1))).astype(np.float32), 16_000)
        )
        for i in range(5)
    ]
    made = family.collate([clips[i] for i in rows], [TEXTS[i] for i in rows])
    return {n: t.double() if t.is_floating_point() else t for n, t in made.items()}


def exact(family: Family, model: torch.nn.Module) -> None:
    """Hooked gradients are those of a loop over utterances, and their products add up."""
    own = {n: p for n, p in model.named_parameters() if p.requires_grad}
    rows = [
        torch.autograd.grad(family.losses(model, batch(family, [i]))[0].sum(), list(own.values())) for i in range(5)
    ]
    with Tap(model) as tap:
        found = tap.gradients(family.losses(model, batch(family, range(5)))[0])
    assert set(found) == set(own)
    for k, (name, gradient) in enumerate(found.items()):
        expected = torch.stack([row[k] for row in rows])
        # a key's bias does nothing, so its gradient is rounding
        assert torch.allclose(gradient, expected, rtol=1e-7, atol=1e-9), name
    targets = {n: torch.randn(2, *p.shape, dtype=torch.float64) for n, p in own.items()}
    with Tap(model) as tap:
        tap.check(family.losses(model, batch(family, range(5)))[0], targets)


@pytest.mark.parametrize("kind", WHOLE)
def test_exact_against_a_loop_over_samples(bases: dict[str, Path], kind: str) -> None:
    family = open_family("ctc", str(bases[kind]))
    exact(family, family.model().double())


@pytest.mark.parametrize("kind", ADAPTED)
def test_exact_with_adapters(bases: dict[str, Path], kind: str) -> None:
    family = open_family("ctc", str(bases[kind]))
    model = lora.attach(family, family.model(), Lora(rank=2), seed=0).double().eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    exact(family, model)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("wavlm", r"gru_rel_pos_const are not known .* method: lora"),
        ("w2v-bert", r"distance_embedding got .* its first dimension is not the samples"),
    ],
)
def test_what_cannot_be_done_is_named(bases: dict[str, Path], kind: str, said: str) -> None:
    family = open_family("ctc", str(bases[kind]))
    model = family.model().double()
    with pytest.raises(EarmarkError, match=said), Tap(model) as tap:
        tap.batch(5).gradients(family.losses(model, batch(family, range(5)))[0])


def test_losses_can_be_differentiated_twice(bases: dict[str, Path]) -> None:
    """Against the difference of two gradients."""
    family = open_family("ctc", str(bases["w2v-bert, rotary"]))
    model = family.model().double()
    own = [p for p in model.parameters() if p.requires_grad]
    torch.manual_seed(0)
    direction = [torch.randn_like(p) for p in own]

    def slopes(create_graph: bool = False) -> list[torch.Tensor]:
        nll = family.losses(model, batch(family, range(5)))[0].sum()
        found = torch.autograd.grad(nll, own, create_graph=create_graph)
        return list(found)

    along = sum((s * d).sum() for s, d in zip(slopes(create_graph=True), direction, strict=True))
    curved = torch.autograd.grad(along, own, allow_unused=True)
    step, ends = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(own, direction, strict=True):
                p += sign * step * d
        ends.append(slopes())
        with torch.no_grad():
            for p, d in zip(own, direction, strict=True):
                p -= sign * step * d
    measured = torch.cat([((after - before) / (2 * step)).flatten() for after, before in zip(*ends, strict=True)])
    exactly = torch.cat([(torch.zeros_like(p) if c is None else c).flatten() for c, p in zip(curved, own, strict=True)])
    assert float((measured - exactly).norm() / exactly.norm()) < 1e-5


def test_attribution_of_a_recorded_run(store: Store, bases: dict[str, Path]) -> None:
    kind = "wav2vec2, group norm"
    recipe = Recipe(
        name=kind, family="ctc", base=str(bases[kind]), train="train", evaluate=("test",), epochs=2, batch_size=6,
        learning_rate=3e-3, checkpoints=2, dropout=0.0,
    )  # fmt: skip
    found = attribute(store, train(store, recipe).model_id, targets=["accent=north", "all"])
    assert found.values.shape == (36, 2)
    assert 0 < found.values[:, 1].sum() < 100
