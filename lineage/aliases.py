"""Aliases and versions: how people and machines name a model without its digest.

    @production      the model that the alias `production` points to now
    my-model@2       the second model that became visible under the name `my-model`
    my-model         the newest of that name

An alias is moved by an event in `model_events` ('promoted', 'rolled_back'): it points to where its newest event says, in the
order of the log, which is the same for everybody who reads it. Laws: a move is never overwritten, a history only grows; a
version never comes to mean another model; a rollback after a promotion leads back to where the alias pointed before, and a
second one to where it pointed before that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lineage.errors import AmbiguousName, Conflict, EarmarkError, UnknownName
from lineage.identity import hex_prefix
from lineage.runs import Run
from lineage.sql import MOVES, VERSIONS
from lineage.store import Store
from lineage.subjects import Subject

PROMOTED, ROLLED_BACK = "promoted", "rolled_back"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Move:
    """One move of an alias: to which model, from which (None for the first), why (`detail`), and the run that says so."""

    alias: str
    event: str
    model_id: str
    before: str | None
    at: datetime
    run_id: str
    detail: dict[str, Any] = field(default_factory=dict)


def alias_name(text: str) -> str:
    """The name of an alias, given with or without '@'.

    Raises:
        EarmarkError: it is none.
    """
    name = text.removeprefix("@")
    if not NAME.fullmatch(name):
        raise EarmarkError(f"'{text:.80}' is no name of an alias — take letters, digits, '.', '_' and '-': production")
    return name


def moves(store: Store, alias: str | None = None) -> list[Move]:
    """Every move of an alias, or of all of them, in the order of the log."""
    rows = store.sql(f"SELECT * FROM ({MOVES}) ORDER BY position").to_pylist()
    found: list[Move] = []
    last: dict[str, str] = {}
    for row in rows:
        before = last.get(row["alias"])
        last[row["alias"]] = row["model_id"]
        if alias in (None, row["alias"]):
            detail = json.loads(row["detail"] or "{}")
            found.append(
                Move(row["alias"], row["event"], row["model_id"], before, row["at"], row["run_id"], detail)
            )  # fmt: skip
    return found


def current(store: Store) -> dict[str, Move]:
    """The newest move of every alias, which says where it points now."""
    return {m.alias: m for m in moves(store)}


def standing(history: list[Move]) -> list[str]:
    """The models that an alias can be rolled back to, oldest first, and last the one that it points to."""
    stack: list[str] = []
    for move in history:
        if move.event == ROLLED_BACK:
            stack.pop()
        else:
            stack.append(move.model_id)
    return stack


def move(run: Run, alias: str, model_id: str, event: str, seen: Move | None, detail: dict[str, Any]) -> None:
    """Let a run move an alias that stood at `seen` when this was decided.

    If the alias has moved meanwhile the run is not published: of several at once one wins, the others raise `Conflict`.
    """
    row = {
        "model_id": model_id,
        "event": event,
        "alias": alias,
        "detail": json.dumps(detail, sort_keys=True),
        "at": datetime.now(UTC),
    }
    run.append("model_events", [row])
    run.condition = _unmoved(run.store, alias, seen)


def _unmoved(store: Store, alias: str, seen: Move | None) -> Callable[[], None]:
    def check() -> None:
        now = current(store).get(alias)
        if (now and now.run_id) != (seen and seen.run_id):
            told = f"to {now.model_id[:12]} by run {now.run_id}" if now else "away"
            raise Conflict(f"@{alias} was moved {told} meanwhile — nothing was changed, look and decide again")

    return check


def versions(store: Store, name: str | None = None) -> list[dict[str, Any]]:
    """Versions of the models of a name, or of all: `name`, `version` (from 1), `model_id`, `run_id`, oldest first."""
    rows = store.sql(f"SELECT * FROM ({VERSIONS}) ORDER BY name, version").to_pylist()
    return [r for r in rows if name in (None, r["name"])]


def meant(store: Store, ref: str) -> str | None:
    """The id of the model meant by `@alias` or `name@version`; None if it is no such reference.

    Raises:
        UnknownName: it is one, and there is no such alias or version.
    """
    name, sign, number = ref.rpartition("@")
    if not sign:
        return None
    if not name:
        known = current(store)
        if number not in known:
            mend = "make it point to a model: earmark promote MODEL --to NAME"
            raise UnknownName("alias", ref, (f"@{a}" for a in known), mend)
        return known[number].model_id
    if not number.isdecimal():
        return None
    found = versions(store, name)
    if not found:
        return None
    for row in found:
        if row["version"] == int(number):
            return str(row["model_id"])
    raise UnknownName("version", ref, (f"{name}@{r['version']}" for r in found))


def resolve_model(store: Store, ref: str) -> Subject:
    """The model meant by a name (the newest of that name), `@alias`, `name@version`, an id, or the beginning of an id.

    Raises:
        UnknownName, AmbiguousName: no such model, or several.
    """
    whole = store.subjects.find(ref)
    if whole.kind == "model":  # the id itself, which is nobody's name: no table has to be read
        return whole
    rows = store.sql("SELECT model_id, name FROM models ORDER BY run_id").to_pylist()
    named = [r["model_id"] for r in rows if r["name"] == ref and not ref.startswith("@")]
    prefix = hex_prefix(ref)
    fitting = {r["model_id"] for r in rows if prefix and len(prefix) >= 4 and r["model_id"].startswith(prefix)}
    pointed = None if named else meant(store, ref)
    found = named[-1:] or ([pointed] if pointed else sorted(fitting))
    if not found:
        raise UnknownName(
            "model", ref, (r["name"] or r["model_id"] for r in rows), "train one with: earmark train RECIPE"
        )
    if len(found) > 1:
        raise AmbiguousName("model", ref, found)
    return store.subjects.find(found[0])
