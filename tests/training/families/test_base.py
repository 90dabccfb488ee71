from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lineage.errors import EarmarkError, UnknownName
from lineage.store import Store
from training.families.base import Base, find_base
from training.models.recorded import KEPT_BASE


def test_the_packaged_base_is_small_and_complete() -> None:
    base = find_base("earmark:whisper-tiny")
    assert base.bytes < 1 << 20 < KEPT_BASE
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"} <= {
        p.name for p in base.files
    }


def test_a_kept_base_has_its_own_digest_for_a_name(base: Path, store: Store, tmp_path: Path) -> None:
    found = find_base(str(base))
    found.copy_to(tmp_path)
    assert store.put(tmp_path) == found.digest


def test_only_what_decides_the_model_counts(base: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(base, copy)
    (copy / "README.md").write_text("a card")
    assert Base("x", copy).digest == Base("y", base).digest
    (copy / "consolidated.safetensors").write_bytes(b"the same weights in Mistral's own format")
    assert Base("x", copy).digest == Base("y", base).digest
    config = copy / "config.json"
    config.write_text(config.read_text().replace('"gelu"', '"relu"'))
    assert Base("x", copy).digest != Base("y", base).digest


def test_what_is_no_base_is_named(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"no packaged base 'whisper-tinny' — did you mean 'whisper-tiny'"):
        find_base("earmark:whisper-tinny")
    for ref in (str(tmp_path / "absent"), "./absent", "a/b/c", "absent"):
        with pytest.raises(EarmarkError, match="there is no base at"):
            find_base(ref)
    with pytest.raises(EarmarkError, match=r"has no config\.json"):
        find_base(str(tmp_path))
    shutil.copy(base / "config.json", tmp_path)
    with pytest.raises(EarmarkError, match="has no weights"):
        find_base(str(tmp_path))


def test_a_hub_that_is_out_of_reach_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EarmarkError, match="neither a folder here nor to be had from the hub") as caught:
        find_base("nobody/nothing-of-the-kind")
    assert "\n" not in str(caught.value)
