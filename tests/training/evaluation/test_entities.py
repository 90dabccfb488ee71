from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.errors import EarmarkError
from training.evaluation.entities import Finder, Tally, read_terms, tallies, tally
from training.evaluation.wer import align
from training.normalise import normaliser

BASIC = normaliser("basic")
words = st.lists(st.sampled_from("abc"), max_size=8)


def test_an_entity_is_right_if_all_of_it_came_out_whole() -> None:
    names = Finder(["New York", "Anna"], BASIC)

    def found(said: str, heard: str) -> Tally:
        return tally(align(said, heard), names)

    assert found("anna is in new york", "anna is in new york") == Tally(2, 2)
    assert found("anna is in new york", "hannah is in new work") == Tally(2, 0)
    assert found("anna is in new york", "anna in new uh york") == Tally(2, 1)  # something in between
    assert found("in new york", "uh in new york uh") == Tally(1, 1)  # nothing to do with it
    assert found("no one here", "anna here") == Tally(0, 0)


def test_the_longest_term_counts_once() -> None:
    assert Finder(["a", "a b", "b"], BASIC).spans(["a", "b", "a", "c", "b"]) == [(0, 2), (2, 3), (4, 5)]
    assert Finder(["A-B!", "  "], BASIC).spans(["a-b"]) == [(0, 1)]  # normalised as the transcript is


@given(words, st.lists(words.filter(bool).map(" ".join), max_size=4))
@settings(max_examples=100, deadline=None)
def test_spans_are_terms_and_do_not_overlap(said: list[str], terms: list[str]) -> None:
    spans = Finder(terms, BASIC).spans(said)
    assert all(" ".join(said[b:e]) in terms for b, e in spans)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
    covered = {i for b, e in spans for i in range(b, e)}
    assert all(w not in terms or i in covered for i, w in enumerate(said))


def test_tags_of_an_utterance_and_lists_of_all() -> None:
    alignments = [align("anna met rose", "anna met rose"), align("a rose", "a nose")]
    found = tallies(alignments, [{"name": ["Rose"]}, {}], {"name": ("Anna",), "flower": ("rose",)}, BASIC)
    assert found == {"flower": [Tally(1, 1), Tally(1, 0)], "name": [Tally(2, 2), Tally(0, 0)]}


def test_term_lists(tmp_path: Path) -> None:
    (tmp_path / "drugs.txt").write_text("﻿aspirin\n\n# a note\n beta blocker \n", encoding="utf-8")
    assert read_terms([tmp_path / "drugs.txt"]) == {"drugs": ("aspirin", "beta blocker")}
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "7.txt").write_text("x\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    for name, problem in (("empty", "no term"), ("7", "kind"), ("bytes", "UTF-8"), ("absent", "No such file")):
        with pytest.raises(EarmarkError, match=f"{name}.txt.*{problem}.* — "):
            read_terms([tmp_path / f"{name}.txt"])
