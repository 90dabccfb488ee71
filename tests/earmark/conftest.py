"""Where a person types commands: an empty working folder, no store named in the environment, a wide terminal."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EARMARK_STORE", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path
