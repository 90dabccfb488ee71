"""Verbs that prove: prove, check-proof, verify, checkpoint."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from earmark.cli.options import DEFAULT_STORE, JsonOption, SetArgument, StoreOption
from earmark.cli.output import print_json, progress, say
from lineage.errors import EarmarkError
from lineage.graph import resolve_sample
from lineage.proof import merkle
from lineage.proof.verifier import checkpoint_text
from lineage.proof.verifier import verify as check
from lineage.selection import sets
from lineage.store import Store


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command()(prove)
    app.command("check-proof")(check_proof)
    app.command()(verify)
    app.command()(checkpoint)


def prove(
    set_ref: SetArgument,
    sample: Annotated[str, typer.Argument(help="A sample id, or the beginning of one on record.")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Print a proof (JSON) that a sample is in a set, or that it is not; it can be checked with no store at hand."""
    import uuid

    opened = Store.open(store)
    chosen = sets.resolve_set(opened, set_ref)
    try:
        wanted = uuid.UUID(sample)  # a sample that was never here can be proved absent
    except ValueError:
        wanted = resolve_sample(opened, sample)
    proof = sets.prove(opened, chosen.digest, wanted)
    sys.stdout.write(json.dumps(proof.to_json()) + "\n")


def check_proof(
    proof: Annotated[Path, typer.Argument(help="The proof, a JSON file; - for standard input.")],
    set_digest: Annotated[str | None, typer.Option("--set", help="The set digest that you trust.")] = None,
) -> None:
    """Check a proof made by `earmark prove`; exit status 1 if it does not hold."""
    try:
        found = merkle.Proof.from_json(json.loads(sys.stdin.read() if str(proof) == "-" else proof.read_text()))
    except (OSError, ValueError) as error:
        raise EarmarkError(f"{proof}: {error} — give a file made by: earmark prove SET SAMPLE") from error
    if not found.holds() or (set_digest is not None and set_digest != found.set_digest):
        say(f"does NOT hold: it proves nothing about {found.sample}")
        raise typer.Exit(1)
    word = "is" if found.member else "is NOT"
    say(f"holds: sample {found.sample} {word} in the set {found.set_digest} of {found.size} samples")


def verify(
    store: StoreOption = DEFAULT_STORE,
    against: Annotated[Path | None, typer.Option(help="A checkpoint that was kept elsewhere.")] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every row as well: did compactions keep them all?")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every byte of the record against the signed log; exit status 1 if anything was changed."""
    Store.open(store)
    with progress("verifying") as tell:
        report = check(store, against, tell, deep)
    if as_json:
        value: dict[str, Any] = {"ok": report.ok, "runs": report.runs, "files": report.files, "bytes": report.bytes}
        value |= {
            "findings": [f.__dict__ for f in report.findings],
            "leftovers": report.leftovers,
            "unerased": report.unerased,
        }
        print_json(value)
    else:
        for finding in report.findings:
            say(str(finding))
        if report.leftovers:
            say(f"{len(report.leftovers)} files of runs that were killed; no reader sees them")
        if report.unerased:
            say(f"{len(report.unerased)} files that were erased are still there — to finish that: earmark retain")
        verdict = "intact" if report.ok else f"{len(report.findings)} findings"
        say(f"{report.runs} runs, {report.files} files, {report.bytes / 1e6:.1f} MB: {verdict}")
    if not report.ok:
        raise typer.Exit(1)


def checkpoint(store: StoreOption = DEFAULT_STORE) -> None:
    """Print a signed checkpoint of the log (JSON), to be kept elsewhere and given to `verify --against` later."""
    sys.stdout.write(checkpoint_text(Store.open(store).log.checkpoint()).decode())
