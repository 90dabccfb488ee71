"""Models of somebody's own scripts, kept and put on the record by what they are found to be.

A model that stands on a base which one of the families opens becomes a model of that family: it is evaluated and published
like one that a recipe trained. Any other model is kept as it is, family 'other', with its id and its lineage.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import save_model

from lineage.errors import EarmarkError
from lineage.runs import Run
from training.families import NAMES, Family, open_family
from training.families.base import find_base
from training.families.pretrained import quiet
from training.models.recorded import keep_base, note_model, opening, record_model
from training.models.weights import weights_digest

OTHER = "other"


def keep_model(
    run: Run,
    model: torch.nn.Module,
    *,
    name: str,
    set_digest: str | None,
    seed: int | None,
    processor: Any = None,
) -> str:
    """Keep the weights of `model` as they are now and write its row; returns its id.

    `processor` (tokeniser, feature extractor or both) is kept beside a model of no family. The base is the one that the
    model says it was loaded from; language and task are those that it generates with.
    """
    family = family_of(model)
    if family is None:
        return _keep_other(run, model, name, set_digest, seed, processor)
    method = "lora" if isinstance(model, PeftModel) else "full"
    fields = {"family": family.name, "language": family.language, "task": family.task, "transcripts": "none"}
    run.config["opens"] = opening({**fields, "method": method}, family.base, keep_base(run, family.base))
    return record_model(run, family, model, name=name, method=method, set_digest=set_digest, seed=seed)


def family_of(model: torch.nn.Module) -> Family | None:
    """The family that opens the base of a model, which has to be of the same shape; None if none does."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    config = getattr(inner, "config", None)
    ref = getattr(config, "_name_or_path", None)
    if not ref:
        return None
    generation = getattr(inner, "generation_config", None)
    said = getattr(generation, "language", None), getattr(generation, "task", None)
    kind = getattr(config, "model_type", None)
    for name in sorted(NAMES, key=lambda n: n != kind):  # mostly it says so
        for language, task in dict.fromkeys((said, (None, None))):
            try:
                family = open_family(name, find_base(ref), language=language, task=task)
            except EarmarkError:
                continue
            shape = getattr(family, "config", None)
            if getattr(shape, "vocab_size", None) == getattr(config, "vocab_size", None):
                return family
    return None


def _keep_other(
    run: Run, model: torch.nn.Module, name: str, set_digest: str | None, seed: int | None, processor: Any
) -> str:
    config = getattr(model, "config", None)
    with tempfile.TemporaryDirectory(prefix="earmark-") as scratch, quiet():
        folder = Path(scratch)
        if isinstance(model, PeftModel) or not hasattr(model, "save_pretrained"):
            save_model(model, str(folder / "model.safetensors"))  # adapters alone would mean nothing without their base
        else:
            model.save_pretrained(folder)  # type: ignore[operator]
        if hasattr(processor, "save_pretrained"):
            processor.save_pretrained(folder)
        model_id = weights_digest(folder)
        artifact = run.put(folder)
    kind = getattr(config, "model_type", None)
    return note_model(
        run,
        model,
        model_id=model_id,
        artifact=artifact,
        name=name,
        family=kind if kind in NAMES else OTHER,
        base=getattr(config, "_name_or_path", None) or None,
        set_digest=set_digest,
        seed=seed,
    )
