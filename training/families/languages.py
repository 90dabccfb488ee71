"""The languages that model families know, and how each family is told.

Names and tags are read as everywhere on the record (`lineage.languages`). Whisper is told by one token, Voxtral
by a short text before its `[TRANSCRIBE]` token, which can name any language of two letters: beyond `VOXTRAL`, the eight
that the released models were taught, fine-tuning has to teach it.

In a recipe, `language: per-sample` means the attribute `language` of each sample.
"""

from __future__ import annotations

from dataclasses import dataclass

from lineage.languages import tag

PER_SAMPLE = "per-sample"


@dataclass(frozen=True)
class Language:
    """A language by its ISO 639 code; a family that has no way to say it has None."""

    code: str
    whisper: str | None
    voxtral: str | None


# Whisper's hundred (arXiv 2212.04356, and Cantonese), which hold all others.
_CODES = """
af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy id is it ja
jv ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl sn so sq sr
su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh
"""
_IN_WHISPER = {"jv": "jw"}  # where its tokens differ from ISO 639
_TAUGHT_AS = {
    "cmn": "zh",
    "fil": "tl",
    "in": "id",
    "iw": "he",
    "jw": "jv",
    "nb": "no",
}  # not by these codes


def _row(code: str) -> Language:
    return Language(code, f"<|{_IN_WHISPER.get(code, code)}|>", f"lang:{code}" if len(code) == 2 else None)


LANGUAGES = {code: _row(code) for code in _CODES.split()}

# NVIDIA's Granary (arXiv 2505.13404).
GRANARY = (
    "bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "hr", "hu", "it", "lt", "lv", "mt", "nl", "pl", "pt", "ro",
    "ru", "sk", "sl", "sv", "uk",
)  # fmt: skip
# Voxtral Mini and Small 2507 (arXiv 2507.13264).
VOXTRAL = ("de", "en", "es", "fr", "hi", "it", "nl", "pt")


def find_language(text: str) -> Language | None:
    """The language that a code, an English name or a tag (`pt-BR`, `zh_Hant`) means; None if no family knows it."""
    code = (tag(text) or "").partition("-")[0]
    return LANGUAGES.get(_TAUGHT_AS.get(code, code))
