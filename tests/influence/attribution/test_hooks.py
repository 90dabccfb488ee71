from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import WhisperConfig, WhisperForConditionalGeneration

from influence.attribution.hooks import Gradient, Tap
from lineage.errors import EarmarkError
from tests.training.conftest import tiny_voxtral
from tests.training.families.test_whisper import noise
from training.families import Family, open_family
from training.models import lora
from training.recipe import Lora

LENGTHS = [7, 3, 5, 1, 6, 4]


def whisper(dtype: torch.dtype = torch.float64, tied: bool = True) -> nn.Module:
    """A tiny Whisper; its output layer and its token embedding are one tensor if `tied`."""
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=20, d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=24, decoder_ffn_dim=24, num_mel_bins=8, max_source_positions=10, max_target_positions=9,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, tie_word_embeddings=tied,
        attn_implementation="eager",
    )  # fmt: skip
    return WhisperForConditionalGeneration(config).to(dtype).eval()


def batch(rows: list[int], dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    """Utterances of different lengths, padded to the longest of the rows asked for."""
    rng = torch.Generator().manual_seed(1)
    frames = torch.randn(len(LENGTHS), 8, 20, generator=rng, dtype=dtype)
    tokens = torch.randint(3, 20, (len(LENGTHS), 8), generator=rng)
    width = max(LENGTHS[i] for i in rows)
    inputs, labels = torch.zeros(len(rows), width, dtype=torch.long), torch.full((len(rows), width), -100)
    for k, i in enumerate(rows):
        inputs[k, : LENGTHS[i]] = torch.cat([torch.tensor([1]), tokens[i, : LENGTHS[i] - 1]])
        labels[k, : LENGTHS[i]] = tokens[i, : LENGTHS[i]]
    return {"x": frames[rows], "inputs": inputs, "labels": labels}


def losses(model: nn.Module, b: dict[str, torch.Tensor]) -> torch.Tensor:
    logits = model(input_features=b["x"], decoder_input_ids=b["inputs"], use_cache=False).logits
    flat = functional.cross_entropy(logits.flatten(0, 1), b["labels"].flatten(), ignore_index=-100, reduction="none")
    return flat.view(b["labels"].shape).sum(1)


def loop(model: nn.Module) -> Gradient:
    """Each utterance's gradient from a pass of its own."""
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    own = [p for p in model.parameters() if p.requires_grad]
    rows = []
    for i in range(len(LENGTHS)):
        rows.append(torch.autograd.grad(losses(model, batch([i], own[0].dtype)).sum(), own))
    return {n: torch.stack([r[k] for r in rows]) for k, n in enumerate(names)}


def worst(found: Gradient, expected: Gradient) -> float:
    assert set(found) == set(expected)
    return max(float((found[n] - expected[n]).abs().max() / expected[n].abs().max().clamp_min(1e-9)) for n in expected)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_exact_against_a_loop_over_samples(tied: bool, dtype: torch.dtype, tolerance: float) -> None:
    model = whisper(dtype, tied)
    expected = loop(model)
    everything = list(range(len(LENGTHS)))
    with Tap(model) as tap:
        assert worst(tap.gradients(losses(model, batch(everything, dtype))), expected) < tolerance


@pytest.mark.parametrize("size", [1, 2, 4, 6])
def test_neither_batch_size_nor_order_nor_padding_matters(size: int) -> None:
    model = whisper()
    expected = loop(model)
    order = [4, 1, 5, 0, 3, 2]
    with Tap(model) as tap:
        for start in range(0, 6, size):
            rows = order[start : start + size]
            found = tap.gradients(losses(model, batch(rows)))
            assert worst(found, {n: g[rows] for n, g in expected.items()}) < 1e-10


@pytest.mark.parametrize("k", [1, 3])
def test_products_with_targets_are_those_of_the_gradients(k: int) -> None:
    model = whisper()
    expected = loop(model)
    torch.manual_seed(2)
    targets = {n: torch.randn(k, *g.shape[1:], dtype=torch.float64) for n, g in expected.items()}
    products = sum(g.flatten(1) @ targets[n].flatten(1).T for n, g in expected.items())
    with Tap(model) as tap:
        found = tap.check(losses(model, batch(list(range(6)))), targets)
    assert torch.allclose(found, products, rtol=1e-10)


def test_adapters_only() -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(whisper(), LoraConfig(r=2, target_modules=["q_proj", "v_proj", "fc1"])).double().eval()
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    expected = loop(model)
    assert all("lora" in n for n in expected)
    with Tap(model) as tap:
        assert worst(tap.gradients(losses(model, batch(list(range(6))))), expected) < 1e-10


def test_hooks_are_gone_afterwards_and_change_nothing() -> None:
    model = whisper()
    before = losses(model, batch([0, 1, 2]))
    with Tap(model) as tap:
        inside = losses(model, batch([0, 1, 2]))
        tap.gradients(inside)
    assert torch.equal(before, inside)
    assert not any(m._forward_hooks for m in model.modules())


def test_a_parameter_of_an_unknown_layer_is_named() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(3))

    with pytest.raises(EarmarkError, match=r"1\.gain"):
        Tap(nn.Sequential(nn.Linear(2, 3), Scale()))


class Tricky(nn.Module):
    """Uses its layer's weight behind its back, as a whole or in addition."""

    def __init__(self, also: bool) -> None:
        super().__init__()
        self.first, self.layer = nn.Linear(3, 3), nn.Linear(3, 3, bias=False)
        self.also = also

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = functional.linear(self.first(x), self.layer.weight)
        return self.layer(hidden) if self.also else hidden


def test_a_weight_used_outside_its_layer_is_found() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3)
    with Tap(Tricky(also=False)) as tap, pytest.raises(EarmarkError, match=r"layer\.weight is used outside"):
        tap.gradients(tap.model(x).square().sum(1))
    with Tap(Tricky(also=True)) as tap:
        targets = {n: torch.randn(1, *p.shape) for n, p in tap.parameters.items()}
        with pytest.raises(EarmarkError, match="do not add up"):
            tap.check(tap.model(x).square().sum(1), targets)


def test_an_overwritten_output_is_found() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x).mul_(2)

    with Tap(InPlace()) as tap, pytest.raises(EarmarkError, match="overwritten in place"):
        tap.gradients(tap.model(torch.randn(2, 3)).sum(1))


def test_a_layer_whose_first_dimension_is_not_the_samples_is_refused() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x).flatten(0, 1))

    with Tap(Flat()) as tap, pytest.raises(EarmarkError, match="second got"):
        tap.model(torch.randn(2, 5, 3))


def test_losses_that_are_no_vector_are_refused() -> None:
    model = whisper()
    with Tap(model) as tap, pytest.raises(ValueError, match="per-sample"):
        tap.gradients(losses(model, batch([0, 1])).sum())


def test_targets_of_another_model_are_refused() -> None:
    model = whisper()
    with Tap(model) as tap, pytest.raises(EarmarkError, match="none of the targets"):
        tap.dot(losses(model, batch([0, 1])), {"nobody": torch.ones(1, 2)})


@pytest.fixture(scope="module")
def voxtral(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return open_family("voxtral", str(tiny_voxtral(tmp_path_factory.mktemp("voxtral"))))


def test_adapters_of_a_model_that_hears_in_chunks(voxtral: Family) -> None:
    """Clips of one to three chunks, so the tower is called three times, and with prompts of several lengths."""
    model = lora.attach(voxtral, voxtral.model(), Lora(rank=2), seed=0).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(len(name)))
    features = [voxtral.features(noise(s, seed=i)) for i, s in enumerate((0.3, 2.0, 0.9, 0.8))]
    texts, spoken = ["one", "two three", "", "four five"], ["de", None, "en", "it"]

    def made(rows: list[int]) -> dict[str, torch.Tensor]:
        found = voxtral.collate([features[i] for i in rows], [texts[i] for i in rows], [spoken[i] for i in rows])
        return {**found, "input_features": found["input_features"].double()}

    own = {n: p for n, p in model.named_parameters() if p.requires_grad}
    each = [torch.autograd.grad(voxtral.losses(model, made([i]))[0].sum(), list(own.values())) for i in range(4)]
    expected = {n: torch.stack([g[k] for g in each]) for k, n in enumerate(own)}
    with Tap(model) as tap:
        found = tap.gradients(voxtral.losses(model, made([0, 1, 2, 3]))[0])
    assert worst(found, expected) < 1e-5  # the loss is summed in single precision


def test_norms_of_a_language_model_are_named_not_skipped(voxtral: Family) -> None:
    with pytest.raises(
        EarmarkError, match=r"gradients of .*norm\.weight are not known \(a LlamaRMSNorm\) .* method: lora"
    ):
        Tap(voxtral.model())
