"""Models on record: found by name or id, and opened with the family that made them.

A model's run says how it is to be opened (family, base, language, task, transcripts, adapters). Its files are an artifact:
for a fully trained model a complete checkpoint in the format of `transformers`, for LoRA the adapters alone. The files of
small bases are kept in the store as well, so that what stands on them can be opened when the base has changed or is gone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from lineage import aliases
from lineage.chain import SCHEME
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.runs import Run
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from training.families import Family, open_family
from training.families.base import Base, find_base
from training.models import handover, lora
from training.models.weights import weights_digest

KEPT_BASE = 64 << 20  # bytes of a base that the store keeps a copy of


@dataclass(frozen=True)
class Model:
    """One model on record, as the newest run that made it tells."""

    model_id: str
    name: str
    family: str
    base: str
    artifact: str
    set_digest: str | None
    seed: int | None
    run_id: str


@dataclass(frozen=True, eq=False)
class Opened:
    """A model ready for use: in evaluation mode, float32, on the CPU."""

    record: Model
    family: Family
    model: torch.nn.Module
    transcripts: str


def opening(recipe_fields: dict[str, Any], base: Base, kept: str | None) -> dict[str, Any]:
    """What a run notes under `opens`: everything that `open_model` needs besides the artifact."""
    names = ("family", "language", "task", "transcripts", "method")
    return {**{n: recipe_fields[n] for n in names}, "base": {"ref": base.ref, "digest": base.digest, "artifact": kept}}


def models(store: Store) -> list[Model]:
    """All models on record, oldest run first."""
    columns = ["model_id", "name", "family", "base", "artifact", "set_digest", "seed", "run_id"]
    rows = store.sql(f"SELECT {', '.join(columns)} FROM models ORDER BY run_id").to_pylist()
    return [Model(**row) for row in rows]


def resolve_model(store: Store, ref: str) -> Model:
    """The model meant by a name (the newest of that name), `@alias`, `name@version`, an id, or the beginning of an id.

    Raises:
        UnknownName, AmbiguousName: no such model, or several.
    """
    chosen = aliases.resolve_model(store, ref)
    if chosen.kind == "model" and chosen.digest == ref:
        return Model(**{f.name: chosen.facts[f.name] for f in fields(Model)})
    same = [m for m in models(store) if m.model_id == chosen.digest]
    return next((m for m in reversed(same) if m.name == ref), same[-1])


def resolve_two(store: Store, first: str, second: str) -> tuple[Model, Model]:
    """Two models that are to be told apart.

    Raises:
        EarmarkError: no such models, or both are one.
    """
    a, b = resolve_model(store, first), resolve_model(store, second)
    if a.model_id == b.model_id:
        raise EarmarkError(f"'{first}' and '{second}' are one model, {a.model_id[:12]} — give two")
    return a, b


def behind(store: Store, model: Model) -> list[Model]:
    """A model and those that it was trained from, and they from, as far as they are on record."""
    made = {key: m for m in models(store) for key in (m.model_id, m.artifact)}
    chain: dict[str, Model] = {}
    waiting = [model]
    while waiting:
        one = waiting.pop()
        chain[one.model_id] = one
        above = [made[d] for d in store.resolve_run(one.run_id).inputs if d in made]
        waiting += [m for m in above if m.model_id not in chain]
    return list(chain.values())


def pools_of(config: dict[str, Any]) -> list[str]:
    """Digests of further sets that a training run took from, by its configuration: what augmentation draws, substitutes."""
    noted = [config.get("augment", ()), *config.get("augment_for", {}).values()]
    drawn = {a["others"] for augment in noted for a in augment if a["others"]}
    return sorted(drawn | ({config["substitutes_set"]} if "substitutes_set" in config else set()))


def pools_behind(store: Store, chain: Iterable[Model]) -> list[str]:
    """The same of all the runs that trained some models."""
    return sorted({p for m in chain for p in pools_of(store.resolve_run(m.run_id).config)})


def open_model(store: Store, ref: str, *, attention: str = "eager") -> Opened:
    """Open a model on record; the one that this process trained last is at hand (`training.models.handover`).

    Raises:
        EarmarkError: it is not there, of no family, or the base that its adapters need is neither where it was nor in the
            store.
    """
    record = resolve_model(store, ref)
    opens = store.resolve_run(record.run_id).config.get("opens")
    if opens is None:
        raise EarmarkError(
            f"model {record.name} is of no family that is known here (a script of its own trained it) — its files are "
            f"{store.artifact(record.artifact)}"
        )
    folder = store.artifact(record.artifact)
    whole = opens["method"] == "full"
    # Opened on its base, not on its own files, so that models of one base share tokeniser, features and corpora.
    base = noted_base(store, opens["base"], Base(f"model {record.name}", folder) if whole else None)
    family = open_family(opens["family"], base, language=opens["language"], task=opens["task"])
    model = handover.take(store, record.model_id, attention)
    if model is None and whole:
        model = family.model(folder, attention=attention)
    elif model is None:
        model = lora.load(family.model(attention=attention), folder)
    return Opened(record, family, model, opens["transcripts"])


def noted_base(store: Store, noted: dict[str, Any], stand_in: Base | None = None) -> Base:
    """The base as it was, by what a run noted (see `opening`); else the store's copy of it; else `stand_in`.

    Raises:
        EarmarkError: there is none of these.
    """
    problem = "is gone"
    if not noted["ref"].startswith(SCHEME):
        try:
            base = find_base(noted["ref"])
            if base.digest == noted["digest"]:
                return base
            problem = "has changed since"
        except EarmarkError:
            pass
    if noted["artifact"] is not None:
        return Base(noted["ref"], store.artifact(noted["artifact"]))
    if stand_in is not None:
        return stand_in
    raise EarmarkError(
        f"base {noted['ref']} {problem} and was too large to keep — restore the one with digest {noted['digest']}"
    )


def keep_base(run: Run, base: Base) -> str | None:
    """Keep a copy of a small base in the store; its digest, or None if it is large."""
    if base.bytes > KEPT_BASE:
        return None
    if run.keep_on(base.digest):  # a base has the same digest there
        return base.digest
    with tempfile.TemporaryDirectory(prefix="earmark-") as scratch:
        base.copy_to(Path(scratch))
        return run.put(Path(scratch))


def adopt_base(
    store: Store, base_ref: str, *, family: str = "whisper", language: str | None = None, task: str | None = None
) -> Model:
    """Put a base on the record as a model that nobody here trained, so that it can be evaluated beside its children."""
    base = find_base(base_ref)
    opened = open_family(family, base, language=language, task=task)
    fields = {"family": family, "language": language, "task": task, "transcripts": "none", "method": "full"}
    key = digest_of({"adopt": base.digest, "family": family, "language": language, "task": task})
    done: RunInfo | None = store.find_run(key)
    if done is None:
        config = {"opens": opening(fields, base, None)}
        with store.run("adopt", job=base_ref, config=config, key=key, inputs=[base.digest], package="training") as run:
            record_model(run, opened, opened.model(), name=base_ref, method="full", set_digest=None, seed=None)
        done = store.resolve_run(run.id)
    return resolve_model(store, done.result["model_id"])


def record_model(
    run: Run,
    family: Family,
    model: torch.nn.Module,
    *,
    name: str,
    method: str,
    set_digest: str | None,
    seed: int | None,
    known: str | None = None,
    parent: Model | None = None,
) -> str:
    """Keep a model's files, write its row and note id and artifact in the run's result; returns its id.

    `known` is the id of a model that is on record: should it be this very model, it is not put there once more. `parent` is
    the model on record that it was continued from.
    """
    with tempfile.TemporaryDirectory(prefix="earmark-") as scratch:
        folder = Path(scratch)
        if method == "lora":
            lora.save(model, family.base, folder)
            model_id = weights_digest(folder, family.base.digest)
        else:
            family.save(model, folder)
            model_id = weights_digest(folder)
        artifact = run.put(folder)
    return note_model(
        run,
        model,
        model_id=model_id,
        artifact=artifact,
        name=name,
        family=family.name,
        base=family.base.ref if parent is None else f"{SCHEME}{parent.model_id}",
        set_digest=set_digest,
        seed=seed,
        known=known,
    )


def note_model(
    run: Run,
    model: torch.nn.Module,
    *,
    model_id: str,
    artifact: str,
    name: str,
    family: str,
    base: str | None,
    set_digest: str | None,
    seed: int | None,
    known: str | None = None,
) -> str:
    """Write the row of a model whose files are kept, and note id and artifact in the run's result; returns the id.

    `known` is as for `record_model`.
    """
    size = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    row = {
        "model_id": model_id,
        "name": name,
        "family": family,
        "base": base,
        "parameters": size,
        "trainable": trained if set_digest is not None else 0,
        "artifact": artifact,
        "set_digest": set_digest,
        "seed": seed,
    }
    if model_id != known:
        run.append("models", [row])
    run.outputs += [model_id, artifact]
    run.result |= {"model_id": model_id, "artifact": artifact, "parameters": size, "trainable": row["trainable"]}
    return model_id
