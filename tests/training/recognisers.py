"""Recognisers that hear what a test wants: models, sets and record are real, only what is heard is made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pytest
import torch

from lineage.store import Store
from training.data.corpus import Corpus
from training.evaluation import predict
from training.families import Decoded
from training.models.recorded import Opened

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int32]
Hearing = Callable[[str, Mapping[str, str]], str]  # from the transcript and the attributes to what is heard


def perfect(said: str, _: Mapping[str, str]) -> str:
    """Every word as it was said."""
    return said


def deaf_to(**attributes: str) -> Hearing:
    """Nothing right where the attributes are these, and all right elsewhere."""

    def hear(said: str, found: Mapping[str, str]) -> str:
        return "x" if attributes.items() <= found.items() else said

    return hear


def listen(monkeypatch: pytest.MonkeyPatch, hearing: Mapping[str, Hearing]) -> None:
    """From now on models, by their ids, hear by `hearing` instead of decoding."""
    names: dict[int, str] = {}
    real = predict.open_model

    def opening(store: Store, ref: str) -> Opened:
        opened = real(store, ref)
        names[id(opened.model)] = opened.record.model_id
        return opened

    def decode(model: torch.nn.Module, corpus: Corpus, **_: object) -> tuple[list[Decoded], Floats, Counts]:
        hear = hearing[names[id(model)]]
        attributes = [dict(a or ()) for a in corpus.samples["attributes"].to_pylist()]
        heard = [hear(said, found) for said, found in zip(corpus.spoken, attributes, strict=True)]
        decoded = [Decoded(text, 0.5, (0.5,) * len(text.split())) for text in heard]
        return decoded, np.ones(len(heard)), np.ones(len(heard), dtype=np.int32)

    monkeypatch.setattr(predict, "open_model", opening)
    monkeypatch.setattr(predict, "hear", decode)
