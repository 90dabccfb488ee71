from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lineage.errors import EarmarkError
from training.families import Family, open_family
from training.models import lora
from training.models.weights import weights_digest
from training.recipe import Lora


@pytest.fixture
def family(base: Path) -> Family:
    return open_family("whisper", str(base))


def test_adapters_start_as_nothing_and_follow_from_the_seed(family: Family) -> None:
    batch = family.collate([torch.zeros(3, 20).numpy()], ["one two"])
    plain, adapted = family.model(), lora.attach(family, family.model(), Lora(rank=2), seed=4).eval()
    with torch.no_grad():
        assert torch.equal(family.losses(plain, batch)[0], family.losses(adapted, batch)[0])
    trained = [n for n, p in adapted.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in n for n in trained)
    same, other = (lora.attach(family, family.model(), Lora(rank=2), seed=s) for s in (4, 5))
    first = dict(adapted.named_parameters())
    assert all(torch.equal(p, first[n]) for n, p in same.named_parameters())
    assert not all(torch.equal(p, first[n]) for n, p in other.named_parameters())


def test_saved_adapters_depend_on_nothing_but_the_adapters(family: Family, tmp_path: Path) -> None:
    model = lora.attach(family, family.model(), Lora(rank=2, targets=("q_proj", "fc1")), seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(len(name)))
    lora.save(model, family.base, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(config["target_modules"])
    batch = family.collate([torch.zeros(3, 20).numpy()], ["one two"])
    again = lora.load(family.model(), tmp_path)
    with torch.no_grad():
        assert torch.equal(family.losses(model.eval(), batch)[0], family.losses(again, batch)[0])
    assert weights_digest(tmp_path, family.base.digest) != weights_digest(tmp_path, "0" * 64)
    assert [d.text for d in family.decode(again, batch)] == [d.text for d in family.decode(model, batch)]


def test_targets_that_name_nothing_are_refused(family: Family) -> None:
    model = family.model()
    assert len(lora.targets(family, model, Lora())) == len(family.adaptable(model))
    assert len(lora.targets(family, model, Lora(targets=("q_proj",)))) == 3
    with pytest.raises(EarmarkError, match="no module of this base ends in 'query' — choose from fc1, fc2"):
        lora.targets(family, model, Lora(targets=("query",)))
