"""What the columns of a manifest mean, by their names.

A column is one that Earmark knows (under any of its usual names), or one that looks personal and goes to the vault, or
else an attribute. A name that is nearly a known one is taken for a slip of the pen, if the known one is missing, since
'speker' recorded as an attribute would be a data set without speakers.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from lineage.schema import TABLES

AUDIO, TEXT = "audio_path", "text"

KNOWN: dict[str, tuple[str, ...]] = {
    AUDIO: (
        "audio_path", "audio_filepath", "audio_file", "audio", "path", "file", "file_name", "filename", "filepath", "wav",
    ),
    TEXT: ("text", "transcript", "transcription", "sentence"),
    "speaker": ("speaker", "speaker_id"),
    "duration": ("duration",),
    "offset": ("offset",),
    "sample_rate": ("sample_rate", "sampling_rate"),
    "source": ("source",),
    "licence": ("licence", "license"),
    "kind": ("kind",),
    "language": ("language", "lang"),
    "entities": ("entities",),
}  # fmt: skip

RESERVED = frozenset(TABLES["samples"].names) - KNOWN.keys()

_MEANING = {alias: name for name, aliases in KNOWN.items() for alias in aliases}
_CLOSE = 0.83  # difflib ratio: catches 'speker' and 'transcipt', lets 'onset' and 'sample_id' through
_PERSONAL = frozenset((
    "name", "client_id", "user", "user_id", "username", "participant", "participant_id", "worker_id", "account", "account_id",
    "contact", "date_of_birth", "birth_date", "device_id", "ip",
))  # fmt: skip
_PERSONAL_WORDS = frozenset((
    "email", "mail", "phone", "telephone", "mobile", "address", "birthday", "birthdate", "dob", "ssn", "passport", "surname",
    "nickname", "firstname", "lastname", "fullname", "postcode", "zipcode", "iban", "imei", "latitude", "longitude",
    "path", "filepath", "filename", "url",
))  # fmt: skip
_PERSONAL_NAMES = frozenset(("first", "last", "full", "family", "given", "maiden", "middle", "speaker", "user", "real"))


@lru_cache(maxsize=4096)
def canonical(name: str) -> str:
    """The known name that a column's name stands for, or that name itself in lower case with underscores."""
    plain = re.sub(r"[\s.\-]+", "_", unicodedata.normalize("NFC", name).strip()).lower()
    return _MEANING.get(plain, plain)


@lru_cache(maxsize=4096)
def resembles(name: str) -> str | None:
    """The known column that a (canonical) name nearly spells; None if it spells one, or none."""
    if name in KNOWN:
        return None
    candidates = [alias for alias in _MEANING if alias[:1] == name[:1]]
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=_CLOSE)
    return _MEANING[close[0]] if close else None


def near_miss(names: Iterable[str], known: str) -> str | None:
    """The first of some canonical names that nearly spells `known`."""
    return next((name for name in names if resembles(name) == known), None)


@lru_cache(maxsize=4096)
def is_personal(name: str) -> bool:
    """Whether a (canonical) name promises data about a person, or tells where a file lay."""
    words = name.split("_")
    named = words[-1] == "name" and not _PERSONAL_NAMES.isdisjoint(words)
    return name in _PERSONAL or named or not _PERSONAL_WORDS.isdisjoint(words)


@lru_cache(maxsize=4096)
def is_attribute(name: str) -> bool:
    """Whether a (canonical) name can be a column of its own in SQL, in letters, digits and underscores."""
    return name.isidentifier() and len(name) <= 64 and name not in RESERVED
