"""Everything that is on record of one audit: what was declared and when, what was trained, what was found, what it cost.

Only published runs and their rows are read, so audits from before there were plans in files can be reported as well; what
was not recorded then is None or empty here.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from influence.plans.checks import Check, check, met
from influence.plans.hypotheses import Answer
from influence.report import words
from influence.report.beside import Beside, beside
from influence.statistics.effects import Effect
from influence.statistics.panels import METRICS
from lineage.errors import AmbiguousName, EarmarkError, UnknownName
from lineage.identity import hex_prefix
from lineage.proof.verifier import checkpoint_text
from lineage.selection.sets import SampleSet, sample_sets
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from lineage.subjects import without_folder
from training.comparison.costs import Cost, costs, total

FEWEST_DIGITS = 4
ENVIRONMENT = (
    "python", "platform", "system", "machine", "cpu", "capability", "gpus", "gpu_driver", "cuda", "threads", "code", "packages",
    "installed",
)  # fmt: skip
RAISED = re.compile(r"(?:\w+\.)*([A-Z]\w*)(?::|$)")


@dataclass(frozen=True)
class Entry:
    """A run and its place in the log; `manifest` is the SHA-256 that the log holds of it. Times are UTC."""

    run: str
    position: int
    manifest: str
    started: datetime
    ended: datetime


@dataclass(frozen=True)
class Costs:
    """What the audit took, trainings and their evaluations together (see `training.comparison.costs`).

    `retrainings` were needed, of the `planned` ones; `before` of them were on record when the plan was registered, and what
    they had cost is `saved`, not `spent`. `wall_s` is from the plan's registration to the end of the audit.
    """

    retrainings: int
    planned: int
    before: int
    spent: Cost
    saved: Cost
    wall_s: float | None


@dataclass(frozen=True)
class Setting:
    """An environment with the version of the code, and how many of the retrainings ran in it."""

    retrainings: int
    code: str
    environment: Mapping[str, Any]


@dataclass(frozen=True)
class AuditRecord:
    """One audit. `declared` is the configuration of its plan, `laid_out` what the plan came to, without folders of a machine.

    `failures` gives the kind of error by retraining, `stopped` the look that the budget did not reach for. `model` is a
    retraining on all data, where one is on record; `beside` are games, gaps, forecasts and discoveries about the same recipe,
    model and sets.
    """

    audit: str
    name: str
    entry: Entry
    plan: Entry | None
    first: Entry | None
    declared: Mapping[str, Any]
    declaration: Mapping[str, Any]
    laid_out: Mapping[str, Any]
    train: SampleSet | None
    evaluation: SampleSet | None
    effects: tuple[Effect, ...]
    answers: tuple[Answer, ...]
    checks: tuple[Check, ...]
    failed: tuple[str, ...]
    failures: Mapping[str, str]
    stopped: str
    costs: Costs
    settings: tuple[Setting, ...]
    code: str
    model: str | None
    checkpoint: Mapping[str, Any]
    public_key: str
    beside: Beside

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics with an effect, WER and loss first, unknown ones last."""
        there = {e.metric for e in self.effects}
        known = [m for m in METRICS if m in there]
        return (*known, *sorted(there - set(known)))

    @property
    def level(self) -> float | None:
        """Confidence level of the intervals."""
        return self.declaration.get("level") or next((e.level for e in self.effects if e.level), None)

    @property
    def amends(self) -> str | None:
        """The plan that this one changes."""
        return self.declared.get("amends")


def read(store: Store, ref: str) -> AuditRecord:
    """The newest results of the audit that is meant by its digest, by one of its runs (or their beginnings), or by its name.

    Raises:
        UnknownName, AmbiguousName: there is no such audit, or several.
    """
    runs = {r.id: r for r in store.runs()}
    done = _find(runs, ref)
    plan = runs.get(done.config.get("plan") or done.result.get("plan") or "")
    parents = [runs[p] for p in done.parents if p in runs]
    trained = sorted((r for r in parents if r.kind == "train"), key=lambda r: (r.started, r.id))
    places = {e.run: e for e in store.log.entries()}

    def entry(run: RunInfo) -> Entry:
        place = places[run.id]
        return Entry(run.id, place.position, place.manifest, run.started, run.ended)

    effects = tuple(_effects(store, done))
    declared: dict[str, Any] = _public(plan.config) if plan else {}
    answers = tuple(Answer(**a) for a in done.result.get("hypotheses", ()))
    failures = {label: kind_of(error) for label, error in sorted(done.result.get("failures", {}).items())}
    checks = check(effects, planted=bool(declared.get("planted")), null=declared.get("null") or ())
    since = [r for r in trained if plan is None or places[r.id].position > places[plan.id].position]
    sets = {s.digest: s for s in reversed(sample_sets(store))}  # by the name that each had first
    data = [sets.get(digest) for digest in (*done.inputs, "", "")[:2]]
    whole = [r.id for r in trained if not _changed(r, done, plan)]
    around = beside(store, runs, done, plan, whole)
    gaps = [g.report for g in around.gaps if g.planned]
    return AuditRecord(
        audit=done.config["audit"],
        name=_name(done, plan),
        entry=entry(done),
        plan=entry(plan) if plan else None,
        first=entry(since[0]) if since else None,
        declared=declared,
        declaration=_public(done.config.get("declaration") or {}),
        laid_out=plan.result if plan else {},
        train=data[0],
        evaluation=data[1],
        effects=effects,
        answers=answers,
        checks=checks,
        failed=met(declared.get("fail_on") or (), effects, answers, checks, failures, gaps),
        failures=failures,
        stopped=done.result.get("stopped", ""),
        costs=_costs(store, done, plan, trained, since),
        settings=_settings(trained),
        code=done.code_version,
        model=next(iter(whole), None),
        checkpoint=_checkpoint(store),
        public_key=json.loads((store.root / "earmark.json").read_text())["public_key"],
        beside=around,
    )


def checkpoint_of(record: AuditRecord) -> str:
    """The signed checkpoint as it is written to a file."""
    return checkpoint_text(dict(record.checkpoint)).decode()


def _find(runs: Mapping[str, RunInfo], ref: str) -> RunInfo:
    done = [r for r in runs.values() if r.kind == "ablate" and r.status == "completed" and "audit" in r.config]
    newest = {r.config["audit"]: r for r in done}
    named = [r for r in newest.values() if ref in (_name(r, runs.get(r.config.get("plan", ""))), r.job)]
    prefix = hex_prefix(ref) or ""
    if not named and len(prefix) >= FEWEST_DIGITS:
        named = [r for audit, r in newest.items() if audit.startswith(prefix)]
        if not named:
            named = [
                r for r in done if any(i.replace("-", "").startswith(prefix) for i in (r.id, r.config.get("plan", "")))
            ]
    if not named:
        raise UnknownName("audit", ref, (audit[:12] for audit in newest))
    if len({r.config["audit"] for r in named}) > 1:
        raise AmbiguousName("audit", ref, sorted(r.config["audit"][:12] for r in named))
    return named[-1]


def _name(done: RunInfo, plan: RunInfo | None) -> str:
    return str((plan.config.get("name") if plan else None) or done.job or "audit")


def _effects(store: Store, done: RunInfo) -> Iterable[Effect]:
    names = [f.name for f in fields(Effect)]
    for row in store.read("effects", names, "run_id = ?", [done.id]).to_pylist():
        effect = Effect(**{**row, "intervention": row["intervention"] or "remove"})
        yield replace(effect, phrase=words.done(effect))


def _costs(
    store: Store, done: RunInfo, plan: RunInfo | None, trained: Sequence[RunInfo], since: Sequence[RunInfo]
) -> Costs:
    number = int(done.result.get("retrainings", len(trained)))
    new, every, tested_on = {r.id for r in since}, {r.id for r in trained}, set(done.inputs[1:])
    spent: list[Cost] = []
    saved: list[Cost] = []
    for run, cost in costs(store):
        tests = run.kind == "evaluate" and tested_on & set(run.inputs)
        models = {run.id} if run.id in every else every & set(run.parents) if tests else set()
        if models:
            (spent if models & new else saved).append(cost)
    return Costs(
        retrainings=number,
        planned=int(done.result.get("planned", number)),
        before=len(trained) - len(since),
        spent=total(spent),
        saved=total(saved),
        wall_s=(done.ended - plan.ended).total_seconds() if plan else done.result.get("wall_s"),
    )


def _settings(trained: Iterable[RunInfo]) -> tuple[Setting, ...]:
    found: Counter[tuple[str, str]] = Counter()
    for r in trained:
        kept = {name: r.environment[name] for name in ENVIRONMENT if name in r.environment}
        found[(r.code_version, json.dumps({**kept, "threads": r.threads}, sort_keys=True))] += 1
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Setting(n, code, json.loads(environment)) for (code, environment), n in ordered)


def _changed(training: RunInfo, done: RunInfo, plan: RunInfo | None) -> bool:
    """Whether anything but the seed was other than the recipe on all data; of the recipe's fields only steps may be."""
    otherwise = any(training.config.get(name) for name in ("weights", "substitutes", "augment_for"))
    if plan is not None and "recipe" in plan.config and "recipe" in training.config:
        otherwise = otherwise or training.config["recipe"].get("steps") != plan.config["recipe"].get("steps")
    return otherwise or training.inputs[:1] != done.inputs[:1]


def _checkpoint(store: Store) -> dict[str, Any]:
    path = store.root / "log" / "checkpoint.json"
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise EarmarkError(
            f"{path} cannot be read: {error} — write it anew with: earmark checkpoint > {path}"
        ) from error
    return found


def _public(value: Any) -> Any:
    """A configuration without the folders of the machine that it was written on."""
    if isinstance(value, str):
        return without_folder(value) if " " not in value else value
    if isinstance(value, Mapping):
        return {k: _public(v) for k, v in value.items()}
    return [_public(v) for v in value] if isinstance(value, list | tuple) else value


def kind_of(error: str) -> str:
    """The kind of an error; its message may name a file or a person and stays in the store."""
    lines = error.strip().splitlines()
    raised = RAISED.match(lines[-1]) if lines else None
    return raised[1] if raised else "an error"
