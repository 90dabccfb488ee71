"""Options that several verbs share, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StoreOption = Annotated[
    Path, typer.Option("--store", "-s", envvar="EARMARK_STORE", help="The store's folder.", show_default=True)
]
DEFAULT_STORE = Path("earmark-store")
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
ExecutorOption = Annotated[
    str | None,
    typer.Option(help="Where the workers are: local (this machine) or ray; default: as a plan says, else local."),
]
AddressOption = Annotated[
    str | None,
    typer.Option(help="Ray cluster: local, auto, HOST:PORT or ray://HOST:PORT; default: RAY_ADDRESS, else local."),
]
