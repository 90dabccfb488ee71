"""Checkpoints in the format of `transformers`, read without its chatter and refused in one line where they are damaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoFeatureExtractor, AutoTokenizer
from transformers.utils import logging

from lineage.errors import EarmarkError
from training.families.base import Base


def read(base: Base, *types: str, **tokenizer: Any) -> tuple[Any, Any, Any]:
    """Configuration, feature extractor and tokeniser of a base; `tokenizer` says how to open the last.

    Raises:
        EarmarkError: a file is damaged or absent, or it is a model of none of the types.
    """
    try:
        config = AutoConfig.from_pretrained(base.path)
        if config.model_type not in types:
            raise EarmarkError(f"base {base.ref} is a {config.model_type} model — write that family in the recipe")
        extractor = AutoFeatureExtractor.from_pretrained(base.path)
        return config, extractor, AutoTokenizer.from_pretrained(base.path, **tokenizer)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EarmarkError(f"base {base.ref} cannot be read ({reason}) — give a complete checkpoint") from error


def weights(auto: Any, folder: Path, attention: str, *, unused: str | None = None, **changes: Any) -> Any:
    """The model in `folder` by the auto class `auto`: float32, on the CPU; `changes` are fields of its configuration.

    A parameter whose name ends in `unused` may be missing and is zero then.

    Raises:
        EarmarkError: the weights are damaged or incomplete.
    """
    with quiet():
        try:
            model, report = auto.from_pretrained(
                folder, attn_implementation=attention, dtype=torch.float32, output_loading_info=True, **changes
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise EarmarkError(f"the weights in {folder} cannot be read ({reason}) — restore them") from error
    spare = {n for n in report["missing_keys"] if unused is not None and n.endswith(unused)}
    for name in spare:
        torch.nn.init.zeros_(model.get_parameter(name))
    absent = sorted(set(report["missing_keys"]) - spare)
    if absent:  # they would be drawn at random
        raise EarmarkError(
            f"{folder} has no weights for {absent[0]} and {len(absent) - 1} more — give a whole checkpoint"
        )
    return model


def linear_layers(model: torch.nn.Module, endings: tuple[str, ...]) -> list[str]:
    """Full names of the linear modules whose name ends in one of `endings`."""
    modules = model.named_modules()
    return [n for n, m in modules if isinstance(m, torch.nn.Linear) and n.rpartition(".")[2] in endings]


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars of `transformers`, which belong to whoever called us."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
