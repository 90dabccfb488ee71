"""The command line: one file per group of verbs, each a thin layer over the packages that do the work.

Mistakes that a person can mend end in one line on standard error and exit status 2; Ctrl-C ends in status 130. Tracebacks
are for defects of ours.
"""

from __future__ import annotations

import sys

import typer

from earmark.cli import (
    again,
    ask,
    audit,
    causes,
    data,
    discover,
    fields,
    impact,
    interact,
    keep,
    measure,
    model,
    overlap,
    owe,
    proof,
    protect,
    publish,
    registry,
    report,
    rollout,
    share,
    show,
    sound,
    spend,
    why,
)
from lineage.errors import EarmarkError

app = typer.Typer(
    help="Which training data made this speech model do that?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for group in (
    data,
    ask,
    fields,
    overlap,
    impact,
    proof,
    protect,
    owe,
    share,
    publish,
    model,
    measure,
    registry,
    rollout,
    again,
    spend,
    sound,
    audit,
    report,
    why,
    interact,
    discover,
    causes,
    show,
    keep,
):
    group.register(app)


INTERRUPTED = 130
GOES_ON = "earmark: interrupted; finished work is kept, the same command goes on from there\n"


def main() -> None:
    """Entry point of the `earmark` command."""
    try:
        app()
    except EarmarkError as error:
        sys.stderr.write(f"earmark: {error}\n")
        sys.exit(2)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # typer makes a silent exit of Ctrl-C
            sys.stderr.write(GOES_ON)
        raise
    except KeyboardInterrupt:
        sys.stderr.write(GOES_ON)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(0)
