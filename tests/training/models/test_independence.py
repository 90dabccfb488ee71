from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from tests.training.conftest import say
from training.determinism import seed_all
from training.families import Family, open_family
from training.models import lora
from training.models.independence import rows_are_independent
from training.recipe import Lora


def open_kind(kind: str, base: Path) -> Family:
    return open_family(kind, str(base) if kind == "whisper" else "earmark:ctc-tiny")


def alone_as_in_company(family: Family, model: nn.Module) -> bool:
    """Whether the last of three utterances has the loss, while training, that it has with nobody before it."""
    rng = np.random.default_rng(0)
    clips = [family.features(say(["one", word], 1.0, rng)) for word in ("two", "three", "four")]
    model.train()
    losses = []
    for rows in ([0, 1, 2], [2]):
        seed_all(5)
        batch = family.collate([clips[i] for i in rows], ["one"] * len(rows))
        losses.append(family.losses(model, batch)[0][-1].item())
    return losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("kind", ["whisper", "ctc"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_dropout_ties_the_rows_of_a_batch(kind: str, dropout: float, base: Path) -> None:
    family = open_kind(kind, base)
    model = family.model(dropout=dropout)
    assert rows_are_independent(model) == alone_as_in_company(family, model) == (dropout == 0)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_so_does_that_of_adapters(dropout: float, base: Path) -> None:
    family = open_kind("whisper", base)
    model = lora.attach(family, family.model(dropout=0.0), Lora(rank=2, dropout=dropout), seed=0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    assert rows_are_independent(model) == alone_as_in_company(family, model) == (dropout == 0)


@pytest.mark.parametrize("changes", [{"encoder_layerdrop": 0.5}, {"attention_dropout": 0.3}])
def test_so_does_what_a_base_brings_along(changes: dict[str, float], base: Path) -> None:
    model = open_kind("whisper", base).model(dropout=0.0)
    for name, value in changes.items():
        setattr(model.config, name, value)
    assert not rows_are_independent(type(model)(model.config))


def test_so_do_masks_of_the_model_and_statistics_over_the_batch(base: Path) -> None:
    model = open_kind("whisper", base).model(dropout=0.0)
    assert not rows_are_independent(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    model.config.apply_spec_augment = True
    assert not rows_are_independent(model)
