"""Elastic weight consolidation: weights that an old set hangs on are held where they are (Kirkpatrick et al., PNAS 114(13),
2017, arXiv 1612.00796), where the old recordings may be listened to, but not trained on again.

    ewc: {set: old-accents, strength: 1.0, samples: 200}

The loss gains λ/2 · Σᵢ Fᵢ (θᵢ − θ*ᵢ)², with θ* the weights before the first step and F the diagonal of the Fisher information
there: Σ over utterances of (∂ nll / ∂θᵢ)², divided by their tokens. It is the *empirical* Fisher, from the transcripts on
record and not from ones drawn from the model, which is another matrix where the model is wrong (Kunstner et al., arXiv
1905.12558) but the one that asks how the model got those transcripts right. An utterance counts whole: its tokens' gradients
are added up before they are squared. Both terms are in nats a token, so λ = 1 lets a token of the old set count as much as a
new one; in practice λ is found by trying, in powers of ten. AdamW's steps are as long whatever the gradient, so even the
largest λ leaves weights about where they are held, within a few steps at the rate of the moment; the schedule brings that down.

With LoRA the adapters' values are held. Fresh adapters begin as a product with zero, so only their zero factor has a
gradient there and is held; the other is free.

F is computed once by a run of its own and kept as an artifact under (weights, set, samples …). Laws: the gradient of the
penalty is λ · F · (θ − θ*); at the beginning both are zero; λ = 0 changes no bit of the weights.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from lineage.derivation.chance import Draw
from lineage.errors import EarmarkError, UnknownName
from lineage.identity import digest_of
from lineage.machine.environment import code_version
from lineage.selection.sets import SampleSet
from lineage.store import Store
from training.data.corpus import Corpus, open_corpus
from training.determinism import depends
from training.models import tensors
from training.models.start import Start
from training.models.tensors import Tensors
from training.progress import Progress, silent
from training.recipe import Ewc


class Penalty:
    """λ/2 · Σ F (θ − θ*)² of a model's trained parameters, which are held to what they are now."""

    def __init__(self, model: torch.nn.Module, information: Tensors, strength: float) -> None:
        self._strength = strength
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if trained.keys() != information.keys():
            odd = sorted(trained.keys() ^ information.keys())[0]
            raise EarmarkError(f"the Fisher information and the model differ in {odd} — it is of another model")
        self._held = [(p, p.detach().clone(), information[name]) for name, p in trained.items()]

    def to(self, device: str | torch.device) -> Penalty:
        """Go where the parameters went."""
        self._held = [(p, anchor.to(device), fisher.to(device)) for p, anchor, fisher in self._held]
        return self

    def __call__(self) -> torch.Tensor:
        """The penalty in nats a token, differentiable in the parameters."""
        terms = [(fisher * (p - anchor).square()).sum() for p, anchor, fisher in self._held]
        return 0.5 * self._strength * torch.stack(terms).sum()


@dataclass(frozen=True)
class Information:
    """The diagonal Fisher information of a model on a set, by parameter, and the run and artifact that hold it."""

    tensors: Tensors
    artifact: str
    run_id: str
    samples: int


def information(
    store: Store,
    start: Start,
    old: SampleSet,
    ewc: Ewc,
    *,
    device: str = "cpu",
    progress: Progress = silent,
) -> Information:
    """The Fisher information of the model at `start` on the old set, computed or found on record.

    The caller sees to it that arithmetic is deterministic.

    Raises:
        EarmarkError: the set does not fit the model, or its gradients are not finite.
    """
    recipe = start.recipe
    fresh = recipe.lora is not None and start.adapters is None
    settings = {
        "weights": start.weights,
        "set": old.digest,
        "samples": min(ewc.samples, old.size),
        "seed": ewc.seed,
        "labels": "empirical",
        "method": recipe.method,
        "adapters": {"lora": recipe.model_dump(mode="json")["lora"], "seed": recipe.seed} if fresh else None,
        "opened": [
            recipe.family,
            start.base.digest,
            recipe.language,
            recipe.task,
            recipe.transcripts,
            recipe.attention,
        ],
        "threads": recipe.threads,
        "device": device,
    }
    key = digest_of({"fisher": settings, "code": code_version("training"), "environment": depends(device)})
    done = store.find_run(key)
    if done is not None:
        try:
            return Information(
                tensors.read(store.artifact(done.outputs[0])), done.outputs[0], done.id, done.result["samples"]
            )
        except UnknownName:  # erased: what is asked for now may be asked for again
            pass
    with store.run(
        "fisher",
        job=f"Fisher information on {old.name}",
        config=settings,
        key=key,
        inputs=[start.weights, old.digest],
        package="training",
    ) as run:
        corpus = open_corpus(store, old.digest, start.family, transcripts=recipe.transcripts, progress=progress)
        corpus.check()
        rows = chosen(corpus, ewc)
        found = diagonal(start.model().to(device), corpus, rows, progress)
        with tempfile.TemporaryDirectory(prefix="earmark-") as scratch:
            path = Path(scratch) / "fisher.safetensors"
            tensors.write(path, found)
            artifact = run.put(path)
        run.outputs.append(artifact)
        run.result = {"samples": len(rows)}
    return Information(found, artifact, run.id, len(rows))


def chosen(corpus: Corpus, ewc: Ewc) -> list[int]:
    """Numbers of the utterances that are looked at, ascending: as many as asked for, drawn by seed and sample."""
    draw = Draw(ewc.seed, ())
    ids = corpus.ids.to_pylist()
    return sorted(sorted(range(len(ids)), key=lambda i: (draw.unit(ids[i].bytes), i))[: ewc.samples])


def diagonal(model: torch.nn.Module, corpus: Corpus, rows: list[int], progress: Progress = silent) -> Tensors:
    """Σ over utterances of (∂ nll / ∂θ)² / Σ tokens, on the CPU, for every parameter that requires a gradient.

    Raises:
        EarmarkError: it is not finite.
    """
    model = model.eval()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    device = next(model.parameters()).device
    sums = {name: torch.zeros_like(p) for name, p in trained.items()}
    tokens = 0
    for done, row in enumerate(rows, start=1):
        batch = {name: tensor.to(device) for name, tensor in corpus.batch([row]).items()}
        nll, counted = corpus.family.losses(model, batch)
        gradients = torch.autograd.grad(nll.sum(), list(trained.values()), allow_unused=True)
        for name, gradient in zip(trained, gradients, strict=True):
            if gradient is not None:
                sums[name] += gradient.square()
        tokens += int(counted.sum())
        progress(done, len(rows), "Fisher information")
    found = {name: (total / tokens).cpu() for name, total in sums.items()}
    if not all(bool(t.isfinite().all()) for t in found.values()):
        raise EarmarkError(
            f"the Fisher information on set {corpus.set_digest[:12]} is not finite — is the model it begins with sound?"
        )
    return found
