"""How work is spread: every verb that retrains takes these three options, and makes one value of them (`spread`)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from influence.executors.spread import Spread

WORKERS = min(4, os.cpu_count() or 1)
WorkersOption = Annotated[
    int | None,
    typer.Option(
        help="Workers, of the recipe's threads each; default: as a plan says, else one a core, at most 4.", min=1
    ),
]
ExecutorOption = Annotated[
    str | None,
    typer.Option(help="Where the workers are: local (this machine) or ray; default: as a plan says, else local."),
]
AddressOption = Annotated[
    str | None,
    typer.Option(help="Ray cluster: local, auto, HOST:PORT or ray://HOST:PORT; default: RAY_ADDRESS, else local."),
]


def spread(workers: int | None, executor: str | None, address: str | None, planned: Spread | None = None) -> Spread:
    """What the three options say; what is not given is as `planned`, but for the address of another kind of executor.

    Raises:
        EarmarkError: they do not go together.
    """
    from influence.executors.spread import Spread

    before = planned or Spread(workers=WORKERS)
    kind = executor or before.kind
    return Spread(kind, workers or before.workers, address or (before.address if kind == before.kind else None))
