"""The languages that model families know, in one table: code, name, and how each family is told.

A language is named by its ISO 639 code, as a manifest's `language` or `locale` column mostly has it; `find_language` also
takes an English name and a tag with region or script (`pt-BR`, `zh_Hant`). Whisper is told by one token, Voxtral by a short
text before its `[TRANSCRIBE]` token, which can name any language of two letters: beyond `VOXTRAL`, the eight that the
released models were taught, fine-tuning has to teach it.

In a recipe, `language: per-sample` means the attribute `language` of each sample.
"""

from __future__ import annotations

from dataclasses import dataclass

PER_SAMPLE = "per-sample"


@dataclass(frozen=True)
class Language:
    """A language; a family that has no way to say it has None."""

    code: str
    name: str
    whisper: str | None
    voxtral: str | None


# Whisper's hundred (arXiv 2212.04356, and Cantonese), which hold all others.
_NAMES = """
af Afrikaans, am Amharic, ar Arabic, as Assamese, az Azerbaijani, ba Bashkir, be Belarusian, bg Bulgarian, bn Bengali,
bo Tibetan, br Breton, bs Bosnian, ca Catalan, cs Czech, cy Welsh, da Danish, de German, el Greek, en English, es Spanish,
et Estonian, eu Basque, fa Persian, fi Finnish, fo Faroese, fr French, gl Galician, gu Gujarati, ha Hausa, haw Hawaiian,
he Hebrew, hi Hindi, hr Croatian, ht Haitian Creole, hu Hungarian, hy Armenian, id Indonesian, is Icelandic, it Italian,
ja Japanese, jv Javanese, ka Georgian, kk Kazakh, km Khmer, kn Kannada, ko Korean, la Latin, lb Luxembourgish, ln Lingala,
lo Lao, lt Lithuanian, lv Latvian, mg Malagasy, mi Maori, mk Macedonian, ml Malayalam, mn Mongolian, mr Marathi, ms Malay,
mt Maltese, my Myanmar, ne Nepali, nl Dutch, nn Nynorsk, no Norwegian, oc Occitan, pa Punjabi, pl Polish, ps Pashto,
pt Portuguese, ro Romanian, ru Russian, sa Sanskrit, sd Sindhi, si Sinhala, sk Slovak, sl Slovenian, sn Shona, so Somali,
sq Albanian, sr Serbian, su Sundanese, sv Swedish, sw Swahili, ta Tamil, te Telugu, tg Tajik, th Thai, tk Turkmen,
tl Tagalog, tr Turkish, tt Tatar, uk Ukrainian, ur Urdu, uz Uzbek, vi Vietnamese, yi Yiddish, yo Yoruba, yue Cantonese,
zh Chinese
"""

_IN_WHISPER = {"jv": "jw"}  # where its tokens differ from ISO 639

_OTHER_NAMES = {
    "burmese": "my", "castilian": "es", "cmn": "zh", "fil": "tl", "filipino": "tl", "flemish": "nl", "haitian": "ht",
    "in": "id", "iw": "he", "jw": "jv", "letzeburgesch": "lb", "mandarin": "zh", "moldavian": "ro", "moldovan": "ro",
    "nb": "no", "panjabi": "pa", "pushto": "ps", "sinhalese": "si", "valencian": "ca",
}  # fmt: skip


def _row(entry: str) -> Language:
    code, name = entry.split(maxsplit=1)
    return Language(code, name, f"<|{_IN_WHISPER.get(code, code)}|>", f"lang:{code}" if len(code) == 2 else None)


LANGUAGES = {row.code: row for row in map(_row, " ".join(_NAMES.split()).split(", "))}

# NVIDIA's Granary (arXiv 2505.13404).
GRANARY = (
    "bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "hr", "hu", "it", "lt", "lv", "mt", "nl", "pl", "pt", "ro",
    "ru", "sk", "sl", "sv", "uk",
)  # fmt: skip
# Voxtral Mini and Small 2507 (arXiv 2507.13264).
VOXTRAL = ("de", "en", "es", "fr", "hi", "it", "nl", "pt")

_BY_NAME = {row.name.lower(): row.code for row in LANGUAGES.values()} | _OTHER_NAMES


def find_language(text: str) -> Language | None:
    """The language that a code, an English name or a tag means; None if it is not in the table."""
    plain = text.strip().lower().replace("_", "-")
    for name in (plain, plain.partition("-")[0]):
        found = LANGUAGES.get(_BY_NAME.get(name, name))
        if found is not None:
            return found
    return None
