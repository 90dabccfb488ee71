"""Greedy decoding, as every family that writes token after token does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Written:
    """Tokens of one utterance without the end token, their log probabilities, and the confidence, which counts it, too."""

    tokens: list[int]
    scores: list[float]
    confidence: float


def greedy(
    advance: Callable[[torch.Tensor | None], torch.Tensor], end: int, room: torch.Tensor, temperature: float
) -> list[Written]:
    """The likeliest token, over and over, until all of B utterances have ended.

    Args:
        advance: logits [B, V] of the next token, given the last ones [B, 1] (None at first).
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
    return [_written(*row, end) for row in zip(ids, each, confidence, strict=True)]


def _written(ids: list[int], scores: list[float], confidence: float, end: int) -> Written:
    count = ids.index(end) if end in ids else len(ids)
    return Written(ids[:count], scores[:count], confidence)
