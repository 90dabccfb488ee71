"""The report for programs: one JSON document whose shape is fixed by `schema.json` and named by `FORMAT`.

Law: within a format fields are only ever added. Figures are in the units of the record (0.02 is two points of WER), unknown
ones are null, and the same record gives the same document.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from importlib import resources
from typing import Any

from influence.causes.compared import plain
from influence.causes.foreseen import Forecasts
from influence.games.worth import InteractionReport
from influence.report.beside import Compared, Search
from influence.report.reading import commands
from influence.report.record import AuditRecord, kind_of
from lineage.finite import finite
from lineage.selection.sets import SampleSet

FORMAT = "earmark.audit-report.v1"
UNITS = {
    "wer": "errors per reference word", "loss": "nats per reference word", "cer": "errors per reference character",
    "entity_errors": "share of entities that are wrong", "ece_utterance": "expected calibration error, 0 to 1",
    "ece_word": "expected calibration error of words, 0 to 1",
}  # fmt: skip


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the document."""
    found: dict[str, Any] = json.loads(resources.files("influence.report").joinpath("schema.json").read_text())
    return found


def to_json(record: AuditRecord) -> dict[str, Any]:
    """The document."""
    value = {
        "format": FORMAT,
        "audit": record.audit,
        "name": record.name,
        "run": asdict(record.entry),
        "plan": asdict(record.plan) if record.plan else None,
        "first_retraining": asdict(record.first) if record.first else None,
        "amends": record.amends,
        "declared": record.declared,
        "declaration": record.declaration,
        "sets": {"train": _set(record.train), "evaluation": _set(record.evaluation)},
        "slices": {"train": record.laid_out.get("train") or [], "evaluation": record.laid_out.get("tested") or []},
        "hypotheses": [a.to_json() for a in record.answers],
        "units": {m: UNITS.get(m) for m in record.metrics},
        "effects": [asdict(e) for e in record.effects],
        "checks": [asdict(c) for c in record.checks],
        "games": [_game(g) for g in record.beside.games],
        "gaps": [_gap(g) for g in record.beside.gaps],
        "forecasts": [_forecast(f) for f in record.beside.forecasts],
        "discoveries": [_search(s) for s in record.beside.searches],
        "failed": list(record.failed),
        "failures": dict(record.failures),
        "stopped": record.stopped or None,
        "costs": asdict(record.costs),
        "code": record.code,
        "environments": [asdict(s) for s in record.settings],
        "commands": commands(record),
        "checkpoint": dict(record.checkpoint),
        "public_key": record.public_key,
    }
    document: dict[str, Any] = _plain(value)
    return document


def _set(found: SampleSet | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"digest": found.digest, "name": found.name, "size": found.size, "duration_s": found.duration_s}


def _game(game: InteractionReport) -> dict[str, Any]:
    failures = {label: kind_of(error) for label, error in game.failures.items()}
    rows = [asdict(r) for r in game.rows]
    return {"run": game.run_id, "game": game.game, "method": game.method, "retrainings": game.retrainings,
            "failures": failures, "rows": rows}  # fmt: skip


def _gap(g: Compared) -> dict[str, Any]:
    graph = g.graph.model_dump(mode="json") if g.graph else None
    found = plain(g.report) if g.report else None
    run = g.report.run_id if g.report else None
    return {"slice": g.slice, "planned": g.planned, "graph": graph, "run": run, "found": found, "error": g.error}


def _forecast(f: Forecasts) -> dict[str, Any]:
    measured = {name: [list(point) for point in points] for name, points in f.measured.items()}
    return {"run": f.run_id, "target": f.target, "measured": measured, "rows": [asdict(r) for r in f.rows]}


def _search(s: Search) -> dict[str, Any]:
    found = [{**asdict(f.candidate), "tested_set": f.tested_set, "gap": asdict(f.gap)} for f in s.found]
    return {"run": s.run_id, "by": s.by, "searched": s.searched, "tested": s.tested, "level": s.level, "slices": found}


def _plain(value: Any) -> Any:
    """As JSON has it: times in ISO 8601, what is not finite null."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return finite(value)
