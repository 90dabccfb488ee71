"""Which words are the same: the plain comparison of texts, by which duplicates and leaks are found and errors are counted.

Law: idempotent, `plain(plain(text)) == plain(text)`; words are separated by single spaces.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_JOINERS = {"'": "'", "’": "'", "-": "-", "‐": "-", "‑": "-"}


@lru_cache(maxsize=1 << 14)  # one model after the other is held against the same references
def plain(text: str) -> str:
    """NFKC, lower case, punctuation and symbols to spaces; letters keep their combining marks.

    Apostrophes and hyphens between letters stay (`don't`, `co-op`).
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    out = []
    for i, character in enumerate(text):
        if _keep(character):
            out.append(character)
        elif character in _JOINERS and 0 < i < len(text) - 1 and _keep(text[i - 1]) and _keep(text[i + 1]):
            out.append(_JOINERS[character])
        else:
            out.append(" ")
    return " ".join("".join(out).split())


def _keep(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN" or character in "\u200c\u200d"  # joiners shape Indic letters
