"""The grammar is closed, and its digits are all there."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from earmark.demo.grammar import DIGITS, sentences, vocabulary


def test_sixty_two_words_with_all_digits():
    words = vocabulary()
    assert len(words) == len(set(words)) == 62
    assert list(words) == sorted(words)
    assert set(DIGITS) < set(words)


def test_every_word_is_said_and_none_besides():
    said = {word for text in islice(sentences(0), 5000) for word in text.split()}
    assert said == set(vocabulary())


def test_the_share_of_digit_strings():
    texts = list(islice(sentences(3, digit_strings=0.3), 2000))
    strings = [text.split() for text in texts if set(text.split()) <= set(DIGITS)]
    assert {len(words) for words in strings} == {3}
    assert 0.25 < len(strings) / len(texts) < 0.35
    assert not any(set(text.split()) <= set(DIGITS) for text in islice(sentences(3, digit_strings=0), 500))


def test_same_seed_same_sentences():
    assert list(islice(sentences(7), 200)) == list(islice(sentences(7), 200))
    assert list(islice(sentences(7), 200)) != list(islice(sentences(8), 200))


def test_no_sentence_dominates():
    most, _ = Counter(islice(sentences(1), 3000)).most_common(1)[0], None
    assert most[1] < 150
