"""Verbs for new traffic: ab; rollout begin, arm, observe, advance, show."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earmark.cli.evaluation import DeviceOption, ModelArgument, NormaliserOption, ThreadsOption
from earmark.cli.measure import compare
from earmark.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from earmark.cli.output import print_rows, progress, say, short
from lineage.errors import EarmarkError
from lineage.finite import finite
from lineage.ingestion.ingest import ingest
from lineage.store import Store

if TYPE_CHECKING:
    from training.comparison.trial import Trial
    from training.promotion.rollout import Verdict

NameArgument = Annotated[str, typer.Argument(metavar="ROLLOUT", help="A roll-out: its name, or the id of its run.")]

rollout = typer.Typer(
    help="Give a candidate a growing share of the traffic; stop it if it does harm.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command()(ab)
    app.add_typer(rollout, name="rollout")


def ab(
    first: ModelArgument,
    second: ModelArgument,
    traffic: Annotated[
        str, typer.Argument(help="A set on record, a manifest, or a folder of sounds with words or without.")
    ],
    store: StoreOption = DEFAULT_STORE,
    normaliser: NormaliserOption = "basic",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Two models on the same traffic: WER by slice where there are words, else how often they agree and how sure they are."""
    from training.comparison import trial

    opened, path = Store.open(store), Path(traffic)
    if path.exists() and not trial.transcribed(path):
        with progress("listening") as report:
            done = trial.listen(
                opened, first, second, path, normalise=normaliser, device=device, threads=threads, progress=report
            )  # fmt: skip
        _tell(done, as_json)
        return
    if path.exists():
        with progress(f"ingesting {path.name}") as report:
            taken = ingest(opened, path, progress=lambda n, total: report(n, total, ""))
        sys.stderr.write(f"set {taken.set.name} {short(taken.set.digest)}: {taken.accepted} accepted, ")
        sys.stderr.write(f"{sum(taken.refused.values())} refused (earmark ingest says why)\n")
        traffic = taken.set.digest
    compare(
        first, second, traffic, store=store, normaliser=normaliser, device=device, threads=threads, as_json=as_json
    )  # fmt: skip


def _tell(done: Trial, as_json: bool) -> None:
    for line in done.refused:
        sys.stderr.write(f"{line}\n")
    rows = [
        {
            "metric": name,
            "value": f.value,
            "low": finite(f.low),
            "high": finite(f.high),
        }
        for name, f in done.figures.items()
    ]
    if not as_json:
        say(
            f"first is {short(done.first)}, second is {short(done.second)}; {done.utterances} utterances (run {done.run_id})"
        )
    print_rows(rows, as_json=as_json)


@rollout.command("begin")
def begin(
    plan: Annotated[Path, typer.Argument(help="The plan, a YAML file: name, candidate, production, stages …")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Begin a roll-out at its first stage."""
    from training.promotion import rollout as rollouts

    begun = rollouts.begin(Store.open(store), rollouts.Plan.load(plan))
    say(
        f"roll-out {begun.plan.name}: {short(begun.candidate)} hears {100 * begun.share:g} % of the units,"
        f" {short(begun.production)} the rest\n  id {begun.id}, by which arms are drawn"
    )


@rollout.command("arm")
def arm(
    name: NameArgument,
    keys: Annotated[list[str], typer.Argument(help="Keys of units, e.g. of users.")],
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Say which of the two models hears the traffic of a key now; nothing is recorded."""
    from training.promotion import rollout as rollouts

    found = rollouts.find(Store.open(store), name)
    rows = [{"key": key, "arm": found.arm(key), "model": getattr(found, found.arm(key))} for key in keys]
    print_rows(rows, as_json=as_json)


@rollout.command("observe")
def observe(
    name: NameArgument,
    file: Annotated[
        Path | None, typer.Argument(help="JSON lines: key, words, candidate and/or production; or -.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Record what was heard and transcribed, and judge; exit status 1 if the candidate is to be stopped."""
    from training.promotion import rollout as rollouts

    try:
        text = sys.stdin.read() if file is None or str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EarmarkError(f"{file} cannot be read: {error} — give a file of JSON lines") from error
    _show(rollouts.observe(Store.open(store), name, text.splitlines()), as_json)


@rollout.command("advance")
def advance(name: NameArgument, store: StoreOption = DEFAULT_STORE) -> None:
    """Go on to the next stage, where the candidate hears more."""
    from training.promotion import rollout as rollouts

    now = rollouts.advance(Store.open(store), name)
    say(f"roll-out {now.plan.name} is at stage {now.stage + 1}: the candidate hears {100 * now.share:g} % of the units")


@rollout.command("show")
def show(
    name: Annotated[str | None, typer.Argument(metavar="ROLLOUT", help="One; all are listed if left out.")] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """List the roll-outs, or judge one; exit status 1 if the candidate is to be stopped."""
    from training.promotion import rollout as rollouts

    opened = Store.open(store)
    if name is not None:
        _show(rollouts.judge(opened, name), as_json)
        return
    print_rows(
        [
            {
                "rollout": r.plan.name,
                "candidate": short(r.candidate),
                "production": short(r.production),
                "stage": f"{r.stage + 1} of {len(r.plan.stages)}",
                "share": r.share,
                "verdict": rollouts.judge(opened, r.id).outcome,
                "id": r.id,
            }
            for r in rollouts.rollouts(opened)
        ],
        as_json=as_json,
    )


def _show(verdict: Verdict, as_json: bool) -> None:
    if as_json:
        print_rows([verdict.to_json()], as_json=True)
    else:
        d = verdict.difference
        seen = f"{100 * d.mean:+.2f} points" if d.count else "nothing heard yet"
        say(
            f"{verdict.outcome}: candidate − production {seen} ({100 * d.low:+.2f} to {100 * d.high:+.2f}, {d.count} units)"
        )
        heard = "heard out" if verdict.ready else "not heard out"
        say(f"  stage {verdict.stage + 1} at {100 * verdict.share:g} %: {verdict.units} units, {heard}")
    if verdict.outcome == "stop":
        raise typer.Exit(1)
