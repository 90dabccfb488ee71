from __future__ import annotations

import pytest
import torch

from tests.training.conftest import tiny_whisper
from training.families import Family, open_family
from training.families.base import find_base
from training.models import pristine


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return open_family("whisper", find_base(str(tiny_whisper(tmp_path_factory.mktemp("base")))))


def test_copies_are_what_the_files_give_whatever_became_of_earlier_ones(family: Family) -> None:
    first = pristine.fresh(family, dropout=0.1, attention="eager")
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(1)
    second, read = pristine.fresh(family, dropout=0.1, attention="eager"), family.model(dropout=0.1)
    mine, theirs = second.state_dict(), read.state_dict()
    assert list(mine) == list(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    wants = [[(n, p.requires_grad) for n, p in m.named_parameters()] for m in (second, read)]  # tied ones appear once
    assert wants[0] == wants[1]


def test_another_dropout_is_another_model(family: Family) -> None:
    found = [pristine.fresh(family, dropout=d, attention="eager").config.dropout for d in (0.0, 0.3, 0.0)]
    assert found == [0.0, 0.3, 0.0]


def test_what_is_large_is_not_kept(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pristine, "MOST_BYTES", 0)
    monkeypatch.setattr(pristine, "_kept", {})
    pristine.fresh(family, dropout=0.2, attention="eager")
    assert not pristine._kept
