from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from lineage.errors import AmbiguousName, EarmarkError, UnknownName
from lineage.store import Store
from training.evaluation.predict import predict
from training.families import base as bases
from training.fit import train
from training.models.recorded import adopt_base, models, open_model, resolve_model
from training.models.weights import weights_digest
from training.recipe import Recipe


@pytest.mark.parametrize("method", ["full", "lora"])
def test_opened_models_are_the_trained_ones(store: Store, recipe: Recipe, method: str) -> None:
    made = train(store, recipe.variant(method=method, name=f"{method} model", seed=31))
    opened = open_model(store, f"{method} model")
    assert opened.record == resolve_model(store, made.model_id[:10])
    assert opened.record.model_id == made.model_id
    assert not opened.model.training
    opened.family.save(opened.model, store.root.parent / method) if method == "full" else None
    if method == "full":
        assert weights_digest(store.root.parent / method) == made.model_id
    other = open_model(store, made.model_id, attention="sdpa")
    assert other.family is opened.family  # models of one base share tokeniser, features and corpora
    batch = opened.family.collate([torch.zeros(2, 20).numpy()], ["one two"])
    with torch.no_grad():
        here, there = (o.family.losses(o.model, batch)[0] for o in (opened, other))
    assert torch.allclose(here, there, rtol=1e-4)


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("fate", ["gone", "changed"])
def test_models_outlive_their_base(store: Store, recipe: Recipe, tmp_path: Path, method: str, fate: str) -> None:
    copy = tmp_path / "base"
    shutil.copytree(recipe.base, copy)
    made = train(store, recipe.variant(base=str(copy), method=method, seed=32))
    before = predict(store, made.model_id, "test").table["loss"].to_pylist()
    if fate == "gone":
        shutil.rmtree(copy)
    else:
        (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:-4] + b"\0\0\0\0")
    bases.find_base.cache_clear()
    after = predict(store, made.model_id, "test", threads=2).table["loss"].to_pylist()
    assert after == pytest.approx(before, rel=1e-4)


def test_adapters_of_a_lost_large_base_say_so(
    store: Store, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.models.recorded.KEPT_BASE", 10)
    copy = tmp_path / "base"
    shutil.copytree(recipe.base, copy)
    made = train(store, recipe.variant(base=str(copy), method="lora", seed=33))
    shutil.rmtree(copy)
    bases.find_base.cache_clear()
    with pytest.raises(EarmarkError, match="is gone and was too large to keep — restore the one with digest"):
        open_model(store, made.model_id)


def test_a_base_can_be_put_beside_its_children(store: Store, base: Path) -> None:
    adopted = adopt_base(store, str(base))
    runs = len(store.runs())
    assert adopt_base(store, str(base)) == adopted
    assert len(store.runs()) == runs
    assert adopted.set_digest is None
    assert adopted.model_id == weights_digest(base)
    assert predict(store, adopted.model_id, "test").table.num_rows == 16
    assert adopted in models(store)


def test_names_prefixes_and_what_exists(store: Store, recipe: Recipe) -> None:
    a, b = (train(store, recipe.variant(name="twin", seed=s)) for s in (41, 42))
    assert resolve_model(store, "twin").model_id == b.model_id
    assert resolve_model(store, a.model_id[:8].upper()).model_id == a.model_id
    with pytest.raises(UnknownName, match=r"no model 'twins' — did you mean 'twin'.*earmark train RECIPE"):
        resolve_model(store, "twins")
    with pytest.raises(UnknownName):
        resolve_model(store, "")
    with store.run("adopt") as run:
        run.append("models", [{"model_id": f"abcd{i}" + "0" * 59, "name": f"like {i}"} for i in range(2)])
    with pytest.raises(AmbiguousName, match="'abcd' is ambiguous"):
        resolve_model(store, "abcd")
