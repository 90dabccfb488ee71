"""A chain of three models, one of which was made twice, and one beside it; their sets have one sample each."""

from __future__ import annotations

import uuid

import pytest

from lineage import graph
from lineage.chain import chain, sets_behind
from lineage.people.reach import built_on, drawing_from
from lineage.selection.sets import SampleSet, create_set
from lineage.store import Store
from tests.lineage.conftest import rows

FIRST, SECOND, THIRD, OTHER = (letter * 64 for letter in "abcd")
SAMPLES = [uuid.UUID(int=n) for n in range(1, 5)]
SPEAKERS = [uuid.UUID(int=n) for n in range(11, 15)]


@pytest.fixture
def chained(store: Store) -> tuple[Store, list[SampleSet]]:
    with store.run("ingest") as run:
        for sample, speaker in zip(SAMPLES, SPEAKERS, strict=True):
            run.append("samples", rows([sample], speaker_key=speaker))
        sets = [create_set(run, [i], name=f"set {n}") for n, i in enumerate(SAMPLES)]
    held = {"ewc": {"set": sets[3].digest}}
    made = [
        (FIRST, "earmark:tiny", 0, {}, []),
        (SECOND, f"model:{FIRST}", 1, held, [FIRST]),
        (THIRD, f"model:{SECOND}", 2, {}, [SECOND]),
        (OTHER, "earmark:tiny", 3, {}, []),
        (FIRST, f"model:{FIRST}", 3, {}, [FIRST]),  # it was held so firmly that it did not move
    ]
    for model, base, n, config, inputs in made:
        with store.run("train", config=config, inputs=[sets[n].digest, *inputs]) as run:
            row = {
                "model_id": model,
                "name": model[0],
                "base": base,
                "set_digest": sets[n].digest,
                "artifact": model[::-1],
            }
            run.append("models", [row])
            run.append("exposures", [{"step": 0, "position": 0, "sample_id": SAMPLES[n], "weight": 1.0}])
    return store, sets


def test_a_chain_goes_back_to_its_base_nearest_first(chained: tuple[Store, list[SampleSet]]) -> None:
    store, sets = chained
    assert [link.model_id for link in chain(store, THIRD)] == [THIRD, SECOND, FIRST, FIRST]
    assert [link.parent for link in chain(store, THIRD)] == [SECOND, FIRST, FIRST, None]
    assert [link.model_id for link in chain(store, OTHER)] == [OTHER]
    assert chain(store, "nobody") == []
    digests = [s.digest for s in sets]
    assert sets_behind(store, THIRD) == [digests[2], digests[1], digests[3], digests[0]]
    assert sets_behind(store, OTHER) == [digests[3]]


def test_recordings_of_the_whole_chain_stand_behind_a_model(chained: tuple[Store, list[SampleSet]]) -> None:
    connection = chained[0].connect()

    def behind(model: str) -> list[uuid.UUID]:
        return [r[0] for r in connection.sql("FROM behind_model($1)", params=[model]).fetchall()]

    assert behind(THIRD) == SAMPLES
    assert behind(SECOND[:8]) == [SAMPLES[0], SAMPLES[1], SAMPLES[3]]
    assert behind(OTHER) == [SAMPLES[3]]


def test_whoever_is_behind_a_model_reaches_all_that_continue_it(chained: tuple[Store, list[SampleSet]]) -> None:
    store, sets = chained
    connection = store.connect()
    expected = {0: {FIRST: 1, SECOND: 0, THIRD: 0}, 1: {SECOND: 1, THIRD: 0}, 2: {THIRD: 1}}
    for n, models in expected.items():
        (sample, speaker) = SAMPLES[n], SPEAKERS[n]
        for macro in (f"models_of_speaker('{speaker}')", f"models_of_sample('{sample}')"):
            found = connection.sql(f"SELECT model_id, max(exposures) FROM {macro} GROUP BY ALL").fetchall()
            assert dict(found) == models, macro
        assert (
            graph.models_of(store, speaker=speaker).to_pylist()
            == connection.sql(f"FROM models_of_speaker('{speaker}')").to_arrow_table().to_pylist()
        )
        assert {m["model_id"] for m in graph.affected_by(store, [sample]).models.to_pylist()} == models.keys()
        affected = connection.sql(f"SELECT id FROM affected_by('{sample}') WHERE what = 'model'").fetchall()
        assert {r[0] for r in affected} == models.keys()
    assert {m["model_id"] for m in built_on(store, {FIRST})} == {SECOND, THIRD}
    assert [m["model_id"] for m in drawing_from(store, {sets[3].digest})] == [SECOND]
