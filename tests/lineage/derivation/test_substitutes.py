"""Samples in the places of others, and other words for the same sound."""

from __future__ import annotations

import uuid

import pytest

from lineage.derivation.relabel import corrupted, relabel
from lineage.derivation.substitutes import pairs, record_substitutes, substitutes
from lineage.errors import EarmarkError
from lineage.ids import id_array
from lineage.selection.sets import create_set, members, resolve_set
from lineage.store import Store
from tests.lineage.conftest import ids
from tests.training.conftest import WORDS, _populate


def _record(store: Store, pairing: dict[uuid.UUID, uuid.UUID]) -> str:
    with store.run("ingest") as run:
        population = create_set(run, list(pairing), name="population")
    with store.run("intervene") as run:
        return record_substitutes(run, pairing, name="others", population=population)


def test_equal_pairings_have_one_digest_and_come_back(store: Store) -> None:
    a, b = ids(5), ids(5, seed=1)
    pairing = dict(zip(a, b, strict=True)) | {a[3]: a[3]}
    digest = _record(store, pairing)
    assert _record(store, dict(reversed(list(pairing.items())))) == digest
    found = substitutes(store, digest)
    assert pairs(found) == {x: y for x, y in pairing.items() if x != y}
    assert members(store, found.set_digest).to_pylist() == sorted(b[i] for i in (0, 1, 2, 4))


def test_what_is_no_pairing_is_told(store: Store) -> None:
    same = dict.fromkeys(ids(2))
    with pytest.raises(EarmarkError, match="replaces no sample by another"):
        _record(store, {i: i for i in same})
    with pytest.raises(EarmarkError, match="no substitutes abc on record"):
        substitutes(store, "abc")
    with pytest.raises(EarmarkError, match="is no list of substitutes"):
        substitutes(store, store.put(b"short"))


def test_other_words_are_a_child_and_the_words_back_are_the_parent(store: Store) -> None:
    _populate(store, "spoken", 4, seed=1)
    population = members(store, resolve_set(store, "spoken").digest)
    said = store.vault.transcripts(population)
    texts = corrupted(said, 0.5, 7, WORDS)
    changed = {s for s in said if texts[s] != said[s]}
    assert changed
    with store.run("intervene") as run:
        by, made = relabel(run, texts, cause="corrupted", seed=7)
    assert {s for s, child in by.items() if child != s} == changed
    assert made.new == len(changed)
    children = [by[s] for s in changed]
    assert store.vault.transcripts(id_array(children)) == {by[s]: texts[s] for s in changed}
    edges = store.read("edges").to_pylist()
    assert {(e["child_id"], e["parent_id"]) for e in edges} == {(by[s], s) for s in changed}
    with store.run("intervene") as run:
        back, _ = relabel(run, {by[s]: said[s] for s in changed})
    assert back == {by[s]: s for s in changed}


def test_corruption_grows_with_the_share_and_never_silences(store: Store) -> None:
    said = dict.fromkeys(ids(40), "one two three") | {ids(1, seed=9)[0]: "one"}
    shares = (0.0, 0.2, 0.6, 1.0)
    heard = [corrupted(said, share, 3, WORDS) for share in shares]
    assert heard[0] == said
    assert all(text for texts in heard for text in texts.values())
    touched = [{s for s in said if texts[s] != said[s]} for texts in heard]
    assert touched[0] < touched[1] < touched[2] < touched[3] == set(said)
    assert corrupted(said, 1.0, 3, ["one"])[ids(1, seed=9)[0]] == "one"  # there is no other word
