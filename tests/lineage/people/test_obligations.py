"""What erasures leave owing, and what makes it good."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from lineage.errors import AmbiguousName, EarmarkError, UnknownName
from lineage.people.erase import erase, finish
from lineage.people.obligations import RETIRED, RETRAINED, WITHDRAWN, obligations, owing, settle
from lineage.people.reach import sample
from lineage.proof.verifier import verify
from lineage.selection.sets import create_set, resolve_set
from lineage.store import Store
from tests.lineage.conftest import ids, rows

SAMPLES = ids(4)
GONE = SAMPLES[0]


def model(letter: str) -> str:
    return letter * 64


def train(store: Store, letter: str, taken: list[uuid.UUID], name: str = "listener", base: str | None = None) -> str:
    """A model that consumed these samples, and perhaps was trained from another; its id."""
    with store.run("train", inputs=[model(base)] if base else []) as run:
        run.append("exposures", [{"step": 0, "position": 0, "sample_id": s, "weight": 1.0} for s in taken])
        run.append("models", [{"model_id": model(letter), "name": name}])
        run.outputs.append(model(letter))
    return model(letter)


@pytest.fixture
def erased(store: Store) -> Store:
    """A set, a model `a` of it and an export of that model; then one sample of the set was erased."""
    with store.run("ingest") as run:
        run.append("samples", rows(SAMPLES, source="booth"))
        create_set(run, SAMPLES, name="train")
    train(store, "a", SAMPLES)
    config = {"model": model("a"), "set": None, "samples": False, "format": "x", "to": "partner"}
    with store.run("export", config=config) as run:
        run.outputs.append("e" * 64)
    erase(store, sample(store, str(GONE)))
    return store


def open_(store: Store) -> list[str]:
    return [o["digest"][:1] for o in owing(store)]


def how(store: Store, letter: str) -> dict[str, Any]:
    found = next(o for o in obligations(store) if o["digest"] == model(letter))
    assert found["settled"] is not None
    settled: dict[str, Any] = found["settled"]
    return settled


def test_what_is_owed_says_by_what_and_since_when(erased: Store) -> None:
    tombstone = erased.runs()[-1]
    mine, theirs = owing(erased)
    assert (mine["name"], mine["event"], mine["detail"]) == (
        "listener", "owes_retrain", {"erasure": tombstone.id, "samples": 1},
    )  # fmt: skip
    assert (theirs["name"], theirs["event"], theirs["detail"]["erasure"]) == (
        "partner",
        "owes_withdrawal",
        tombstone.id,
    )


def test_each_is_settled_by_an_event_that_says_who_and_why(erased: Store) -> None:
    settle(erased, "listener", RETIRED, by="dpo", reason="replaced by a vendor's")
    assert open_(erased) == ["e"]
    done = settle(erased, "eeee", WITHDRAWN, by="legal")
    assert open_(erased) == []
    assert done["settled"]["detail"]["by"] == "legal"
    assert how(erased, "a")["detail"] == {
        "by": "dpo", "reason": "replaced by a vendor's", "erasure": owed_by(erased, "a"),
    }  # fmt: skip
    events = erased.sql("SELECT event FROM model_events ORDER BY run_id, event")["event"].to_pylist()
    assert events == ["owes_retrain", "owes_withdrawal", "retired", "withdrawn"]
    with pytest.raises(UnknownName, match="earmark owing"):
        settle(erased, "listener", RETIRED, by="dpo")
    assert verify(erased.root).ok


def owed_by(store: Store, letter: str) -> str:
    erasure: str = next(o["detail"]["erasure"] for o in obligations(store) if o["digest"] == model(letter))
    return erasure


def test_a_successor_settles_it_when_it_is_named_or_bears_the_name(erased: Store) -> None:
    successor = train(erased, "b", SAMPLES[1:], name="listener 2")
    assert resolve_set(erased, "train").size == 3
    assert open_(erased) == ["a", "e"]
    settle(erased, "aaaa", RETRAINED, by="ml", successor="listener 2")
    assert open_(erased) == ["e"]
    assert how(erased, "a")["detail"]["successor"] == successor
    again = sample(erased, str(SAMPLES[1]))
    erase(erased, again)  # a later erasure that reaches both
    assert open_(erased) == ["a", "b", "e"]
    train(erased, "c", SAMPLES[2:])
    assert open_(erased) == ["b", "e"]
    assert how(erased, "a")["event"] == RETRAINED
    assert how(erased, "a")["detail"] == {"successor": model("c")}


def test_nothing_settles_it_that_has_learnt_from_what_was_erased(erased: Store) -> None:
    train(erased, "b", SAMPLES[1:], base="a")  # of the same name, and trained from the one that owes
    train(erased, "c", SAMPLES[1:], name="third", base="b")
    assert open_(erased) == ["a", "e"]
    for letter in "bc":
        with pytest.raises(EarmarkError, match="has consumed what was erased, or stands on"):
            settle(erased, "aaaa", RETRAINED, by="ml", successor=model(letter))
    finish(erased)
    assert open_(erased) == ["a", "e", "b", "c"]  # oldest first
    assert {o["detail"]["erasure"] for o in owing(erased)} == {owed_by(erased, "a")}
    finish(erased)
    assert len(owing(erased)) == 4


def test_mistakes_are_told(erased: Store) -> None:
    train(erased, "b", SAMPLES[1:], name="other")
    for what, told, error in (
        (("nobody", RETIRED), {}, UnknownName),
        (("listener", "forgiven"), {}, UnknownName),
        (("listener", RETIRED), {"by": " "}, EarmarkError),
        (("listener", RETIRED), {"successor": "other"}, EarmarkError),
        (("listener", RETRAINED), {}, EarmarkError),
        (("listener", RETRAINED), {"successor": "nobody"}, UnknownName),
        (("eeee", RETRAINED), {"successor": "other"}, EarmarkError),
        (("eeee", RETIRED), {}, EarmarkError),
    ):
        with pytest.raises(error):
            settle(erased, *what, **{"by": "dpo", **told})
    assert len(owing(erased)) == 2


def test_an_older_model_is_no_successor_and_a_shared_name_has_to_be_told_apart(store: Store) -> None:
    with store.run("ingest") as run:
        run.append("samples", rows(SAMPLES))
    train(store, "b", SAMPLES[1:], name="older")
    train(store, "a", SAMPLES)
    train(store, "c", SAMPLES)
    erase(store, sample(store, str(GONE)))
    with pytest.raises(EarmarkError, match="older than the erasure"):
        settle(store, "aaaa", RETRAINED, by="ml", successor="older")
    with pytest.raises(AmbiguousName):
        settle(store, "listener", RETIRED, by="ml")
    settle(store, "cccc", RETIRED, by="ml")
    assert open_(store) == ["a"]
