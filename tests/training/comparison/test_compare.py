from __future__ import annotations

import pytest

from lineage.errors import EarmarkError
from lineage.selection.sets import members, resolve_set
from lineage.store import Store
from tests.training.conftest import speakers_of
from training.comparison.compare import compare
from training.evaluation.mapsswe import mapsswe
from training.evaluation.predict import predict
from training.models.recorded import adopt_base, resolve_model
from training.statistics import bootstrap
from training.statistics.multiplicity import holm


@pytest.fixture(scope="module")
def raw(able: Store) -> str:
    """The base that `able` was trained from, which has learnt nothing."""
    return adopt_base(able, resolve_model(able, "able").base).model_id


def test_both_tests_are_those_of_their_modules(able: Store, raw: str) -> None:
    done = compare(able, raw, "able", "test")
    first, second = predict(able, raw, "test"), predict(able, "able", "test")
    errors = [sum(p.table[c].to_numpy() for c in ("substitutions", "deletions", "insertions")) for p in (first, second)]
    words = first.table["words"].to_numpy()
    speaker = speakers_of(able)
    who = [speaker[i] for i in first.table["sample_id"].to_pylist()]
    whole = done.contrast()
    assert whole.difference == bootstrap.paired_difference(*errors, words, who)
    assert whole.difference.value == pytest.approx(whole.first - whole.second)
    assert whole.difference.value > 0  # the first is the worse
    assert whole.p == bootstrap.paired_p(*errors, words, who)
    ids = first.table["sample_id"].to_pylist()
    said = able.vault.transcripts(ids)
    heard = [able.vault.hypotheses(p.run_id) for p in (first, second)]
    assert whole.mapsswe == mapsswe([said[i] for i in ids], *([h[i] for i in ids] for h in heard))


def test_holm_is_over_the_slices_and_the_whole_stands_apart(able: Store, raw: str) -> None:
    done = compare(able, raw, "able", "test")
    whole, *slices = done.contrasts
    assert (whole.slice, whole.p_adjusted) == ("all", whole.p)
    assert [c.slice for c in slices] == ["accent=north", "accent=south"]
    assert [c.p_adjusted for c in slices] == holm([c.p for c in slices]).tolist()
    assert [c.mapsswe_adjusted for c in slices] == holm([c.mapsswe.p for c in slices]).tolist()
    ids = members(able, resolve_set(able, "test").digest)
    cut = compare(able, raw, "able", "test", slices={"few": ids.slice(0, 5)})
    assert [c.slice for c in cut.contrasts] == ["all", "few"]
    assert cut.contrast("few").samples == 5
    with pytest.raises(KeyError):
        cut.contrast("accent=north")


def test_exchanging_the_models_changes_signs_alone(able: Store, raw: str) -> None:
    one, other = compare(able, raw, "able", "test"), compare(able, "able", raw, "test")
    for a, b in zip(one.contrasts, other.contrasts, strict=True):
        assert (a.first, a.second) == (b.second, b.first)
        assert a.difference.value == -b.difference.value
        assert a.p == pytest.approx(b.p, rel=0.2)  # blocks are sorted by their sums, so the draws differ
        assert (a.mapsswe.mean, a.mapsswe.p) == (-b.mapsswe.mean, pytest.approx(b.mapsswe.p))


def test_it_is_on_record_once(able: Store, raw: str) -> None:
    done = compare(able, raw, "able", "test")
    runs = len(able.runs())
    again = compare(able, raw, "able", "test")
    assert (again.run_id, again.contrasts, len(able.runs())) == (done.run_id, done.contrasts, runs)
    rows = able.read("metrics", where="run_id = ? AND slice = 'all'", parameters=[done.run_id]).to_pylist()
    found = {r["metric"]: r for r in rows}
    whole = done.contrast()
    assert found["wer_difference"]["value"] == whole.difference.value
    assert (found["wer_difference"]["p"], found["wer_difference"]["low"]) == (whole.p, whole.difference.low)
    assert found["wer_difference"]["baseline"] == resolve_model(able, "able").model_id
    assert (found["mapsswe"]["total"], found["mapsswe"]["p"]) == (whole.mapsswe.segments, whole.mapsswe.p)


def test_a_model_is_not_compared_with_itself(able: Store) -> None:
    with pytest.raises(EarmarkError, match="are one model"):
        compare(able, "able", resolve_model(able, "able").model_id[:10], "test")
