"""Decoding and scoring a whole corpus with a model, wherever the model comes from: from the record, or out of a run at work.

Utterances are decoded in batches of like length, longest first: what does not fit in memory fails at once, and short clips do
not wait for long ones. Law: neither the size of batches nor the order of utterances matters beyond rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from training.data.corpus import Corpus
from training.families import Batch, Decoded, device_of
from training.progress import Progress, silent

BATCH = 64


def batches(
    corpus: Corpus, device: torch.device, batch_size: int, transcripts: Sequence[str]
) -> Iterator[tuple[npt.NDArray[np.int64], Batch]]:
    """The corpus in batches of like length, longest first, on the device: numbers of the utterances, and the batch."""
    order = np.argsort(-np.array(corpus.features.frames), kind="stable")
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = corpus.family.collate(
            [corpus.features[int(i)] for i in rows],
            [transcripts[i] for i in rows],
            [corpus.languages[i] for i in rows],
        )
        yield rows, {name: tensor.to(device) for name, tensor in batch.items()}


def hear(
    model: torch.nn.Module,
    corpus: Corpus,
    *,
    batch_size: int = BATCH,
    temperature: float = 1.0,
    progress: Progress = silent,
) -> tuple[list[Decoded], npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Of each utterance: what is heard, the negative log-likelihood of its transcript in nats, and the tokens in that.

    A transcript that the model cannot spell has NaN and 0. The model is used where it is, and left in evaluation mode.
    `temperature` divides logits for the confidences.
    """
    family, model = corpus.family, model.eval()
    spelt = corpus.encodable()
    said = [t if known else "" for t, known in zip(corpus.transcripts, spelt, strict=True)]
    nll = np.full(len(corpus), np.nan)
    tokens = np.zeros(len(corpus), dtype=np.int32)
    heard: dict[int, Decoded] = {}
    with torch.no_grad():
        for rows, plain in batches(corpus, device_of(model), batch_size, said):
            batch = family.encoded(model, plain)
            heard |= zip(rows.tolist(), family.decode(model, batch, temperature=temperature), strict=True)
            sums, counts = family.losses(model, batch)
            nll[rows] = np.where(spelt[rows], sums.double().cpu().numpy(), np.nan)
            tokens[rows] = np.where(spelt[rows], counts.cpu().numpy(), 0)
            progress(len(heard), len(corpus), "decoding")
    return [heard[i] for i in range(len(corpus))], nll, tokens
