"""Options that verbs share mean the same everywhere."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from earmark.cli import app
from earmark.cli.spreading import WORKERS, spread
from influence.executors.spread import Spread
from lineage.errors import EarmarkError

RETRAIN = (("audit", "run"), ("interact",), ("whatif",), ("collect",), ("attribute",), ("demo",))


@pytest.mark.parametrize("verb", RETRAIN, ids=" ".join)
def test_whatever_retrains_can_be_spread(verb: tuple[str, ...]) -> None:
    told = CliRunner().invoke(app, [*verb, "--help"], env={"COLUMNS": "200"}).output
    assert all(option in told for option in ("--workers", "--executor", "--address"))


def test_what_is_not_said_is_as_planned() -> None:
    planned = Spread("ray", 9, "auto")
    assert spread(None, None, None) == Spread(workers=WORKERS)
    assert spread(None, None, None, planned) == planned
    assert spread(3, None, None, planned) == Spread("ray", 3, "auto")
    assert spread(None, None, "head:6379", planned) == Spread("ray", 9, "head:6379")
    assert spread(None, "local", None, planned) == Spread(workers=9)  # the address was that of the cluster
    with pytest.raises(EarmarkError, match="add executor ray"):
        spread(None, None, "auto")
