"""Verbs about what erasures left owing: owing, settle."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from earmark.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from earmark.cli.output import print_rows, say, short
from lineage.errors import EarmarkError
from lineage.people import obligations
from lineage.store import Store


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command()(owing)
    app.command()(settle)


def owing(
    everything: Annotated[bool, typer.Option("--everything", help="What was settled, too, and how.")] = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """List the models that owe a retrain and the exports that owe a withdrawal since something of theirs was erased."""
    opened = Store.open(store)
    found = obligations.obligations(opened) if everything else obligations.owing(opened)
    if as_json:
        print_rows(found, as_json=True)
    elif not found:
        say("nothing is owed")
    else:
        print_rows([_row(o, everything) for o in found])
        if any(o["settled"] is None for o in found):
            say("once it is made good: earmark settle WHAT --retrained-by MODEL (or --retired, --withdrawn) --by WHO")


def _row(owed: dict[str, Any], everything: bool) -> dict[str, Any]:
    row = {
        "what": short(owed["digest"]),
        "name": owed["name"],
        "owes": owed["event"].removeprefix("owes_"),
        "since": f"{owed['at']:%Y-%m-%d %H:%M}",
        "erasure": owed["detail"].get("erasure"),
    }
    return {**row, "settled": _how(owed["settled"])} if everything else row


def _how(settled: dict[str, Any] | None) -> str:
    if settled is None:
        return "no"
    detail = settled["detail"]
    parts = [settled["event"]]
    parts += [f"by model {short(detail['successor'])}"] if detail.get("successor") else []
    parts += [f"says {detail['by']}"] if detail.get("by") else []
    parts += [f"({detail['reason']})"] if detail.get("reason") else []
    return " ".join([*parts, f"on {settled['at']:%Y-%m-%d}"])


def settle(
    what: Annotated[str, typer.Argument(help="A model (name or id) or an export that owes; see `earmark owing`.")],
    by: Annotated[str | None, typer.Option(help="Who says so: a role or initials; it stays on record.")] = None,
    retired: Annotated[bool, typer.Option("--retired", help="The model is in use no more.")] = False,
    withdrawn: Annotated[bool, typer.Option("--withdrawn", help="It was called back from where it went.")] = False,
    retrained_by: Annotated[
        str | None, typer.Option(help="The model that has taken its place, trained since without the erased.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why, or how; it stays on record, so name nobody.")] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Put on record that what a model or an export owed was made good, by whom and why; nothing is overwritten."""
    told = {
        obligations.RETIRED: retired,
        obligations.WITHDRAWN: withdrawn,
        obligations.RETRAINED: retrained_by is not None,
    }
    chosen = [how for how, said in told.items() if said]
    if len(chosen) != 1:
        raise EarmarkError("say how it was made good — one of --retired, --withdrawn and --retrained-by MODEL")
    if by is None:
        raise EarmarkError("say who made it good — --by WHO, a role or initials, since it stays on record")
    done = obligations.settle(
        Store.open(store), what, chosen[0], by=by, reason=reason, successor=retrained_by
    )  # fmt: skip
    if as_json:
        print_rows([done], as_json=True)
    else:
        say(f"{done['name'] or ''} {short(done['digest'])}: {_how(done['settled'])}".strip())
