"""Verbs that show: dashboard, demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earmark.cli.audit import say_status
from earmark.cli.options import DEFAULT_STORE, StoreOption
from earmark.cli.output import progress, say
from earmark.cli.spreading import AddressOption, ExecutorOption, WorkersOption, spread

if TYPE_CHECKING:
    from earmark.demo.job import Outcome

PortOption = Annotated[int, typer.Option(help="Port on this machine.")]


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command()(dashboard)
    app.command()(demo)


def dashboard(store: StoreOption = DEFAULT_STORE, port: PortOption = 8501) -> None:
    """Show the store in a browser, on this machine only, until Ctrl-C."""
    from dashboard.serve import serve

    serve(store, port)


def demo(
    store: StoreOption = Path(".demo/store"),
    port: PortOption = 8501,
    serve: Annotated[bool, typer.Option(help="Serve the dashboard afterwards.")] = True,
    workers: WorkersOption = None,
    executor: ExecutorOption = None,
    address: AddressOption = None,
) -> None:
    """The main job on the embedded corpus: what each slice of the training data did to the errors.

    With --no-serve, status 1 if the audit does not find what was planted, or something where there is nothing.
    """
    from earmark.demo.findings import print_findings
    from earmark.demo.job import main_job, open_or_make

    opened = open_or_make(store)
    outcome = main_job(opened, store.resolve().parent / "corpus", progress, spread(workers, executor, address))
    print_findings(outcome)
    if serve:
        dashboard(store, port)
    else:
        conclude(outcome, store)


def conclude(outcome: Outcome, store: Path) -> None:
    """Say where to see it, and end with the audit's status."""
    say(f"see it in a browser: earmark dashboard --store {store}")
    say_status(outcome.audit)
    if outcome.audit.status:
        raise typer.Exit(outcome.audit.status)
