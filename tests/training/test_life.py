"""The life of a model of each family: trained, killed, resumed, evaluated, replayed, published, loaded back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lineage.selection.sets import SampleSet
from lineage.store import Store
from tests.training.conftest import tiny_voxtral, tiny_whisper
from tests.training.families.ctc_bases import tiny_ctc
from tests.training.hub_server import Hub
from tests.training.loops.test_resume import PLAIN, killed
from training.evaluation.evaluate import evaluate
from training.families import open_family
from training.families.base import find_base
from training.fit import train
from training.models.weights import weights_digest
from training.publishing.publish import publish_model
from training.recipe import Recipe
from training.replay import replay

pytestmark = pytest.mark.usefixtures("plain_main")

FAMILIES: dict[str, tuple[str, Callable[[Path], Path], dict[str, Any]]] = {
    "whisper": ("whisper", tiny_whisper, {}),
    "wav2vec2": ("ctc", lambda folder: tiny_ctc(folder, "wav2vec2, group norm"), {}),
    "w2v-bert": ("ctc", lambda folder: tiny_ctc(folder, "w2v-bert"), {}),
    "voxtral": ("voxtral", tiny_voxtral, {"language": "en"}),
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_killed_resumed_replayed_published_and_loaded_back(
    kind: str, store: Store, populate: Callable[..., SampleSet], hub: Hub, tmp_path: Path
) -> None:
    family, make, fields = FAMILIES[kind]
    recipe = Recipe(
        name=kind, family=family, base=str(make(tmp_path / "base")), train="train", evaluate=("test",), epochs=1,
        batch_size=6, learning_rate=3e-3, **PLAIN, **fields,
    )  # fmt: skip
    shutil.copytree(store.root, tmp_path / "killed")
    killed(tmp_path / "killed", recipe, 3)
    interrupted = Store.open(tmp_path / "killed")
    made = train(interrupted, recipe)
    assert interrupted.resolve_run(made.run_id).result["resumed"]
    assert made.model_id == train(store, recipe).model_id
    assert evaluate(store, made.model_id, "test", replicates=20).figure().words > 0
    assert replay(interrupted, made.model_id).identical
    publish_model(interrupted, made.model_id, f"ann/{kind}")
    find_base.cache_clear()
    back = find_base(f"ann/{kind}")
    assert weights_digest(back.path) == made.model_id
    assert open_family(family, back, language=fields.get("language")).model() is not None
