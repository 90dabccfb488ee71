"""Entity accuracy: how often the words that matter (names, numbers, terms of a domain) come out whole.

What an entity is, either of two says: a term list, a text file with one term a line whose name is their kind
(`drugs.txt`), and the manifest's own column `entities`, a list of words or phrases of that very transcript, each plain or as
`{"text": …, "type": …}`, which lies in the vault. Texts are normalised as the transcript is.

An occurrence is right if every one of its words is, with nothing made up in between, in the alignment that the WER comes
from. Law: at every place the longest term of a kind counts, once.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from lineage.errors import EarmarkError
from lineage.store import Store
from training.evaluation.wer import Aligned
from training.normalise import Normaliser

KIND = re.compile(r"[A-Za-z_][\w-]{0,63}")
COLUMN = "entities"

Terms = Mapping[str, Sequence[str]]  # kind → terms


@dataclass(frozen=True)
class Tally:
    """Entities of one kind in one utterance: how many were said, and how many of these were heard whole."""

    said: int
    right: int


def read_terms(paths: Sequence[Path]) -> dict[str, tuple[str, ...]]:
    """Term lists by kind; empty lines and those that begin with `#` are left out.

    Raises:
        EarmarkError: a file cannot be read, holds no term, or its name is no kind.
    """
    lists: dict[str, tuple[str, ...]] = {}
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise EarmarkError(f"{path}: {reason} — give a text file with one term a line") from error
        found = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
        if not found:
            raise EarmarkError(f"{path} holds no term — write one a line")
        if not KIND.fullmatch(path.stem) or path.stem in lists:
            raise EarmarkError(
                f"{path}: its name says the kind of its terms — call each file by another word, e.g. names.txt"
            )
        lists[path.stem] = found
    return lists


def tagged(store: Store, ids: pa.Array) -> dict[uuid.UUID, dict[str, list[str]]]:
    """What the manifest tagged in each sample, by kind."""
    rows = store.vault.rows("particulars", ids).to_pylist()
    found: dict[uuid.UUID, dict[str, list[str]]] = {}
    for row in rows:
        if row["name"] == COLUMN:
            kinds: dict[str, list[str]] = defaultdict(list)
            for entity in json.loads(row["value"]):
                kinds[entity["type"]].append(entity["text"])
            found[row["sample_id"]] = dict(kinds)
    return found


class Finder:
    """Finds terms in a sequence of words; made once for a list, used on every utterance."""

    def __init__(self, terms: Iterable[str], text: Normaliser) -> None:
        phrases = {tuple(text(term).split()) for term in terms} - {()}
        self._by_first: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for phrase in sorted(phrases, key=lambda p: (-len(p), p)):
            self._by_first[phrase[0]].append(phrase)

    def spans(self, words: Sequence[str]) -> list[tuple[int, int]]:
        """Begin and end of every occurrence in the words, from left to right, none over another."""
        found, at = [], 0
        while at < len(words):
            fitting = (p for p in self._by_first.get(words[at], ()) if tuple(words[at : at + len(p)]) == p)
            phrase = next(fitting, None)
            if phrase is not None:
                found.append((at, at + len(phrase)))
            at += len(phrase) if phrase is not None else 1
        return found


def tally(alignment: Sequence[Aligned], finder: Finder) -> Tally:
    """How many of the finder's terms were said in an utterance, and how many of them came out whole."""
    words = [a.reference for a in alignment if a.reference is not None]
    place = [i for i, a in enumerate(alignment) if a.reference is not None]  # of each reference word in the alignment
    spans = finder.spans(words)
    whole = [all(a.operation == "hit" for a in alignment[place[b] : place[e - 1] + 1]) for b, e in spans]
    return Tally(len(spans), sum(whole))


def tallies(
    alignments: Sequence[Sequence[Aligned]], own: Sequence[Terms], lists: Terms, text: Normaliser
) -> dict[str, list[Tally]]:
    """Of each kind, a tally an utterance, in order; `own` are each utterance's tagged terms, beside those of `lists`."""
    shared = {kind: Finder(terms, text) for kind, terms in lists.items()}
    nothing = Finder((), text)
    found: dict[str, list[Tally]] = {}
    for kind in sorted({*lists, *(kind for terms in own for kind in terms)}):
        found[kind] = [
            tally(
                alignment,
                Finder([*terms[kind], *lists.get(kind, ())], text) if kind in terms else shared.get(kind, nothing),
            )
            for alignment, terms in zip(alignments, own, strict=True)
        ]
    return found
