"""The verb that hands an audit's result to people and programs: audit report."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earmark.cli.audit import audit
from earmark.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from earmark.cli.output import say, short
from lineage.errors import EarmarkError
from lineage.selection.slices import WHOLE
from lineage.store import Store

if TYPE_CHECKING:
    from influence.report.record import AuditRecord
    from influence.statistics.effects import Effect


def register(app: typer.Typer) -> None:
    """Add this verb to those of audits, which are part of the command line already."""
    audit.command()(report)


def report(
    audit: Annotated[str, typer.Argument(help="An audit: name, or the beginning of its digest or of its run.")],
    store: StoreOption = DEFAULT_STORE,
    html: Annotated[Path | None, typer.Option(help="Write one HTML file, to be read and printed.")] = None,
    as_json: JsonOption = False,
) -> None:
    """What an audit that is on record found: the answers, or one file with the evidence, or JSON of a fixed shape."""
    from influence.report import causes, discovered, forecasts, games, schedules
    from influence.report.machine import to_json
    from influence.report.page import page
    from influence.report.record import read
    from influence.report.words import sentence
    from influence.statistics.verdicts import NOT_IDENTIFIABLE

    found = read(Store.open(store), audit)
    if html is not None:
        try:
            html.write_text(page(found), encoding="utf-8")
        except OSError as error:
            raise EarmarkError(f"cannot write {html}: {error.strerror} — choose another place") from error
    if as_json:
        sys.stdout.write(json.dumps(to_json(found), ensure_ascii=False, allow_nan=False, indent=1) + "\n")
        return
    if html is not None:
        say(f"audit {short(found.audit)}: {html}")
        return
    for a in found.answers:
        say(f"{a.verdict}: {a.sentence} (p {a.p_adjusted:.3f}); {a.reason}")
    for e in _first(found):
        say(f"{e.verdict}: {sentence(e)}{f' Why: {e.reason}' if e.verdict == NOT_IDENTIFIABLE else ''}")
    for c in found.checks:
        say(str(c))
    for told in (schedules.lines, games.lines, causes.lines, forecasts.lines, discovered.lines):
        for line in told(found):
            say(line)


def _first(found: AuditRecord) -> list[Effect]:
    """Of each intervention the effect on its own slice, or on everything where that was not tested, by the first metric.

    What became of the planted slice is among the audit's checks of itself.
    """
    from influence.plans.checks import PLANTED

    metric = next(iter(found.metrics), "")
    cells = {(e.phrase, e.eval_slice): e for e in found.effects if e.metric == metric and e.intervention != PLANTED}
    own = {e.phrase: cells.get((e.phrase, e.train_slice)) or cells.get((e.phrase, WHOLE.name)) for e in cells.values()}
    return [e for e in own.values() if e is not None]
