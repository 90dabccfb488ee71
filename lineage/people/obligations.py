"""What an erasure leaves owing, and how it is made good.

A model that consumed something erased, or was trained from such a model, owes a retrain; an export that carried it owes a
withdrawal, for it left the store. Each is settled by an event of its own that says who did it and why:

    retired       the model is in use no more
    withdrawn     the export was called back (or the model, where it was published)
    retrained     another model, its successor, has taken the model's place

A younger model of the same name is a successor without anybody saying so. Laws: neither what is owed nor what settled it is
ever overwritten, both are rows of `model_events`; no model that consumed what was erased, or stands on one that did, settles
anything; a later erasure that reaches the same model makes it owe anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from lineage.aliases import meant, resolve_model
from lineage.errors import AmbiguousName, EarmarkError, UnknownName
from lineage.identity import hex_prefix
from lineage.people.reach import Reach, built_on
from lineage.runs import Run
from lineage.store import Store

RETRAIN, WITHDRAW = "owes_retrain", "owes_withdrawal"
RETIRED, WITHDRAWN, RETRAINED = SETTLEMENTS = ("retired", "withdrawn", "retrained")


# -- owing ---------------------------------------------------------------------------------------------------------------


def owe(run: Run, found: Reach, at: datetime) -> None:
    """Put on record, with the run that erases, what the models and exports that it reached owe."""
    for m in found.models:
        run.append("model_events", [_event(m["model_id"], RETRAIN, at, erasure=run.id, samples=m["samples"])])
    for e in found.exports:
        where = {"export": e["run_id"], "format": e["format"], "to": e["to"]}
        run.append("model_events", [_event(e["digest"], WITHDRAW, at, erasure=run.id, **where)])


def mark_late(store: Store) -> None:
    """Mark models that were in training when samples of theirs were erased, and models that were trained from such since."""
    if not store.erasures:
        return
    late = store.sql(
        f"""
        SELECT m.model_id, max(t.run_id) AS erasure, count(DISTINCT e.sample_id) AS samples
        FROM exposures e JOIN models m ON m.run_id = e.run_id
        JOIN erasures t ON t.sample_id = e.sample_id AND t.run_id > e.run_id
        WHERE e.weight > 0 AND m.model_id NOT IN (SELECT model_id FROM model_events WHERE event = '{RETRAIN}')
        GROUP BY m.model_id ORDER BY m.model_id"""
    ).to_pylist()
    tainted = {m["model_id"] for m in late} | _tainted(store)
    newest = store.erasures[-1].run.id
    late += [{"model_id": m["model_id"], "erasure": newest, "samples": 0} for m in built_on(store, tainted)]
    if late:
        at = datetime.now(UTC)
        with store.run("mark", job=RETRAIN) as run:
            events = [_event(m["model_id"], RETRAIN, at, erasure=m["erasure"], samples=m["samples"]) for m in late]
            run.append("model_events", events)


def _event(what: str, event: str, at: datetime, **detail: Any) -> dict[str, Any]:
    return {"model_id": what, "event": event, "detail": json.dumps(detail, sort_keys=True), "at": at}


def _tainted(store: Store) -> set[str]:
    """Models that ever were marked, settled or not: what they consumed they have consumed."""
    return set(store.read("model_events", ["model_id"], "event = ?", [RETRAIN])["model_id"].to_pylist())


# -- asking --------------------------------------------------------------------------------------------------------------


def obligations(store: Store) -> list[dict[str, Any]]:
    """Everything that was ever owed, oldest first; of what owes by several erasures the newest.

    `digest` of the model or export, `name` (where an export went), `event`, `at`, `run_id`, `detail`, and `settled`: None, or
    how it was made good (`event`, `at`, `detail`).
    """
    rows = store.sql(
        f"""SELECT model_id AS digest, event, "at", run_id, detail FROM model_events
        WHERE event IN {(RETRAIN, WITHDRAW, *SETTLEMENTS)} ORDER BY "at", run_id"""
    ).to_pylist()
    rows = [{**r, "detail": json.loads(r["detail"] or "{}")} for r in rows]
    models = store.sql("SELECT model_id, name, run_id FROM models ORDER BY run_id").to_pylist()
    names = {m["model_id"]: m["name"] for m in models}
    tainted = _tainted(store)
    clean = [m for m in models if m["model_id"] not in tainted | {b["model_id"] for b in built_on(store, tainted)}]
    owed = {(r["digest"], r["event"]): r for r in rows if r["event"] not in SETTLEMENTS}
    found = []
    for o in owed.values():
        told = [r for r in rows if r["digest"] == o["digest"] and r["event"] in SETTLEMENTS and r["at"] >= o["at"]]
        name = names.get(o["digest"]) if o["event"] == RETRAIN else o["detail"].get("to")
        settled = told[-1] if told else _successor(store, o, name, clean)
        how = settled and {key: settled[key] for key in ("event", "at", "detail")}
        found.append({**o, "name": name, "settled": how})
    return sorted(found, key=lambda o: (o["at"], o["digest"]))


def _successor(
    store: Store, owed: dict[str, Any], name: str | None, clean: Iterable[dict[str, Any]]
) -> dict[str, Any] | None:
    """The first younger model of the same name, as an event."""
    if owed["event"] != RETRAIN or name is None:
        return None
    for m in clean:
        if m["name"] == name and m["run_id"] > owed["run_id"]:
            detail = {"successor": m["model_id"]}
            return {"event": RETRAINED, "at": store.resolve_run(m["run_id"]).ended, "detail": detail}
    return None


def owing(store: Store) -> list[dict[str, Any]]:
    """What is still owed, oldest first: the `obligations` that nothing has settled."""
    return [o for o in obligations(store) if o["settled"] is None]


def unfit(store: Store, model_id: str) -> str | None:
    """Why a model may neither be promoted nor published, in words; None if nothing that erasures left speaks against it.

    What a model consumed it has consumed, whether or not a successor settled what it owed.
    """
    told = store.read("model_events", ["event"], "model_id = ?", [model_id])["event"].to_pylist()
    if RETRAIN in told:
        return "it has consumed what was erased since, or stands on a model that has"
    ended = [e for e in told if e in (RETIRED, WITHDRAWN)]
    return f"it was {ended[-1]}" if ended else None


# -- making good ---------------------------------------------------------------------------------------------------------


def settle(
    store: Store, what: str, how: str, *, by: str, reason: str | None = None, successor: str | None = None
) -> dict[str, Any]:
    """Put on record that what a model or an export owes was made good; returns the obligation as it stands then.

    Args:
        store: where it is owed.
        what: model (name, id, or the beginning of one) or export (its digest, or the beginning).
        how: one of `SETTLEMENTS`.
        by: who says so; a role or initials, since it stays on record.
        reason: why, or how it was done; it stays on record, too.
        successor: the model that has taken the place, if it was retrained.

    Raises:
        EarmarkError: it owes nothing, or not this; or the successor is no clean and younger model.
    """
    if how not in SETTLEMENTS:
        raise UnknownName("settlement", how, SETTLEMENTS)
    if not by.strip():
        raise EarmarkError("say who made it good — a role or initials, since it stays on record")
    if (how == RETRAINED) == (successor is None):
        raise EarmarkError("a retrained model has a successor — name it, and in no other case")
    mark_late(store)
    owed = _find(store, what)
    if owed["event"] == WITHDRAW and how != WITHDRAWN:
        raise EarmarkError(f"export {owed['digest'][:12]} owes a withdrawal — it is withdrawn, not {how}")
    detail: dict[str, Any] = {"by": by, "reason": reason, "erasure": owed["detail"].get("erasure")}
    if successor is not None:
        detail["successor"] = _clean(store, successor, owed)
    with store.run("settle", job=how, inputs=[owed["digest"], *([detail["successor"]] if successor else [])]) as run:
        run.append("model_events", [_event(owed["digest"], how, datetime.now(UTC), **detail)])
    return next(o for o in obligations(store) if (o["digest"], o["event"]) == (owed["digest"], owed["event"]))


def _find(store: Store, what: str) -> dict[str, Any]:
    """The one thing still owed that is meant by a name, a digest, or the beginning of a digest."""
    everything = owing(store)
    prefix = hex_prefix(meant(store, what) or what)
    named = [o for o in everything if o["name"] == what and o["event"] == RETRAIN]
    fitting = [o for o in everything if prefix and len(prefix) >= 4 and o["digest"].startswith(prefix)]
    found = named or fitting
    if not found:
        known = [o["name"] if o["event"] == RETRAIN and o["name"] else o["digest"][:12] for o in everything]
        raise UnknownName("thing owed", what, known, "see what is: earmark owing")
    if len(found) > 1:
        raise AmbiguousName("thing owed", what, (o["digest"] for o in found))
    return found[0]


def _clean(store: Store, ref: str, owed: dict[str, Any]) -> str:
    """The id of a model that can take the place of the one that owes a retrain."""
    chosen = resolve_model(store, ref)
    tainted = _tainted(store)
    if chosen.digest in tainted | {m["model_id"] for m in built_on(store, tainted)}:
        raise EarmarkError(
            f"model {chosen.digest[:12]} has consumed what was erased, or stands on a model that has — train one without it"
        )
    if (chosen.run or "") <= owed["detail"].get("erasure", owed["run_id"]):
        raise EarmarkError(f"model {chosen.digest[:12]} is older than the erasure — name one that was trained since")
    return chosen.digest
