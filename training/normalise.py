"""Text normalisers: what counts as the same word. Each has a digest, because a change of normaliser changes every WER.

| name | does |
| --- | --- |
| `none` | white space only |
| `basic` | NFKC, lower case, punctuation and symbols to spaces; letters keep their combining marks |
| `whisper` | Whisper's basic normaliser, as in `transformers` |
| `whisper-english` | Whisper's English normaliser, without its list of British spellings |

`basic` differs from `whisper` in keeping marks: Whisper's strips the vowel signs of Brahmic scripts, which makes WERs of
Hindi or Tamil come out too low. Apostrophes and hyphens between letters stay (`don't`, `co-op`).

`deletions` tells what a normaliser takes away from the transcripts at hand. Law: every normaliser is idempotent,
`n(n(text)) == n(text)`, and returns words separated by single spaces.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata

from lineage.errors import UnknownName
from lineage.identity import digest_of
from lineage.selection.words import plain


@dataclass(frozen=True)
class Normaliser:
    """A named text normaliser; call it on a text."""

    name: str
    version: str
    apply: Callable[[str], str] = field(repr=False, compare=False)

    def __call__(self, text: str) -> str:
        """The normalised text, words separated by single spaces."""
        return " ".join(self.apply(text).split())

    @property
    def digest(self) -> str:
        """SHA-256 over name, version and the Unicode tables in use."""
        return digest_of({"name": self.name, "version": self.version, "unicode": unicodedata.unidata_version})

    @property
    def label(self) -> str:
        """Name and digest as `metrics.normaliser` holds them, e.g. `basic@3f2a9c1e07bd`."""
        return f"{self.name}@{self.digest[:12]}"


def _settled(normalise: Callable[[str], str]) -> Callable[[str], str]:
    """Apply until nothing changes: Whisper's normalisers may need a second pass (`one hundred` → `100`, `1 00`)."""

    def apply(text: str) -> str:
        for _ in range(8):
            once = normalise(text)
            if once == text:
                break
            text = once
        return text

    return apply


def _none() -> Normaliser:
    return Normaliser("none", "1", lambda text: text)


def _basic_normaliser() -> Normaliser:
    return Normaliser("basic", "1", plain)


def _whisper() -> Normaliser:
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer

    return Normaliser("whisper", f"transformers {metadata.version('transformers')}", _settled(BasicTextNormalizer()))


def _whisper_english() -> Normaliser:
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    version = f"transformers {metadata.version('transformers')}"
    return Normaliser("whisper-english", version, _settled(EnglishTextNormalizer({})))


_REGISTRY: dict[str, Callable[[], Normaliser]] = {
    "none": _none,
    "basic": _basic_normaliser,
    "whisper": _whisper,
    "whisper-english": _whisper_english,
}

NAMES = tuple(_REGISTRY)


def deletions(normalise: Normaliser, texts: Iterable[str]) -> dict[str, list[str]]:
    """Letters and vowel signs of the texts that never survive the normaliser, by script (as Unicode names it).

    Latin is left out: there, dropping an accent is what some normalisers are for. A sign that an English normaliser turns
    into another word's digits is not counted as long as it survives anywhere.
    """
    words = {w for t in texts for w in unicodedata.normalize("NFKC", t).lower().split()}
    seen: dict[str, set[str]] = {}
    for word in words:
        for sign in set(word):
            if unicodedata.category(sign)[0] in "LM" and _script(sign) not in ("LATIN", "COMBINING", "MODIFIER"):
                seen.setdefault(sign, set()).add(word)
    lost: dict[str, list[str]] = {}
    for sign, within in sorted(seen.items()):
        if not any(sign in unicodedata.normalize("NFKC", normalise(word)) for word in within):
            lost.setdefault(_script(sign), []).append(sign)
    return lost


def _script(sign: str) -> str:
    return unicodedata.name(sign, "UNKNOWN").split()[0]


@cache
def normaliser(name: str) -> Normaliser:
    """The normaliser of that name.

    Raises:
        UnknownName: there is none; says which exist.
    """
    if name not in _REGISTRY:
        raise UnknownName("normaliser", name, _REGISTRY)
    return _REGISTRY[name]()
