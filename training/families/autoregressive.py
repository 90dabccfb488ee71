"""What models share that write token after token: what is given and expected, its loss, and greedy decoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from training.families import Decoded, word_confidences

IGNORED = -100  # a label that the loss does not count


def forced(
    prompts: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]], *, pad: int, end: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Prompt and transcript of B utterances as inputs, and at each place of the transcript what has to follow, [B, T] each."""
    width = max(len(p) + len(t) for p, t in zip(prompts, tokens, strict=True))
    inputs = np.full((len(tokens), width), pad, dtype=np.int64)
    labels = np.full((len(tokens), width), IGNORED, dtype=np.int64)
    for i, (prompt, ids) in enumerate(zip(prompts, tokens, strict=True)):
        last = len(prompt) + len(ids)
        inputs[i, :last] = [*prompt, *ids]
        labels[i, len(prompt) - 1 : last] = [*ids, end]
    return inputs, labels


def nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood in nats of `labels` [B, T] under `logits` [B, T, V], summed over each utterance's own [B]."""
    # One row a token: the two-dimensional form has no deterministic kernel on CUDA.
    flat = functional.cross_entropy(
        logits.float().flatten(0, 1), labels.reshape(-1), ignore_index=IGNORED, reduction="none"
    )
    return flat.view(labels.shape).sum(dim=1)


def greedy(
    advance: Callable[[torch.Tensor | None], torch.Tensor],
    text: Callable[[list[int]], str],
    end: int,
    room: torch.Tensor,
    temperature: float,
) -> list[Decoded]:
    """The likeliest token, over and over, until all of B utterances have ended.

    Args:
        advance: logits [B, V] of the next token, given the last ones [B, 1] (None at first).
        text: spells tokens.
        end: the token that ends an utterance.
        room: tokens that each utterance may have at most, its end token included [B].
        temperature: logits are divided by it for the probabilities; it changes no token.
    """
    ended = torch.zeros_like(room, dtype=torch.bool)
    score = torch.zeros_like(room, dtype=torch.float64)
    length = torch.zeros_like(room)
    step: torch.Tensor | None = None
    chosen: list[torch.Tensor] = []
    scores: list[torch.Tensor] = []
    while not bool(ended.all()):
        logits = advance(step).float()
        best = logits.argmax(dim=-1, keepdim=True)
        sure = (logits / temperature).log_softmax(dim=-1).gather(1, best).squeeze(1).double()
        token = torch.where(ended, end, best.squeeze(1))
        score += torch.where(ended, 0.0, sure)
        length += ~ended
        chosen.append(token)
        scores.append(sure)
        ended |= (token == end) | (length >= room)
        step = token[:, None]
    confidence = torch.exp(score / length).tolist()
    ids, each = torch.stack(chosen, dim=1).tolist(), torch.stack(scores, dim=1).tolist()
    return [_decoded(text, end, *row) for row in zip(ids, each, confidence, strict=True)]


def _decoded(
    text: Callable[[list[int]], str], end: int, ids: list[int], scores: list[float], confidence: float
) -> Decoded:
    """Token ids with their log probabilities as text; `confidence` counts the end token, too."""
    tokens = ids[: ids.index(end)] if end in ids else ids
    return Decoded(text(tokens), confidence, word_confidences(text, tokens, scores))
