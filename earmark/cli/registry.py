"""Verbs of the registry: promote, rollback, registry, gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earmark.cli.evaluation import DeviceOption, ModelArgument, ThreadsOption
from earmark.cli.options import DEFAULT_STORE, JsonOption, ReasonOption, StoreOption
from earmark.cli.output import print_json, print_rows, progress, say, short
from lineage import aliases
from lineage.errors import EarmarkError
from lineage.store import Store

if TYPE_CHECKING:
    from training.promotion.gate import Verdict

ToOption = Annotated[str, typer.Option("--to", help="The alias: production, candidate, or any name.")]
GateOption = Annotated[Path | None, typer.Option(help="A gate (YAML), instead of the one in force for the alias.")]

gate = typer.Typer(help="What a model has to meet before an alias may point to it.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    for verb in (promote, rollback, registry):
        app.command()(verb)
    app.add_typer(gate, name="gate")


def promote(
    model: ModelArgument,
    to: ToOption,
    gate: GateOption = None,
    force: Annotated[bool, typer.Option("--force", help="Against the gate; needs --reason, and is marked so.")] = False,
    reason: ReasonOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Let an alias point to a model if its gate allows; exit status 1 if not. Either way the verdict is on record."""
    from training.promotion.gate import Gate
    from training.promotion.registry import PromotionRefused
    from training.promotion.registry import promote as move

    opened = Store.open(store)
    rules = Gate.load(gate) if gate is not None else None
    try:
        with progress("judging") as report:
            moved, verdict = move(
                opened, model, to, gate=rules, force=force, reason=reason, device=device, threads=threads, progress=report
            )  # fmt: skip
    except PromotionRefused as refused:
        _show(refused.verdict, as_json)
        if not as_json:
            say(f"refused: @{aliases.alias_name(to)} was not moved")
        raise typer.Exit(1) from None
    _show(verdict, as_json)
    if not as_json:
        against = ", against the gate" if not verdict.passed else ""
        say(f"@{moved.alias} points to {short(moved.model_id)} now{against} (run {moved.run_id})")


def rollback(
    alias: Annotated[str, typer.Argument(help="The alias.")] = "production",
    reason: ReasonOption = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Let an alias point to the model that it pointed to before."""
    from training.promotion.registry import rollback as move

    moved = move(Store.open(store), alias, reason=reason)
    if as_json:
        print_rows([moved.__dict__], as_json=True)
        return
    say(f"@{moved.alias} points to {short(moved.model_id)} again (run {moved.run_id})")
    if moved.detail.get("owes_retrain"):
        say("note: it has consumed what was erased since, and owes a retrain: earmark owing")


def registry(
    alias: Annotated[str | None, typer.Argument(help="The history of this alias, refused promotions too.")] = None,
    versions: Annotated[bool, typer.Option("--versions", help="Versions of all models instead.")] = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """List what every alias points to; the history of one; or the versions of all models."""
    opened = Store.open(store)
    names = {m["model_id"]: m for m in aliases.versions(opened)}

    def called(model_id: str) -> str:
        return f"{names[model_id]['name']}@{names[model_id]['version']}" if model_id in names else ""

    def digest(model_id: str) -> str:
        return model_id if as_json else short(model_id)

    if versions:
        now = aliases.current(opened).values()
        rows: list[dict[str, Any]] = [
            {
                "model": f"{v['name']}@{v['version']}",
                "id": digest(v["model_id"]),
                "aliases": " ".join(f"@{m.alias}" for m in now if m.model_id == v["model_id"]),
                "run": v["run_id"],
            }
            for v in aliases.versions(opened)
        ]
    elif alias is None:
        rows = [
            {
                "alias": f"@{m.alias}",
                "model": called(m.model_id),
                "id": digest(m.model_id),
                "since": f"{m.at:%Y-%m-%d %H:%M:%S}",
                "by": m.event,
                "run": m.run_id,
            }
            for m in aliases.current(opened).values()
        ]
    else:
        from training.promotion.registry import history

        rows = [
            {
                "at": f"{e.at:%Y-%m-%d %H:%M:%S}",
                "event": e.event + (", forced" if e.forced else ""),
                "model": called(e.model_id),
                "id": digest(e.model_id),
                "reason": e.reason,
                "gate": "; ".join([*e.refusals, *(["not the gate in force"] if e.instead_of else [])]),
                "run": e.run_id,
            }
            for e in history(opened, alias)
        ]
        if not rows:
            aliases.meant(opened, f"@{aliases.alias_name(alias)}")  # raises: it names what there is
    print_rows(rows, as_json=as_json)


@gate.command("check")
def check(
    model: ModelArgument,
    to: ToOption,
    gate: GateOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Judge a model by the gate of an alias without moving anything; exit status 1 if it would be refused."""
    from training.models.recorded import resolve_model
    from training.promotion import gate as gates

    opened = Store.open(store)
    rules = gates.Gate.load(gate) if gate is not None else gates.in_force(opened, to)
    now = aliases.current(opened).get(aliases.alias_name(to))
    holder = resolve_model(opened, now.model_id) if now else None
    with progress("judging") as report:
        verdict = gates.judge(
            opened, rules, resolve_model(opened, model), holder, device=device, threads=threads, progress=report
        )  # fmt: skip
    _show(verdict, as_json)
    if not verdict.passed:
        raise typer.Exit(1)


@gate.command("adopt")
def adopt(
    to: ToOption,
    file: Annotated[Path | None, typer.Argument(help="A gate (YAML).")] = None,
    none: Annotated[bool, typer.Option("--none", help="Have no gate there any more.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Put a gate in front of an alias from now on."""
    from training.promotion import gate as gates

    if (file is None) == (not none):
        raise EarmarkError("give a gate, or --none")
    rules = gates.Gate.load(file) if file is not None else None
    run = gates.adopt(Store.open(store), rules, to)
    name = aliases.alias_name(to)
    say(
        f"gate {rules.name} {short(rules.digest)} is in front of @{name} (run {run})"
        if rules
        else f"no gate for @{name}"
    )


@gate.command("show")
def show(to: ToOption, store: StoreOption = DEFAULT_STORE) -> None:
    """Print the gate in front of an alias."""
    from training.promotion import gate as gates

    fields = gates.in_force(Store.open(store), to).model_dump(mode="json")
    print_json(fields)


def _show(verdict: Verdict, as_json: bool) -> None:
    if as_json:
        print_json(verdict.to_json())
        return
    for finding in verdict.findings:
        say(str(finding))
