"""Stores for the dashboard's tests, written through the record's own doors: real sound, real Parquet, invented models.

The speech is tones, ingested and mixed with noise on the record. What the invented model hears follows three rules, so that
every figure can be worked out by hand: it hears the first word of `scot` as "fish", misses the last word under `babble`, and
adds "uh" to clean speech of `us`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from lineage.derivation.derive import transform_set
from lineage.identity import digest_of
from lineage.ingestion.ingest import ingest
from lineage.selection.sets import SampleSet, create_set, members, resolve_set
from lineage.selection.slices import FrozenSlice, Slice, freeze
from lineage.store import Store
from training.evaluation import wer
from training.normalise import normaliser
from training.statistics import bootstrap

RATE = 16_000
WORDS = ("light", "radio", "kitchen", "garden", "seven", "three")
ACCENTS = ("scot", "us")
NOISES = ("babble",)
SPEAKERS = 3  # of each accent, in each split
UTTERANCES = 2  # of each speaker; the first stays clean, the second is mixed with noise


@dataclass
class Known:
    """The store, and what the tests need to know of it."""

    store: Store
    train: SampleSet
    test: SampleSet
    model: str
    predicted: str
    evaluated: str
    slices: dict[str, FrozenSlice] = field(default_factory=dict)  # 'train:scot' …
    audit: str = ""
    values: dict[tuple[uuid.UUID, str], float] = field(default_factory=dict)


def empty(root: Path) -> Store:
    """A store on which nothing is on record."""
    return Store.init(root)


def recorded(root: Path, folder: Path) -> Store:
    """Recordings and their mixes with noise: sets `train` and `test`."""
    store = Store.init(root)
    ingest(store, write_corpus(folder), copy=True, name="speech")
    ingest(store, folder / "noise.jsonl", copy=True, name="noise")
    return mixed(store)


def mixed(store: Store, noises: Sequence[str] = NOISES, snr_db: float = 6.0) -> Store:
    """Lay each noise under its share of every split's speech; sets `train` and `test` of what results."""
    for split in ("train", "test"):
        rows = store.sql(
            "SELECT sample_id, speaker_key FROM samples WHERE kind = 'speech' AND split = $split "
            "ORDER BY speaker_key, sample_id",
            {"split": split},
        ).to_pylist()
        ids = [r["sample_id"] for r in rows]
        parts: list[uuid.UUID] = []
        for share, noise in enumerate(("clean", *noises)):
            with store.run("set", job=f"{split}-{noise}") as run:
                part = create_set(run, ids[share :: 1 + len(noises)], name=f"{split}-{noise}")
            if noise == "clean":
                parts += members(store, part.digest).to_pylist()
                continue
            with store.run("set", job=f"{noise}-{split}") as run:
                pool = store.sql(
                    "SELECT DISTINCT sample_id FROM samples WHERE kind = 'noise' AND noise = $noise", {"noise": noise}
                )["sample_id"].to_pylist()
                beds = create_set(run, pool, name=f"{noise}-{split}-beds")
            made = transform_set(
                store, part.digest, "noise", to=f"{split}-with-{noise}", parameters={"snr_db": snr_db}, seed=7,
                others=beds.digest, attributes={"noise": noise},
            )  # fmt: skip
            parts += members(store, made.digest).to_pylist()
        with store.run("set", job=split) as run:
            create_set(run, parts, name=split, kind="split")
    return store


def write_corpus(folder: Path) -> Path:
    """Tones as speech and a hiss as noise, with their manifests."""
    folder.mkdir(parents=True)
    lines: list[dict[str, str]] = []
    for split, accent, speaker, number in (
        (split, a, f"{split}-{a}-{s}", n)
        for split in ("train", "test")
        for a in ACCENTS
        for s in range(SPEAKERS)
        for n in range(UTTERANCES)
    ):
        draw = np.random.default_rng([len(lines), 1])
        spoken = [WORDS[i] for i in draw.permutation(len(WORDS))[:4]]
        time = np.arange(RATE // 8) / RATE
        tones = [0.3 * np.sin(2 * np.pi * (180 + 60 * WORDS.index(w) + len(lines)) * time) for w in spoken]
        name = f"{speaker}-{number}.wav"
        soundfile.write(folder / name, np.concatenate(tones), RATE, subtype="PCM_16")
        lines.append(
            {
                "audio_path": name, "text": " ".join(spoken), "speaker": speaker, "accent": accent, "split": split,
                "noise": "clean", "source": "tones", "licence": "CC0-1.0",
            }
        )  # fmt: skip
    hiss = np.random.default_rng(5).uniform(-0.3, 0.3, RATE)
    soundfile.write(folder / "hiss.wav", hiss, RATE, subtype="PCM_16")
    noise = {"audio_path": "hiss.wav", "kind": "noise", "noise": "babble", "source": "tones", "licence": "CC-BY-4.0"}
    (folder / "speech.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "noise.jsonl").write_text(json.dumps(noise) + "\n")
    return folder / "speech.jsonl"


def heard(text: str, attributes: Mapping[str, str]) -> str:
    """What the invented model makes of an utterance."""
    words = text.split()
    if attributes.get("accent") == "scot":
        words[0] = "fish"
    if attributes.get("noise") == "babble":
        words.pop()
    elif attributes.get("accent") == "us":
        words.append("uh")
    return " ".join(words)


def trained(store: Store, name: str, *, seed: int = 0, weights: Mapping[str, float] | None = None) -> str:
    """An invented model and its training run; returns its id."""
    data = resolve_set(store, "train")
    ids = members(store, data.digest).to_pylist()
    zero = {i for digest in (weights or {}) for i in members(store, digest).to_pylist()}
    model = digest_of({"name": name, "seed": seed, "weights": dict(weights or {})})
    config = {"recipe": {"name": name}, "weights": dict(weights or {})}
    with store.run("train", job=name, config=config, inputs=[data.digest], seed=seed) as run:
        exposures = [
            {"step": e * len(ids) + i, "position": 0, "epoch": e, "sample_id": s, "weight": 0.0 if s in zero else 1.0}
            for e in range(2)
            for i, s in enumerate(ids)
        ]
        run.append("exposures", exposures)
        row = {
            "model_id": model, "name": name, "family": "whisper", "base": "earmark:whisper-tiny", "parameters": 195_648,
            "trainable": 195_648, "artifact": "0" * 64, "set_digest": data.digest, "seed": seed,
        }  # fmt: skip
        run.append("models", [row])
        run.outputs.append(model)
    return model


def evaluated(store: Store, model: str, *, metrics: bool = True) -> tuple[str, str]:
    """Predictions of the invented model on `test`, and metrics by slice; returns both runs' ids."""
    data = resolve_set(store, "test")
    ids = members(store, data.digest).to_pylist()
    said = store.vault.transcripts(ids)
    rows = {r["sample_id"]: r for r in store.read("samples", ["sample_id", "speaker_key", "attributes"]).to_pylist()}
    hypotheses, predictions = [], []
    for i in sorted(ids, key=lambda i: (str(rows[i]["speaker_key"]), i)):
        speaker, attributes = rows[i]["speaker_key"], dict(rows[i]["attributes"])
        text = heard(said[i], attributes)
        counts = wer.count([said[i]], [text])[0]
        hypotheses.append({"sample_id": i, "hypothesis": text, "speaker_key": speaker})
        predictions.append(
            {
                "model_id": model, "set_digest": data.digest, "sample_id": i, "words": counts.words, "hits": counts.hits,
                "substitutions": counts.substitutions, "deletions": counts.deletions, "insertions": counts.insertions,
                "loss": 0.5 * counts.errors + 0.1, "tokens": counts.words + 1, "confidence": 1 / (1 + counts.errors),
            }
        )  # fmt: skip
    with store.run("evaluate", job="predict", inputs=[model, data.digest]) as first:
        first.append("predictions", predictions)
        first.vault.append("hypotheses", hypotheses)
    if not metrics:
        return first.id, ""
    config = {"predictions": first.id, "level": 0.95, "replicates": 200, "seed": 0, "slices": None}
    with store.run("evaluate", job="evaluate", config=config, parents=[first.id]) as second:
        second.append("metrics", _metrics(model, data.digest, predictions, rows))
    return first.id, second.id


def _metrics(model: str, data: str, predictions: list[dict[str, Any]], rows: Mapping[Any, Any]) -> list[dict[str, Any]]:
    slices: dict[str, list[dict[str, Any]]] = {"all": predictions}
    for p in predictions:
        for name, value in dict(rows[p["sample_id"]]["attributes"]).items():
            if name in ("accent", "noise"):
                slices.setdefault(f"{name}={value}", []).append(p)
    out = []
    for name, members_ in slices.items():
        speakers = [rows[p["sample_id"]]["speaker_key"] for p in members_]
        words = [p["words"] for p in members_]
        wrong = [p["substitutions"] + p["deletions"] + p["insertions"] for p in members_]
        for metric, amounts in (("wer", wrong), ("loss", [p["loss"] for p in members_])):
            i = bootstrap.ratio(amounts, words, speakers, replicates=200)
            out.append(
                {
                    "model_id": model, "set_digest": data, "slice": name, "metric": metric, "value": i.value,
                    "low": None if np.isnan(i.low) else i.low, "high": None if np.isnan(i.high) else i.high,
                    "level": i.level, "speakers": i.blocks, "samples": len(members_), "words": sum(words),
                    "normaliser": normaliser("basic").label,
                }
            )  # fmt: skip
    return out


def audited(store: Store, names: Sequence[str], strength: Mapping[str, float]) -> tuple[str, dict[str, FrozenSlice]]:
    """Effects of leaving each slice out on each: `strength` on itself, a tenth of it elsewhere; returns audit and slices."""
    train, test = resolve_set(store, "train"), resolve_set(store, "test")
    frozen: dict[str, FrozenSlice] = {}
    with store.run("plan", job="tiny") as run:
        for name in names:
            frozen[f"train:{name}"] = freeze(run, Slice.parse(name), train)
        for name in ("all", *names):
            frozen[f"test:{name}"] = freeze(run, Slice("all", "true") if name == "all" else Slice.parse(name), test)
    audit = digest_of({"audit": list(names)})
    rows = []
    for i, left_out in enumerate(names):
        for j, looked_at in enumerate(("all", *names)):
            for metric in ("wer", "loss"):
                value = strength[left_out] * (
                    1.0 if looked_at == left_out else 0.4 if looked_at == "all" else 0.1 * (i - j)
                )
                half = 0.02 + 0.2 * abs(value)
                clear = abs(value) > half
                verdict = ("helps" if value > 0 else "hurts") if clear else "no effect larger than 2 points"
                if not clear and (i + j) % 2:
                    verdict = "not identifiable"
                rows.append(
                    {
                        "audit": audit, "train_slice": left_out, "train_set": frozen[f"train:{left_out}"].set_digest,
                        "eval_slice": looked_at, "eval_set": frozen[f"test:{looked_at}"].set_digest, "metric": metric,
                        "estimate": value, "low": value - half, "high": value + half, "level": 0.95,
                        "control": 0.004, "control_low": -0.01, "control_high": 0.018, "difference": value - 0.004,
                        "difference_low": value - half - 0.01, "difference_high": value + half + 0.01, "seeds": 3,
                        "replicates": 2000, "p": 0.001, "p_adjusted": 0.01, "minimum_detectable": 0.03, "margin": 0.02,
                        "verdict": verdict, "reason": "more errors without it" if clear else "the interval holds zero",
                    }
                )  # fmt: skip
    planted = {**rows[0], "train_slice": "planted", "intervention": "planted"}  # nothing that pages of slices speak of
    with store.run("ablate", job="tiny", config={"audit": audit}) as run:
        run.append("effects", [*rows, planted])
    return audit, frozen


def attributed(
    store: Store, model: str, names: Sequence[str], strength: Mapping[str, float], frozen: Mapping[str, FrozenSlice],
    method: str = "tracin", blur: float = 0.3,
) -> dict[tuple[uuid.UUID, str], float]:  # fmt: skip
    """Influences whose sums over a slice go with `strength`; returns value by sample and evaluation slice."""
    draw = np.random.default_rng(3)
    ids = members(store, resolve_set(store, "train").digest).to_pylist()
    inside = {n: set(members(store, frozen[f"train:{n}"].set_digest).to_pylist()) for n in names}
    values: dict[tuple[uuid.UUID, str], float] = {}
    for target in ("all", *names):
        for i in ids:
            value = sum(
                strength[n] * (1.0 if n == target else 0.4 if target == "all" else 0.05) / len(inside[n])
                for n in names
                if i in inside[n]
            )
            spread = blur * max(abs(s) for s in strength.values()) / len(ids) * len(names)
            values[i, target] = value + spread * float(draw.standard_normal())
    with store.run("attribute", job=method, config={"method": method, "model": model}, inputs=[model]) as run:
        run.append(
            "influences",
            [
                {
                    "model_id": model, "method": method, "target": target,
                    "target_set": frozen[f"test:{target}"].set_digest, "sample_id": i, "value": v,
                    "unit": "nats per reference word", "reduction": "mean over words",
                }
                for (i, target), v in values.items()
            ],
        )  # fmt: skip
    return values


SLICES = ("accent=scot", "accent=us", "noise=babble", "noise=clean")
STRENGTH = {"accent=scot": 0.25, "accent=us": 0.01, "noise=babble": 0.15, "noise=clean": -0.06}


def whole(root: Path, folder: Path) -> Known:
    """Everything: recordings, two models, evaluations, an audit, influences, and a failed run."""
    store = recorded(root, folder)
    model = trained(store, "tiny")
    predicted, metrics = evaluated(store, model)
    known = Known(store, resolve_set(store, "train"), resolve_set(store, "test"), model, predicted, metrics)
    known.audit, known.slices = audited(store, SLICES, STRENGTH)
    without = trained(store, "tiny", weights={known.slices["train:accent=scot"].set_digest: 0.0})
    evaluated(store, without)
    known.values = attributed(store, model, SLICES, STRENGTH, known.slices)
    try:
        with store.run("train", job="broken"):
            raise RuntimeError
    except RuntimeError:
        pass
    return known
