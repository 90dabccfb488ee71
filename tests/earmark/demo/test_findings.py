"""What the demo prints and how it ends, after its job has asked a small plan of a small store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from earmark.cli.output import progress
from earmark.cli.show import conclude
from earmark.demo.findings import print_findings
from earmark.demo.job import Outcome, ask
from influence.audit import run
from influence.plans.checks import PLANTED
from influence.plans.planfile import AuditPlan
from influence.statistics.verdicts import NO_EFFECT
from lineage.store import Store
from tests.influence.conftest import populate

pytestmark = pytest.mark.slow

WIDE = 999  # points of WER: nothing hurts beyond it, and everything lies within it


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store.init(tmp_path_factory.mktemp("findings") / "store")
    populate(made, "train", 36, seed=1)
    populate(made, "test", 108, seed=2)  # in noise alone there are words enough for a verdict
    return made


@pytest.fixture(scope="module")
def fields() -> dict[str, Any]:
    """A plan like the demo's; its margin is so wide that no planted harm is beyond it."""
    recipe = {
        "name": "tiny", "base": "earmark:whisper-tiny", "train": "train", "evaluate": ["test"], "epochs": 1, "batch_size": 6,
        "learning_rate": 3e-3, "checkpoints": 2, "threads": 1,
    }  # fmt: skip
    return {
        "recipe": recipe, "slices": ["accent=*", "noise=hum"], "seeds": 2, "controls": {"number": 1},
        "statistics": {"replicates": 200, "margins": {"wer": WIDE}}, "null": ["noise=hum"],
        "planted": {"share": 0.2, "words": 1}, "fail_on": ["power", "null", "failures"],
    }  # fmt: skip


@pytest.fixture(scope="module")
def outcome(town: Store, fields: dict[str, Any]) -> Outcome:
    return ask(town, AuditPlan.parse(fields), progress)


@pytest.fixture
def told(here: Path, capsys: pytest.CaptureFixture[str], outcome: Outcome) -> list[str]:
    print_findings(outcome)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_rates_are_the_evaluation_s(told: list[str], outcome: Outcome) -> None:
    assert told[0] == "Word error rate by slice of the test data"
    shown = [line.split()[0] for line in told[2 : told.index("")]]
    assert shown == ["all", "accent=north", "accent=south", "accent=west", "noise=clean", "noise=hum"]
    whole = next(f for f in outcome.evaluation.figures if (f.metric, f.slice) == ("wer", "all"))
    row = next(line.split() for line in told if line.startswith("all "))
    assert row[1] == f"{100 * whole.interval.value:.1f}"
    assert row[-2:] == ["6", str(whole.words)]


def test_effects_are_the_audit_s_largest_first(told: list[str], outcome: Outcome) -> None:
    begun = told.index("What leaving a slice out of training does to that slice")
    shown = [line.split() for line in told[begun + 2 : begun + 6]]
    measured = {e.train_slice: e for e in outcome.audit.effects if e.metric == "wer" and e.eval_slice == e.train_slice}
    assert {row[0] for row in shown} == set(measured)
    assert [row[1] for row in shown] == sorted((f"{100 * e.estimate:+.1f}" for e in measured.values()), key=float)[::-1]
    assert all(line.endswith(measured[line.split()[0]].verdict) for line in told[begun + 2 : begun + 6])


def test_the_audit_s_own_checks_and_the_fidelity_follow(told: list[str], outcome: Outcome) -> None:
    planted = outcome.audit.effect(PLANTED, "all")
    line = next(i for i, text in enumerate(told) if "corrupted on purpose" in text)
    assert f"{100 * planted.estimate:+.1f}, {100 * planted.low:+.1f} to {100 * planted.high:+.1f}):" in told[line]  # type: ignore
    assert told[line + 1].startswith("  planted: the audit's power is not shown (")
    assert told[line + 2].startswith(f"  noise=hum: no effect, as expected ({NO_EFFECT}")
    value = outcome.fidelity.spearman.value
    assert f"over {len(outcome.fidelity.cells)} cells, loss: Spearman {value:.2f} (" in told[line + 3]


def test_a_met_condition_is_named_and_is_the_status(outcome: Outcome, here: Path, capsys: Any) -> None:
    with pytest.raises(typer.Exit) as ended:
        conclude(outcome, here / "store")
    assert ended.value.exit_code == 1
    assert capsys.readouterr().out.splitlines()[-1] == "status 1: power"


def test_where_none_is_met_it_ends_well(
    outcome: Outcome, town: Store, fields: dict[str, Any], here: Path, capsys: Any
) -> None:
    asked = AuditPlan.parse({**fields, "fail_on": ["null", "failures"], "amends": outcome.audit.audit})
    conclude(replace(outcome, audit=run(town, asked)), here / "store")
    assert "status" not in capsys.readouterr().out


@pytest.mark.usefixtures("here")
def test_what_failed_is_said_even_if_it_was_the_planted_slice(outcome: Outcome, capsys: Any) -> None:
    left = tuple(e for e in outcome.audit.effects if e.train_slice != PLANTED)
    failed = replace(outcome.audit, effects=left, failures={"with the planted slice, seed 0": "Traceback\nKilled"})
    print_findings(replace(outcome, audit=failed))
    shown = capsys.readouterr().out
    assert "corrupted on purpose: not measured)" in shown
    assert "failed: with the planted slice, seed 0: Killed" in shown
