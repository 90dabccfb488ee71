"""Low-rank adapters, through `peft` (Hu et al., arXiv 2106.09685).

Adapters are kept as adapters, never merged: they are a hundredth of the size, thirty retrainings of a large model fit on a
disk, and attribution needs their factors. A LoRA model is therefore its base plus an adapter folder in peft's own format,
and its id covers both (see `training.models.weights`).
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from lineage.errors import EarmarkError
from training.data.seeds import start_seed
from training.determinism import seed_all
from training.families import Family
from training.families.base import Base
from training.recipe import Lora


def targets(family: Family, model: torch.nn.Module, lora: Lora) -> list[str]:
    """Full names of the modules to adapt.

    Raises:
        EarmarkError: a target in the recipe names none; says what there is.
    """
    names = family.adaptable(model)
    if not lora.targets:
        return names
    endings = sorted({n.rpartition(".")[2] for n in names})
    for target in lora.targets:
        if not any(n == target or n.endswith(f".{target}") for n in names):
            raise EarmarkError(
                f"lora.targets: no module of this base ends in '{target}' — choose from {', '.join(endings)}"
            )
    return [n for n in names if any(n == t or n.endswith(f".{t}") for t in lora.targets)]


def attach(family: Family, model: torch.nn.Module, lora: Lora, seed: int) -> PeftModel:
    """The model with fresh adapters, everything else frozen; the adapters' first values follow from `seed`."""
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets(family, model, lora)
    )
    seed_all(start_seed(seed))
    return get_peft_model(model, config)


def carry_on(family: Family, model: torch.nn.Module, lora: Lora, folder: Path) -> PeftModel:
    """The model with saved adapters, to be trained on; of `lora` only the dropout may be another than theirs.

    Raises:
        EarmarkError: the recipe describes other adapters.
    """
    config = LoraConfig.from_pretrained(folder)
    theirs = (config.r, float(config.lora_alpha), sorted(config.target_modules))
    if (lora.rank, lora.alpha, sorted(targets(family, model, lora))) != theirs:
        endings = sorted({name.rpartition(".")[2] for name in config.target_modules})
        raise EarmarkError(
            f"'lora' describes other adapters than those that are continued — write rank: {config.r}, "
            f"alpha: {config.lora_alpha:g}, targets: [{', '.join(endings)}] there"
        )
    config.lora_dropout = lora.dropout
    return PeftModel.from_pretrained(model, folder, is_trainable=True, config=config).eval()


def save(model: PeftModel, base: Base, folder: Path) -> None:
    """Write the adapters in peft's format, without anything that depends on this machine or on hashing order."""
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty card
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["target_modules"] = sorted(config["target_modules"])
    config["base_model_name_or_path"] = base.ref
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def load(model: torch.nn.Module, folder: Path) -> PeftModel:
    """The base `model` with saved adapters, trainable, in evaluation mode."""
    return PeftModel.from_pretrained(model, folder, is_trainable=True).eval()
