from __future__ import annotations

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.wer import Aligned, Counts, align, count, count_characters, total

texts = st.lists(st.sampled_from(["a", "b", "c", "dd"]), max_size=7).map(" ".join)
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=8)


@given(pairs)
@settings(max_examples=200, deadline=None)
def test_micro_wer_equals_jiwer_to_the_last_digit(both: list[tuple[str, str]]) -> None:
    references, hypotheses = [r for r, _ in both], [h for _, h in both]
    counts = count(references, hypotheses)
    whole = total(counts)
    peer = jiwer.process_words(references, hypotheses)
    assert (whole.hits, whole.substitutions, whole.deletions, whole.insertions) == (
        peer.hits, peer.substitutions, peer.deletions, peer.insertions,
    )  # fmt: skip
    if whole.words:
        assert whole.wer == jiwer.wer(references, hypotheses)
    for one, (reference, hypothesis) in zip(counts, both, strict=True):
        assert one.words == one.hits + one.substitutions + one.deletions == len(reference.split())
        assert one.hits + one.substitutions + one.insertions == len(hypothesis.split())
        assert one == count([reference], [hypothesis])[0]  # neighbours do not matter


@given(pairs)
@settings(max_examples=100, deadline=None)
def test_micro_cer_equals_jiwer_to_the_last_digit(both: list[tuple[str, str]]) -> None:
    references, hypotheses = [r for r, _ in both], [h for _, h in both]
    counts = count_characters(references, hypotheses)
    whole = total(counts)
    if whole.words:
        assert whole.wer == jiwer.cer(references, hypotheses)
    assert [c.words for c in counts] == [len(r) for r in references]


@given(texts, texts)
@settings(max_examples=100, deadline=None)
def test_an_alignment_spells_both_texts_and_has_the_counts(reference: str, hypothesis: str) -> None:
    places = align(reference, hypothesis)
    assert [p.reference for p in places if p.reference is not None] == reference.split()
    assert [p.hypothesis for p in places if p.hypothesis is not None] == hypothesis.split()
    said = [p.operation for p in places]
    counts = count([reference], [hypothesis])[0]
    assert counts == Counts(
        len(reference.split()),
        said.count("hit"),
        said.count("substitution"),
        said.count("deletion"),
        said.count("insertion"),
    )


def test_an_example() -> None:
    assert align("turn on light", "turn the light now")[1:] == [
        Aligned("substitution", "on", "the"),
        Aligned("hit", "light", "light"),
        Aligned("insertion", None, "now"),
    ]
    assert count([], []) == count_characters([], []) == []
    assert str(Counts().wer) == "nan"


def test_unequal_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="2 references but 1"):
        count(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="2 references but 1"):
        count_characters(["a", "b"], ["a"])
