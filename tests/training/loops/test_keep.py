"""Models of others' scripts: what they are found to be, and that they come back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import WhisperConfig, WhisperForConditionalGeneration

from lineage.errors import EarmarkError
from lineage.selection.sets import resolve_set
from lineage.store import Store
from training.loops.keep import family_of, keep_model
from training.models.recorded import open_model
from training.models.weights import weights_digest


def keep(store: Store, model: torch.nn.Module, name: str) -> dict:
    with store.run("train", job=name) as run:
        keep_model(run, model, name=name, set_digest=resolve_set(store, "train").digest, seed=1)
    (row,) = store.read("models", where="run_id = ?", parameters=[run.id]).to_pylist()
    return row


def adapted(base: Path) -> torch.nn.Module:
    torch.manual_seed(1)
    model = get_peft_model(
        WhisperForConditionalGeneration.from_pretrained(base), LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    )
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("lora", [False, True])
def test_a_model_on_a_known_base_opens_as_one_of_its_family(store: Store, base: Path, lora: bool) -> None:
    model = adapted(base) if lora else WhisperForConditionalGeneration.from_pretrained(base)
    row = keep(store, model, f"known-{lora}")
    assert (row["family"], row["base"]) == ("whisper", str(base))
    opened = open_model(store, f"known-{lora}")
    before = dict(model.named_parameters())
    assert all(torch.equal(p, before[n]) for n, p in opened.model.named_parameters())


def test_a_model_of_another_shape_than_its_base_is_kept_as_it_is(store: Store, base: Path) -> None:
    model = WhisperForConditionalGeneration.from_pretrained(base)
    model.resize_token_embeddings(30)
    assert family_of(model) is None
    row = keep(store, model, "grown")
    assert row["family"] == "whisper"  # by its type; but nothing here could open it
    assert weights_digest(store.artifact(row["artifact"])) == row["model_id"]
    with pytest.raises(EarmarkError, match="grown is of no family that is known here"):
        open_model(store, "grown")


def test_tied_weights_and_adapters_without_a_base_are_kept_whole(store: Store) -> None:
    tied = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False))
    tied[1].weight = tied[0].weight
    assert keep(store, tied, "tied")["family"] == "other"
    config = WhisperConfig(
        vocab_size=20, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=1, decoder_ffn_dim=8,
        decoder_attention_heads=1, encoder_ffn_dim=8, num_mel_bins=4, max_source_positions=4, pad_token_id=0,
        max_target_positions=4, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    model = get_peft_model(WhisperForConditionalGeneration(config), LoraConfig(r=2, target_modules=["q_proj"]))
    row = keep(store, model, "from nowhere")
    assert row["base"] is None
    assert weights_digest(store.artifact(row["artifact"])) == row["model_id"]
    assert 0 < row["trainable"] < row["parameters"]
