"""The registry: which model does what job, moved behind a gate, moved back in one step, all of it on record.

    promote(store, "my-model", "production")     # refused by the gate, or `@production` means it from now on
    rollback(store, "production")                # back to the model before

What an alias points to and how a reference is read stands in `lineage.aliases`, what a gate demands in
`training.promotion.gate`. A promotion is a run: its result holds the verdict of the gate and its event the move. Laws: a
promotion that was refused is on record like one that was not, as a failed run with the same verdict; one that went ahead
against the gate is marked as forced, with the reason; of several that move an alias at once one wins and the others are
told; no history ever shrinks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lineage import aliases
from lineage.aliases import PROMOTED, ROLLED_BACK, Move, alias_name, standing
from lineage.errors import Conflict, EarmarkError
from lineage.people.obligations import RETIRED, RETRAIN, WITHDRAWN
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from training.models.recorded import Model, resolve_model
from training.progress import Progress, silent
from training.promotion import gate as gates
from training.promotion.gate import Gate, Verdict

REFUSED = "refused"


class PromotionRefused(EarmarkError):
    """A gate does not let an alias point to a model; its verdict goes on the record of the run."""

    def __init__(self, alias: str, model: Model, verdict: Verdict) -> None:
        found = "; ".join(str(f) for f in verdict.refusals)
        super().__init__(
            f"gate '{verdict.gate}' refuses {model.name} {model.model_id[:12]} for @{alias}: {found}"
            " — mend it, or promote with force and a reason"
        )
        self.verdict = verdict
        self.on_record = {"gate": verdict.to_json()}


@dataclass(frozen=True)
class Event:
    """One line of the history of an alias: a move, or a promotion that was refused.

    `instead_of` is the digest of the gate in force, where another was used in its place.
    """

    alias: str
    event: str
    model_id: str
    at: datetime
    run_id: str
    forced: bool
    reason: str | None
    refusals: tuple[str, ...]
    instead_of: str | None = None


def promote(
    store: Store,
    model: str,
    to: str,
    *,
    gate: Gate | None = None,
    force: bool = False,
    reason: str | None = None,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = silent,
) -> tuple[Move, Verdict]:
    """Let an alias point to a model, if its gate allows; the move, and what the gate found.

    Args:
        store: where the model is and the run goes.
        model: name, `@alias`, `name@version`, id or beginning of an id.
        to: the alias.
        gate: instead of the one in force for that alias.
        force: go ahead whatever the gate says; needs a reason.
        reason: why; it stays on record, so it names nobody.
        device: 'cpu', 'cuda' or 'auto', for what has to be decoded.
        threads: arithmetic threads.
        progress: told of features and utterances.

    Raises:
        PromotionRefused: the gate does not allow it.
        Conflict: the alias was moved meanwhile, or something was erased.
        EarmarkError: no such model, it is there already, or force without a reason.
    """
    alias = alias_name(to)
    reason = _reason(reason, force)
    record = resolve_model(store, model)
    seen = aliases.current(store).get(alias)
    if seen is not None and seen.model_id == record.model_id:
        raise EarmarkError(
            f"@{alias} points to {record.name} {record.model_id[:12]} already — there is nothing to move"
        )
    holder = None if seen is None else resolve_model(store, seen.model_id)
    standing_rules = gates.in_force(store, alias)
    rules = gate or standing_rules
    instead_of = None if rules == standing_rules else standing_rules.digest
    config = {
        "alias": alias,
        "gate": rules.model_dump(mode="json"),
        "instead_of": instead_of,
        "force": force,
        "reason": reason,
    }
    inputs = [record.model_id, *([holder.model_id] if holder else [])]
    erased = len(store.erasures)
    with store.run(
        "promote", job=f"@{alias}", config=config, inputs=inputs, parents=[record.run_id], package="training"
    ) as run:
        verdict = gates.judge(store, rules, record, holder, device=device, threads=threads, progress=progress)
        if not verdict.passed and not force:
            raise PromotionRefused(alias, record, verdict)
        run.result["gate"] = verdict.to_json()
        detail = {
            "gate": rules.digest,
            "instead_of": instead_of,
            "passed": verdict.passed,
            "forced": force and not verdict.passed,
            "reason": reason,
        }
        aliases.move(run, alias, record.model_id, PROMOTED, seen, detail)
        run.condition = _nothing_erased(store, erased, run.condition)
    return aliases.current(store)[alias], verdict


def _nothing_erased(store: Store, seen: int, further: Callable[[], None]) -> Callable[[], None]:
    """A condition of publication: no more than `seen` erasures, so that the verdict still holds; and a further one."""

    def check() -> None:
        if len(store.erasures) > seen:
            raise Conflict("something was erased since the model was judged — nothing was changed, promote it again")
        further()

    return check


def rollback(store: Store, alias: str, *, reason: str | None = None) -> Move:
    """Let an alias point to the model that it pointed to before, without any gate; the move.

    Raises:
        Conflict: the alias was moved meanwhile.
        EarmarkError: there is no such alias, nothing before, or what was before may not be used any more.
    """
    name = alias_name(alias)
    here = resolve_model(store, f"@{name}")  # raises if there is none
    history = aliases.moves(store, name)
    before = standing(history)[:-1]
    if not before:
        raise EarmarkError(
            f"@{name} pointed to nothing before {here.model_id[:12]} — promote another: earmark promote MODEL --to {name}"
        )
    target = resolve_model(store, before[-1])
    told = store.read("model_events", ["event"], "model_id = ?", [target.model_id])["event"].to_pylist()
    gone = next((e for e in (WITHDRAWN, RETIRED) if e in told), None)
    if gone:
        raise EarmarkError(
            f"{target.name} {target.model_id[:12]}, which @{name} pointed to before, was {gone} — promote another"
        )
    config = {"alias": name, "reason": _reason(reason, False)}
    inputs = [target.model_id, here.model_id]
    with store.run("rollback", job=f"@{name}", config=config, inputs=inputs, package="training") as run:
        detail = {"reason": reason, "owes_retrain": RETRAIN in told}
        aliases.move(run, name, target.model_id, ROLLED_BACK, history[-1], detail)
    return aliases.current(store)[name]


def history(store: Store, alias: str | None = None) -> list[Event]:
    """Everything that happened to an alias, or to all, refusals too, in the order of the log."""
    wanted = None if alias is None else alias_name(alias)
    moved = {m.run_id: m for m in aliases.moves(store, wanted)}
    found = []
    for manifest in store.manifests():
        run = manifest.run
        refused = run.kind == "promote" and run.status == "failed" and "gate" in run.result
        if run.id in moved or (refused and wanted in (None, run.config["alias"])):
            found.append(_event(run, moved.get(run.id)))
    return found


def _event(run: RunInfo, move: Move | None) -> Event:
    said: dict[str, Any] = run.result.get("gate", {})
    return Event(
        run.config["alias"],
        move.event if move else REFUSED,
        move.model_id if move else said["model_id"],
        move.at if move else run.ended,
        run.id,
        bool(move and move.detail.get("forced")),
        run.config["reason"],
        tuple(f"{f['rule']}: {f['detail']}" for f in said.get("findings", ()) if f["outcome"] == "refused"),
        run.config.get("instead_of"),
    )


def _reason(reason: str | None, force: bool) -> str | None:
    given = (reason or "").strip()
    if force and not given:
        raise EarmarkError("going ahead against a gate needs a reason — it stays on record, so name nobody")
    return given or None
