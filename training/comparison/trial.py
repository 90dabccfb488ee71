"""Two models on new traffic that nobody has transcribed: how often they hear the same, and how sure each of them is.

Which of them is right nobody can say without words; but where they agree a change of model changes nothing, and how far they
disagree bounds how far their error rates can lie apart: by the triangle inequality of edit distances, |WER difference| is at
most the word disagreement over the words that were said. Transcribed traffic is recorded as a set and compared as any other
(`training.comparison.compare`).

| metric | is |
| --- | --- |
| `agreement` | utterances heard alike, after the normaliser / utterances |
| `disagreement` | Σ words to edit from one hypothesis to the other / Σ half the words of both |
| `confidence_first`, `confidence_second` | mean confidence of what was heard |
| `confidence_difference` | the first's minus the second's |

Intervals resample utterances, or folders where the sounds lie in folders below the one given, as for one of each user. Laws:
exchanging the models changes signs and names alone; nothing is kept but the figures, no sound, no words, no path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lineage.errors import EarmarkError
from lineage.finite import finite
from lineage.identity import audio_digest, digest_of
from lineage.manifests import RowRefused, open_manifest
from lineage.manifests.audiofolder import AUDIO
from lineage.manifests.entries import entry
from lineage.sound.audio import read_audio
from lineage.store import Store
from training.determinism import deterministic, pick_device
from training.evaluation import wer
from training.evaluation.hearing import BATCH
from training.evaluation.predict import temperature_of
from training.families import Decoded, Family, Features
from training.models.recorded import Opened, open_model, resolve_two
from training.normalise import Normaliser, normaliser
from training.progress import Progress, silent
from training.statistics import bootstrap

METRICS = ("agreement", "disagreement", "confidence_first", "confidence_second", "confidence_difference")


@dataclass(frozen=True)
class Trial:
    """The figures of two models on some traffic; `refused` tells of sounds that could not be heard, one line each."""

    run_id: str
    first: str
    second: str
    utterances: int
    figures: dict[str, bootstrap.Interval]
    refused: tuple[str, ...]


@dataclass(frozen=True)
class _Heard:
    """One utterance: which block it belongs to, the key of its sound, and what each model heard."""

    block: str | None
    key: str
    first: Decoded
    second: Decoded


def transcribed(path: Path) -> bool:
    """Whether the manifest or folder at `path` has words to any of its sounds.

    Raises:
        EarmarkError: it is not a manifest, or a file of rows none of which has words.
    """
    for row in open_manifest(path).rows():
        try:
            if not isinstance(row.values, RowRefused) and entry(row.values).text is not None:
                return True
        except RowRefused:
            continue
    if not path.is_dir():
        raise EarmarkError(f"{path}: no row of it has words — give words, or the folder in which the sounds lie")
    return False


def listen(
    store: Store,
    first: str,
    second: str,
    folder: Path,
    *,
    normalise: str = "basic",
    level: float = bootstrap.LEVEL,
    replicates: int = bootstrap.REPLICATES,
    seed: int = 0,
    batch_size: int = BATCH,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = silent,
) -> Trial:
    """Let two models hear every sound below a folder.

    Args:
        store: where the models are and the run goes.
        first: name, `@alias`, `name@version`, id or beginning of an id of one model.
        second: and of the other.
        folder: where the sounds lie, at any depth.
        normalise: normaliser of what is heard.
        level: confidence level of the intervals.
        replicates: bootstrap replicates.
        seed: of the bootstrap.
        batch_size: utterances decoded together.
        device: 'cpu', 'cuda' or 'auto'.
        threads: arithmetic threads.
        progress: told of utterances.

    Raises:
        EarmarkError: no such model, both are one, or there is no sound that can be heard.
    """
    ids = [m.model_id for m in resolve_two(store, first, second)]
    text = normaliser(normalise)
    place = pick_device(device)
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO and p.is_file())
    if not files:
        raise EarmarkError(f"{folder}: there is no sound below it ({', '.join(AUDIO)}) — give the folder that has them")
    refused: list[str] = []
    settings = {
        "first": ids[0], "second": ids[1], "normaliser": text.label, "level": level, "replicates": replicates,
        "device": place, "threads": threads,
    }  # fmt: skip
    with deterministic(threads), store.run("trial", config=settings, inputs=ids, seed=seed, package="training") as run:
        models = [open_model(store, i) for i in ids]
        warmth = [temperature_of(store, i) for i in ids]
        for opened in models:
            opened.model.to(place).eval()
        heard: list[_Heard] = []
        for batch in _sounds(store, folder, files, [m.family for m in models], batch_size, refused):
            told = [
                _decode(opened, [sound.features[i] for sound in batch], place, warmth[i])
                for i, opened in enumerate(models)
            ]
            heard += [_Heard(s.block, s.key, a, b) for s, a, b in zip(batch, *told, strict=True)]
            progress(len(heard) + len(refused), len(files), "decoding")
        if not heard:
            raise EarmarkError(f"none of {len(files)} sounds can be heard (first: {refused[0]}) — mend them")
        figures = _figures(heard, text, {"level": level, "replicates": replicates, "seed": seed})
        run.result |= {
            "traffic": digest_of(sorted(h.key for h in heard)),
            "utterances": len(heard),
            "refused": len(refused),
            "figures": {
                name: finite({"value": f.value, "low": f.low, "high": f.high, "blocks": f.blocks})
                for name, f in figures.items()
            },
        }
    return Trial(run.id, ids[0], ids[1], len(heard), figures, tuple(refused))


@dataclass(frozen=True)
class _Sound:
    block: str | None
    key: str
    features: tuple[Features, ...]  # of each model


def _sounds(
    store: Store, folder: Path, files: Sequence[Path], families: Sequence[Family], batch_size: int, refused: list[str]
) -> Iterator[list[_Sound]]:
    """The sounds in batches; what cannot be heard goes to `refused`."""
    batch: list[_Sound] = []
    for path in files:
        place = path.relative_to(folder)
        try:
            wave = read_audio(path, name=place.as_posix())
            features = tuple(family.features(wave) for family in families)
        except EarmarkError as error:
            refused.append(str(error))
            continue
        key = str(store.vault.audio_key(audio_digest(wave.pcm, wave.rate)))
        batch.append(_Sound(place.parts[0] if len(place.parts) > 1 else None, key, features))
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def _decode(opened: Opened, features: Sequence[Features], device: str, temperature: float) -> list[Decoded]:
    batch = opened.family.collate(features, [""] * len(features))
    with torch.no_grad():
        return opened.family.decode(opened.model, {n: t.to(device) for n, t in batch.items()}, temperature=temperature)


def _figures(heard: Sequence[_Heard], text: Normaliser, options: dict[str, Any]) -> dict[str, bootstrap.Interval]:
    blocks = np.array([h.block for h in heard], dtype=object)
    first, second = ([text(getattr(h, side).text) for h in heard] for side in ("first", "second"))
    ones = np.ones(len(heard))
    alike = np.array([a == b for a, b in zip(first, second, strict=True)], dtype=float)
    edits = np.array([c.errors for c in wer.count(first, second)], dtype=float)
    words = np.array([(len(a.split()) + len(b.split())) / 2 for a, b in zip(first, second, strict=True)])
    sure = [np.array([getattr(h, side).confidence for h in heard]) for side in ("first", "second")]
    parts = ((alike, ones), (edits, words), (sure[0], ones), (sure[1], ones), (sure[0] - sure[1], ones))
    return {
        name: bootstrap.ratio(above, below, blocks, **options)
        for name, (above, below) in zip(METRICS, parts, strict=True)
    }
