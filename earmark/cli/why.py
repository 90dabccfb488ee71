"""Verbs that ask why: attribute."""

from __future__ import annotations

from typing import Annotated

import typer

from earmark.cli.evaluation import ModelArgument, OnOption
from earmark.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from earmark.cli.output import print_json, progress, say
from earmark.cli.spreading import AddressOption, ExecutorOption, WorkersOption, spread
from lineage.store import Store


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command()(attribute)


def attribute(
    model: ModelArgument,
    target: Annotated[list[str] | None, typer.Option(help="Evaluation slices: accent=*, or SQL; repeatable.")] = None,
    on: OnOption = None,
    method: Annotated[str, typer.Option(help="grad_dot, tracin or adam_tracin.")] = "adam_tracin",
    store: StoreOption = DEFAULT_STORE,
    workers: WorkersOption = None,
    executor: ExecutorOption = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Split each evaluation slice's loss among the training samples by gradients."""
    from influence.attribution.attribute import attribute as run

    with progress("attributing") as report:
        done = run(
            Store.open(store), model, method=method, targets=target or (), evaluation_set=on,
            spread=spread(workers, executor, address), progress=report,
        )  # fmt: skip
    if as_json:
        value = {"run": done.run_id, "model": done.model_id, "method": method, "targets": done.targets}
        print_json({**value, "samples": done.samples})
        return
    say(f"{done.samples} samples × {len(done.targets)} targets by {method}, run {done.run_id}")
