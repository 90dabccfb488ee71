from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from training.determinism import deterministic


def settings() -> tuple[object, ...]:
    return (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        torch.utils.deterministic.fill_uninitialized_memory,
    )


def test_settings_and_generators_are_put_back_even_after_an_error() -> None:
    before = settings()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    expected = torch.rand(1).item(), np.random.rand(), random.random()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    with pytest.raises(ZeroDivisionError), deterministic(threads=3):
        assert settings() == (3, True, False, False, False)
        torch.rand(5), np.random.rand(5), random.random()
        1 / 0  # noqa: B018 - the error
    assert settings() == before
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected
