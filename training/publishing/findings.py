"""What is on record of a model, gathered once for everything that is published with it.

The card (`training.publishing.card`), `metrics.json` and `lineage.json` are written from this value alone, so that they
cannot tell of different states of the record. Law: the same record gives the same findings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lineage.proof.log import tree_root
from lineage.selection.sets import SampleSet, resolve_set
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from lineage.subjects import without_folder
from training.models.recorded import Model, behind, pools_behind
from training.publishing import terms


@dataclass(frozen=True)
class Findings:
    """What is on record of a model: rows of `metrics` and `effects`, its training run, its sets, what is behind it."""

    model: Model
    run: RunInfo
    metrics: tuple[Mapping[str, Any], ...]
    effects: tuple[Mapping[str, Any], ...]
    sets: Mapping[str, SampleSet]
    origins: tuple[terms.Origin, ...]
    speakers: Mapping[str, int]  # by digest of the set
    position: int  # of the last run that any of it stands in
    root: str  # of the log up to there

    @property
    def recipe(self) -> dict[str, Any]:
        """The recipe's fields, without folders of this machine; empty if nobody here trained the model by one."""
        fields = self.run.config.get("recipe") or {}
        return {n: without_folder(v) if isinstance(v, str) else v for n, v in fields.items()}

    @property
    def opens(self) -> dict[str, Any]:
        """How the model is opened (see `training.models.recorded.opening`); empty if no family knows it."""
        return self.run.config.get("opens") or {}

    @property
    def method(self) -> str:
        """'lora' where the weights are adapters, else 'full'."""
        return str(self.opens.get("method", "full"))

    @property
    def base(self) -> str:
        """What it was fine-tuned from, without the folders of this machine; empty if that is not on record."""
        return without_folder(self.recipe.get("base") or self.model.base or "")

    @property
    def name(self) -> str:
        """What the model is called, without the folders of this machine."""
        return without_folder(self.model.name)

    @property
    def tested(self) -> list[SampleSet]:
        """The sets that its figures are of."""
        return [self.sets[d] for d in dict.fromkeys(m["set_digest"] for m in self.metrics)]


def findings(store: Store, model: Model) -> Findings:
    """Everything that a card tells of a model."""
    metrics = store.sql(
        """SELECT * FROM metrics WHERE model_id = ? AND baseline IS NULL
        QUALIFY row_number() OVER (PARTITION BY metric, slice, set_digest, normaliser ORDER BY run_id DESC) = 1
        ORDER BY set_digest, normaliser, metric, slice <> 'all', slice""",
        [model.model_id],
    ).to_pylist()
    run = store.resolve_run(model.run_id)
    effects = _effects(store, model, run)
    chain = behind(store, model)
    trained = [m.model_id for m in chain if m.set_digest is not None]
    origins = terms.behind_models(store, trained) if trained else []
    origins += [o for p in pools_behind(store, chain) for o in terms.behind_set(store, p) if o not in origins]
    digests = {d for d in (*(m.set_digest for m in chain), *(m["set_digest"] for m in metrics)) if d is not None}
    told = {run.id, *(row["run_id"] for row in (*metrics, *effects))}
    position = max(e.position for e in store.log.entries() if e.run in told)
    return Findings(
        model,
        run,
        tuple(metrics),
        tuple(effects),
        {d: resolve_set(store, d) for d in sorted(digests)},
        tuple(origins),
        {d: speakers_in(store, d) for d in sorted(digests)},
        position,
        tree_root(store.log.leaves()[: position + 1]).hex(),
    )


def _effects(store: Store, model: Model, run: RunInfo) -> list[Mapping[str, Any]]:
    """The newest audit of this model's recipe on its training set, as far as it left slices out."""
    audits = [
        r.id
        for r in store.runs()
        if r.kind == "ablate" and r.status == "completed" and r.job == run.job and model.set_digest in r.inputs
    ]
    if not audits:
        return []
    query = (
        "SELECT * FROM effects WHERE run_id = ? AND coalesce(intervention, 'remove') = 'remove' "
        "ORDER BY metric DESC, train_slice, eval_slice"
    )
    rows: list[Mapping[str, Any]] = store.sql(query, [audits[-1]]).to_pylist()
    return rows


def speakers_in(store: Store, digest: str) -> int:
    """How many speakers are heard in a set."""
    query = """
        SELECT count(DISTINCT speaker_key) AS n FROM samples
        WHERE sample_id IN (SELECT sample_id FROM members WHERE set_digest = ?)"""
    return int(store.sql(query, [digest])["n"][0].as_py())


def on_hub(base: str) -> bool:
    """Whether a base was named by a hub id, so that others can have it from there."""
    return base.count("/") == 1 and ":" not in base


def metrics_json(found: Findings) -> str:
    """Every figure on record of the model, as JSON."""
    named = [{**m, "set": found.sets[m["set_digest"]].name} for m in found.metrics]
    return json.dumps(named, indent=1, ensure_ascii=False, default=str) + "\n"
