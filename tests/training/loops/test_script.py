"""What of a script's configuration goes on the record."""

from __future__ import annotations

from typing import Any

import pytest

from lineage.identity import digest_of
from training.loops.script import plain


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"learning_rate": 0.1, "epochs": 3, "bf16": True}, {"learning_rate": 0.1, "epochs": 3, "bf16": True}),
        ({"output_dir": "out", "hub_token": "hf_x", "run_name": "ann", "resume_from_checkpoint": "x"}, {}),
        ({"where": "/home/ann/x", "home": "~/x", "here": "./x", "drive": "C:\\ann"}, {}),
        ({"object": object(), "none": None, "long": "x" * 201}, {}),
        ({"loss": float("nan"), "big": 1 << 60}, {"loss": "nan", "big": str(1 << 60)}),
        ({"nested": {"optim": "adamw", "log_dir": "x"}}, {"nested": {"optim": "adamw"}}),
        ({"betas": (0.9, 0.999)}, {"betas": [0.9, 0.999]}),
    ],
)  # fmt: skip
def test_numbers_and_words_but_no_places(given: dict[str, Any], kept: dict[str, Any]) -> None:
    assert plain(given) == kept
    digest_of(plain(given))
