from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lineage.errors import EarmarkError
from training.recipe import Lora, Recipe

GOOD = "name: x\nbase: earmark:whisper-tiny\ntrain: t\nepochs: 3\nlearning_rate: 1e-3\n"


def load(tmp_path: Path, text: str | bytes) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Recipe.load(path)


def test_a_recipe_survives_the_round_trip(tmp_path: Path) -> None:
    recipe = load(tmp_path, GOOD + "method: lora\nlora: {rank: 4, targets: [q_proj]}\nevaluate: test\n")
    assert recipe.lora == Lora(rank=4, targets=("q_proj",))
    assert recipe.evaluate == ("test",)
    assert recipe.learning_rate == 1e-3  # YAML 1.1 reads 1e-3 as text
    assert Recipe.parse(recipe.model_dump()) == recipe
    assert Recipe.parse(recipe.model_dump(mode="json")).digest == recipe.digest


def test_errors_are_looked_at_on_the_set_asked_for_or_the_first_named(tmp_path: Path) -> None:
    recipe = load(tmp_path, GOOD + "evaluate: [one, two]\n")
    assert (recipe.tested_on(), recipe.tested_on("three")) == ("one", "three")
    with pytest.raises(EarmarkError, match="names no evaluation set"):
        load(tmp_path, GOOD).tested_on()


def test_the_digest_depends_on_values_not_on_order(tmp_path: Path) -> None:
    backwards = "\n".join(reversed(GOOD.splitlines()))
    assert load(tmp_path, GOOD).digest == load(tmp_path, backwards).digest
    assert load(tmp_path, GOOD).digest != load(tmp_path, GOOD + "seed: 1\n").digest


def test_the_essence_leaves_out_what_the_weights_do_not_depend_on(tmp_path: Path) -> None:
    recipe = load(tmp_path, GOOD)
    assert (
        recipe.essence == recipe.variant(name="y", evaluate=["u"], checkpoints=3, save_steps=2, save_seconds=1).essence
    )
    assert recipe.essence != recipe.variant(weight_decay=0.1).essence


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("learning_rat: 3\n", "unknown field 'learning_rat' — did you mean 'learning_rate'?"),
        ("method: lora\nlora: {rnk: 4}\n", "unknown field 'lora.rnk' — did you mean 'rank'?"),
        ("epochs: 4\n", "line 6, column 1: 'epochs' is given twice"),
        ("lora: {rank: 4}\n", "'lora' is given but 'method' is full"),
        ("method: lora\nlora: {rank: 0}\n", "field 'lora.rank'"),
        ("batch_size: many\n", "field 'batch_size'"),
        ("batch_size: yes\n", "read as True"),
        ("warmup: 2.5\n", "give a share below 1, or a whole number of steps"),
        ("precision: bf16\n", "write precision: fp32"),
        ("weight_decay: .nan\n", "finite"),
        ("seed: -1\n", "field 'seed'"),
        ("device: gpu\n", "'cpu', 'cuda' or 'auto'"),
        ("transcripts: bsic\n", "choose one of none, basic"),
        ("task: transcribe\n", "without 'language'"),
        ("schedule: cosine_with_min_lr\n", "needs 'min_lr_rate'"),
        ("min_lr_rate: 0.1\n", "'min_lr_rate' is given but 'schedule' is linear"),
        ("power: 2\n", "'power' is given but 'schedule' is linear"),
        ("spec_augment: {time_mask: 2}\n", "unknown field 'spec_augment.time_mask' — did you mean 'time_masks'?"),
        ("spec_augment: {time_share: 2}\n", "field 'spec_augment.time_share'"),
        ("spec_augment: yes\n", "read as True"),
        ("patience: 3\n", "'patience' 3 needs a set to measure on; add development: SET"),
        ("keep: best\n", "'keep' best needs a set to measure on"),
        ("evaluate_every: 5\n", "'evaluate_every' 5 needs a set to measure on"),
        ("development: t\n", "'development' is the training set"),
        ("development: d\npatience: 0\n", "field 'patience'"),
        ("3: 4\n", "field 3 is not a name"),
        ("a: [\n", "line 7, column 1: not YAML"),
        ("x: !!python/object/apply:os.system ['true']\n", "not YAML"),
        ("batch_size: &a [*a, *a]\n", "field 'batch_size'"),
    ],
)
def test_every_mistake_is_one_line_with_file_and_mend(tmp_path: Path, extra: str, said: str) -> None:
    with pytest.raises(EarmarkError) as caught:
        load(tmp_path, GOOD + extra)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "recipe.yaml"))
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "raw",
    [b"", b"null", b"[1, 2]", b"- a", b"\xff\xfe", b"[" * 20_000, b'name: "a\\x1b[2J"\nbase: b\ntrain: t\nepochs: 1'],
)
def test_what_is_no_recipe_is_refused(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(EarmarkError):
        load(tmp_path, raw)


def test_missing_fields_are_explained(tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match=r"field 'base' is missing — add it: 'earmark:NAME'"):
        load(tmp_path, "name: x")
    with pytest.raises(EarmarkError, match="there is no recipe"):
        Recipe.load(tmp_path / "absent.yaml")
    with pytest.raises(EarmarkError, match="cannot be read"):
        Recipe.load(tmp_path)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*Recipe.model_fields, "odd"]), values, max_size=6))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_values_get_past_the_errors_for_people(changes: dict[str, Any]) -> None:
    fields = {"name": "x", "base": "b", "train": "t", "epochs": 1, "learning_rate": 0.1, **changes}
    try:
        recipe = Recipe.parse(fields)
    except EarmarkError as error:
        lines = str(error).splitlines()
    else:
        assert Recipe.parse(recipe.model_dump()).digest == recipe.digest
        return
    assert len(lines) == 1
