"""Word and character errors: counts per utterance and alignments, by `jiwer`.

The word error rate of a slice is Σ errors / Σ reference words over its utterances, never the mean of utterance rates.
Texts are compared as given, word by word at white space: normalise first (`training.normalise`).

Laws: `words == hits + substitutions + deletions`; the micro WER over any utterances equals `jiwer.wer` of them to the last
digit, and so does the character error rate `jiwer.cer`; an empty reference has no words, and every word heard there is an
insertion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import jiwer

Operation = Literal["hit", "substitution", "deletion", "insertion"]


@dataclass(frozen=True)
class Counts:
    """Word counts of one utterance, or of many added up."""

    words: int = 0
    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """Substitutions + deletions + insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def wer(self) -> float:
        """Errors per reference word; NaN where there are no words."""
        return self.errors / self.words if self.words else float("nan")


@dataclass(frozen=True)
class Aligned:
    """One place of an alignment; `reference` is None at an insertion, `hypothesis` at a deletion."""

    operation: Operation
    reference: str | None
    hypothesis: str | None


def count(references: Sequence[str], hypotheses: Sequence[str]) -> list[Counts]:
    """Counts of each pair of texts.

    Raises:
        ValueError: different numbers of references and hypotheses.
    """
    return _count(references, hypotheses, jiwer.process_words)


def count_characters(references: Sequence[str], hypotheses: Sequence[str]) -> list[Counts]:
    """The same counted in characters, blanks between words included: `words` are then reference characters."""
    return _count(references, hypotheses, jiwer.process_characters)


def total(counts: Sequence[Counts]) -> Counts:
    """Counts of all together."""
    return Counts(*(sum(getattr(c, f) for c in counts) for f in Counts.__dataclass_fields__))


def align(reference: str, hypothesis: str) -> list[Aligned]:
    """The words of both side by side, in order, by the alignment that the counts come from."""
    output = jiwer.process_words([reference], [hypothesis])
    left, right = output.references[0], output.hypotheses[0]
    out: list[Aligned] = []
    for chunk in output.alignments[0]:
        heard = right[chunk.hyp_start_idx : chunk.hyp_end_idx]
        said = left[chunk.ref_start_idx : chunk.ref_end_idx]
        if chunk.type == "insert":
            out += [Aligned("insertion", None, h) for h in heard]
        elif chunk.type == "delete":
            out += [Aligned("deletion", s, None) for s in said]
        else:
            operation: Operation = "hit" if chunk.type == "equal" else "substitution"
            out += [Aligned(operation, s, h) for s, h in zip(said, heard, strict=True)]
    return out


def _count(references: Sequence[str], hypotheses: Sequence[str], process: Callable[..., Any]) -> list[Counts]:
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references but {len(hypotheses)} hypotheses")
    return [_pair(process, *both) for both in zip(references, hypotheses, strict=True)]


@lru_cache(maxsize=1 << 16)  # retrainings of an audit hear much the same of an utterance over and over
def _pair(process: Callable[..., Any], reference: str, hypothesis: str) -> Counts:
    hits = substitutions = deletions = insertions = 0
    for chunk in process(reference, hypothesis).alignments[0]:
        said, heard = chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx
        if chunk.type == "equal":
            hits += said
        elif chunk.type == "substitute":
            substitutions += said
        elif chunk.type == "delete":
            deletions += said
        else:
            insertions += heard
    return Counts(hits + substitutions + deletions, hits, substitutions, deletions, insertions)
