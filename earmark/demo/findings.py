"""What the demo found, as tables for a terminal."""

from __future__ import annotations

from rich.table import Table

from earmark.cli.output import console, say, say_failures, span
from earmark.demo.corpus import NULL_ACCENT
from earmark.demo.job import Outcome
from influence.attribution.fidelity import Correlation
from influence.audit import findings
from influence.plans.checks import PLANTED
from influence.statistics.effects import Effect
from lineage.selection.slices import WHOLE


def print_findings(outcome: Outcome) -> None:
    """Word error rates by slice; what each slice of the training data does to its own errors; how far to believe that."""
    terminal = console()
    terminal.print(_rates(outcome))
    terminal.print(_effects(outcome))
    say(
        "Points of WER, 95 % intervals. Positive: the model is worse without that part of its training data. "
        f"'{NULL_ACCENT}' is already known to the base model: the built-in null."
    )
    say(
        "The audit's checks of itself (without the recordings whose words were corrupted on purpose: "
        f"{_planted(outcome)}):"
    )
    for check in outcome.audit.checks:
        say(f"  {check}")
    say_failures(outcome.audit.failures)
    f = outcome.fidelity
    say(
        f"Gradients ({f.method}) against retraining over {len(f.cells)} cells, {f.metric}: Spearman {_span(f.spearman)}, "
        f"Pearson {_span(f.pearson)}; at best {f.ceiling:.2f} could be reached, given the noise of the retrainings."
    )


def _planted(outcome: Outcome) -> str:
    """What leaving the planted slice out did; its retrainings may have failed."""
    try:
        p = outcome.audit.effect(PLANTED, WHOLE.name)
    except KeyError:
        return "not measured"
    return f"{100 * p.estimate:+.1f}, {span(p.low, p.high)}"


def _rates(outcome: Outcome) -> Table:
    table = Table(title="Word error rate by slice of the test data", box=None, title_justify="left", pad_edge=False)
    for column in ("slice", "WER", "interval", "speakers", "words"):
        table.add_column(column, justify="left" if column == "slice" else "right")
    for f in outcome.evaluation.figures:
        if f.metric == "wer" and (f.slice == "all" or f.slice.startswith(("accent=", "noise="))):
            i = f.interval
            ends = span(i.low, i.high, ".1f")
            table.add_row(f.slice, f"{100 * i.value:.1f} %", ends, str(i.blocks), str(f.words))
    return table


def _effects(outcome: Outcome) -> Table:
    table = Table(title="\nWhat leaving a slice out of training does to that slice", box=None, title_justify="left")
    for column in ("left out", "Δ WER", "interval", "random removal", "interval", "its data …"):
        table.add_column(column, justify="left" if column in ("left out", "its data …") else "right")
    for found in findings(outcome.audit):
        e: Effect = found.effect
        table.add_row(
            e.train_slice, f"{100 * e.estimate:+.1f}", span(e.low, e.high),
            "" if e.control is None else f"{100 * e.control:+.1f}", span(e.control_low, e.control_high), e.verdict,
        )  # fmt: skip
    return table


def _span(c: Correlation) -> str:
    return f"{c.value:.2f} ({c.low:.2f} to {c.high:.2f})"
