"""Verbs that do again what was done: replay, environment."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from earmark.cli.options import DEFAULT_STORE, JsonOption, PolicyOption, StoreOption, TrainingArgument, policy_in
from earmark.cli.output import print_json, print_rows, progress, say, short
from lineage import rebuild
from lineage.errors import EarmarkError
from lineage.selection.consumed import run_of
from lineage.store import Store

if TYPE_CHECKING:
    from training.replay import Moved, ReplayVerdict

SHOWN = 20  # differences printed; all of them with --json


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command()(replay)
    app.command()(environment)


def replay(
    run: TrainingArgument,
    store: StoreOption = DEFAULT_STORE,
    threads: Annotated[int | None, typer.Option(help="Instead of the recorded number.", min=1)] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto, instead of the recorded one.")] = None,
    policy: PolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train again what a run trained, from the record alone; exit status 0: identical, 1: different, 2: impossible."""
    from training.replay import replay as do_again

    with progress("replaying") as report:
        found = do_again(
            Store.open(store), run, threads=threads, device=device, policy=policy_in(policy), progress=report
        )
    if as_json:
        print_json(found.to_json())
    else:
        _tell(found)
    status = {"identical": 0, "different": 1, "impossible": 2}[found.verdict]
    if status:
        raise typer.Exit(status)


def _tell(found: ReplayVerdict) -> None:
    if found.reason is not None:
        say(f"run {found.replayed_run} cannot be replayed: {found.reason}")
        return
    if found.identical:
        say(f"identical: model {found.model_id}")
    else:
        say(f"different: model {found.replayed} instead of {found.model_id}")
    say(f"  retrained by run {found.retraining}, verdict on record as run {found.run_id}")
    if found.differences:
        say("  what differs between the two runs" + (", and did not matter:" if found.identical else ":"))
    elif not found.identical:
        say("  nothing on record differs between the two runs: what changed the weights was not captured")
    for difference in found.differences[:SHOWN]:
        say(f"    {difference}")
    if len(found.differences) > SHOWN:
        say(f"    … and {len(found.differences) - SHOWN} more; all with --json")
    w = found.weights
    if w is not None:
        say(f"  weights moved by {w.relative:.2e} (relative L2), at most {w.largest:.2e}, in {w.tensor}; "
            f"{w.moved} of {w.tensors} tensors")  # fmt: skip
    elif not found.identical:
        say("  the weights cannot be held side by side")
    for moved in found.wer:
        say(f"  {_moved(moved)}")


def _moved(m: Moved) -> str:
    if m.erased:
        return f"WER on {m.set_name}: not measured, for {m.erased} of its utterances were erased"
    if m.difference is None or m.recorded is None or m.replayed is None:
        return f"WER on {m.set_name}: it has no words"
    span = f" ({100 * m.low:+.2f} to {100 * m.high:+.2f})" if m.low is not None and m.high is not None else ""
    now, then = 100 * m.replayed, 100 * m.recorded
    return f"WER on {m.set_name}: {now:.2f} % instead of {then:.2f} %, {100 * m.difference:+.2f} points{span}"


def environment(
    run: Annotated[str, typer.Argument(help="A run, or a model: name, id, or the beginning of one.")],
    lock: Annotated[bool, typer.Option("--lock", help="The packages, as pip's requirements.")] = False,
    dockerfile: Annotated[
        bool, typer.Option("--dockerfile", help="A Dockerfile that builds it again, from a checkout of the code.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """In what environment a run was made; with --lock or --dockerfile, what builds it again."""
    opened = Store.open(store)
    found = run_of(opened, run)
    if lock and dockerfile:
        raise EarmarkError("one at a time — --lock or --dockerfile, which has the lock in it")
    if lock:
        sys.stdout.write(rebuild.requirements(opened, found))
    elif dockerfile:
        sys.stdout.write(rebuild.dockerfile_of(opened, found))
    elif as_json:
        print_rows([found.environment], as_json=True)
    else:
        told = {**found.environment, "installed": short(found.environment.get("installed"))}
        print_rows([{"what": name, "value": value} for name, value in told.items() if value])
