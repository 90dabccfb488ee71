"""What does a sequential plan save on the demo's own audit, and does it come to the same verdicts?

    python benchmarks/sequential.py [--store FOLDER] [--spending kim-demets] [--workers 2]

The demo's plan (`earmark/demo/plan.yaml`: accents, noises, a null and a planted slice) is asked twice of one store: looking
after 2, 3, 5 and 8 seeds, and with all eight at once. The first runs as it would for anybody, and what it did not retrain the
second adds. A verdict is that of a slice on its own part of the test set. Exit status 1 where the sequential plan took more
than 60 % of the retrainings of the fixed one, or came to another verdict.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from earmark.demo import job
from influence.audit import AuditReport, findings, run
from influence.executors.spread import Spread
from influence.plans.planfile import AuditPlan, Looks
from influence.statistics.sequential import SPENDINGS, Spending
from lineage.errors import EarmarkError

MOST = 0.6


def plans(spending: Spending) -> tuple[AuditPlan, AuditPlan]:
    """The demo's plan with looks, and with as many seeds as the last look takes at once."""
    asked, looks = job.plan(), Looks(spending=spending)
    fixed = asked.model_copy(update={"name": "demo-fixed", "seeds": looks.looks[-1]})
    statistics = fixed.statistics.model_copy(update={"sequential": looks})
    return fixed.model_copy(update={"name": "demo-sequential", "statistics": statistics}), fixed


def compare(sequential: AuditReport, fixed: AuditReport) -> bool:
    """Print both; whether the targets are met."""
    said = {f.effect.train_slice: f.effect for f in findings(sequential)}
    print(f"\n{'without':<24}{'seeds':>6}  {'sequential':<32}{'fixed':<32}")
    differing = 0
    for finding in findings(fixed):
        whole, early = finding.effect, said[finding.effect.train_slice]
        differing += early.verdict != whole.verdict
        print(f"{whole.train_slice:<24}{early.seeds:>6}  {early.verdict:<32}{whole.verdict:<32}")
    share = sequential.retrainings / fixed.retrainings
    met = share <= MOST and not differing
    print(f"\n{sequential.retrainings} of {fixed.retrainings} retrainings, {share:.0%} (target {MOST:.0%} or less)")
    print(f"{differing} of {len(said)} verdicts differ (target 0)\ntargets: {'met' if met else 'MISSED'}")
    return met


def main() -> int:
    """Run both audits and print what the looks saved."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, help="keep the store here; default: a temporary folder")
    parser.add_argument("--spending", choices=SPENDINGS, default=SPENDINGS[0])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    spread = Spread(workers=arguments.workers)
    with tempfile.TemporaryDirectory() as scratch:
        store = job.open_or_make(arguments.store or Path(scratch) / "store")
        corpus = store.root.with_name(f"{store.root.name}-corpus")
        job.make_corpus(corpus, _say)
        job.record(store, corpus, _say)
        reports = [run(store, plan, spread=spread, progress=_say) for plan in plans(arguments.spending)]
        return 0 if compare(*reports) else 1


def _say(done: int, total: int, label: str) -> None:
    sys.stderr.write(f"\r{label or 'corpus'}: {done}/{total}   ")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EarmarkError as error:
        sys.exit(f"sequential: {error}")
