"""Decoding and scoring a whole corpus with a model, wherever the model comes from: from the record, or out of a run at work."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from training.corpus import Corpus
from training.families import Decoded
from training.progress import Progress, silent

BATCH = 64


def hear(
    model: torch.nn.Module, corpus: Corpus, *, batch_size: int = BATCH, progress: Progress = silent
) -> tuple[list[Decoded], npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Of each utterance: what is heard, the negative log-likelihood of its transcript in nats, and the tokens in that.

    A transcript that the model cannot spell has NaN and 0. The model is used where it is, and left in evaluation mode.
    """
    device = next(model.parameters()).device
    family, model = corpus.family, model.eval()
    spelt = corpus.encodable()
    nll = np.full(len(corpus), np.nan)
    tokens = np.zeros(len(corpus), dtype=np.int32)
    heard: list[Decoded] = []
    with torch.no_grad():
        for start in range(0, len(corpus), batch_size):
            rows = np.arange(start, min(start + batch_size, len(corpus)))
            transcripts = [corpus.transcripts[i] if spelt[i] else "" for i in rows]
            languages = [corpus.languages[i] for i in rows]
            batch = family.collate([corpus.features[int(i)] for i in rows], transcripts, languages)
            batch = {name: tensor.to(device) for name, tensor in batch.items()}
            heard += family.decode(model, batch)
            sums, counts = family.losses(model, batch)
            nll[rows] = np.where(spelt[rows], sums.double().cpu().numpy(), np.nan)
            tokens[rows] = np.where(spelt[rows], counts.cpu().numpy(), 0)
            progress(len(heard), len(corpus), "decoding")
    return heard, nll, tokens
