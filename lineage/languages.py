"""Of what language a text is said to be, and in which scripts it is written.

Languages are tags of BCP 47 (RFC 5646): `en-GB`, `pt-BR`, `zh-Hant`. Manifests say it in many ways; `tag` spells a tag as the
standard does (`EN_us` is `en-US`), with the two letters of ISO 639-1 where there are such (`deu` and `ger` are `de`), and knows
the English names of languages that corpora are often made in: all that speech models know, and some more. How a model is
told of a language is its family's business (`training.families.languages`).

Scripts are those of Unicode, read off the names of the letters; digits and punctuation belong to all of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

SAID_IN = ("language", "lang", "locale")  # attributes that name the language, the first of them counts

COMMON = "Common"

_TAG = re.compile(
    r"(?P<language>[a-z]{2,3})(?:-(?P<extended>[a-z]{3}(?:-[a-z]{3}){0,2}))?(?:-(?P<script>[a-z]{4}))?"
    r"(?:-(?P<region>[a-z]{2}|[0-9]{3}))?(?P<rest>(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(?:-[a-wyz0-9](?:-[a-z0-9]{2,8})+)*"
    r"(?:-x(?:-[a-z0-9]{1,8})+)?)"
)

# ISO 639-1 where there is one, then ISO 639-2 (and its bibliographic code): English names, the usual one first.
_TABLE = """
af afr: Afrikaans; am amh: Amharic; ar ara: Arabic; as asm: Assamese; az aze: Azerbaijani; ba bak: Bashkir; be bel:
Belarusian; bg bul: Bulgarian; bn ben: Bengali, Bangla; bo bod tib: Tibetan; br bre: Breton; bs bos: Bosnian; ca cat: Catalan,
Valencian; cs ces cze: Czech; cy cym wel: Welsh; da dan: Danish; de deu ger: German; el ell gre: Greek; en eng: English; eo
epo: Esperanto; es spa: Spanish, Castilian; et est: Estonian; eu eus baq: Basque; fa fas per: Persian, Farsi; fi fin: Finnish;
fil: Filipino; fo fao: Faroese; fr fra fre: French; ga gle: Irish; gd gla: Gaelic; gl glg: Galician; gu guj: Gujarati; ha hau:
Hausa; haw: Hawaiian; he heb: Hebrew; hi hin: Hindi; hr hrv: Croatian; ht hat: Haitian Creole, Haitian; hu hun: Hungarian; hy
hye arm: Armenian; id ind: Indonesian; ig ibo: Igbo; is isl ice: Icelandic; it ita: Italian; ja jpn: Japanese; jv jav:
Javanese; ka kat geo: Georgian; kk kaz: Kazakh; km khm: Khmer; kn kan: Kannada; ko kor: Korean; ky kir: Kyrgyz; la lat: Latin;
lb ltz: Luxembourgish, Letzeburgesch; lg lug: Ganda, Luganda; ln lin: Lingala; lo lao: Lao; lt lit: Lithuanian; lv lav:
Latvian; mg mlg: Malagasy; mi mri mao: Maori; mk mkd mac: Macedonian; ml mal: Malayalam; mn mon: Mongolian; mr mar: Marathi;
ms msa may: Malay; mt mlt: Maltese; my mya bur: Myanmar, Burmese; nb nob: Bokmål; ne nep: Nepali; nl nld dut: Dutch, Flemish;
nn nno: Nynorsk; no nor: Norwegian; oc oci: Occitan; or ori: Odia; pa pan: Punjabi, Panjabi; pl pol: Polish; ps pus: Pashto,
Pushto; pt por: Portuguese; ro ron rum: Romanian, Moldavian, Moldovan; ru rus: Russian; rw kin: Kinyarwanda; sa san: Sanskrit;
sd snd: Sindhi; si sin: Sinhala, Sinhalese; sk slk slo: Slovak; sl slv: Slovenian; sn sna: Shona; so som: Somali; sq sqi alb:
Albanian; sr srp: Serbian; st sot: Sotho; su sun: Sundanese; sv swe: Swedish; sw swa: Swahili; ta tam: Tamil; te tel: Telugu;
tg tgk: Tajik; th tha: Thai; tk tuk: Turkmen; tl tgl: Tagalog; tn tsn: Tswana; tr tur: Turkish; tt tat: Tatar; ug uig: Uyghur;
uk ukr: Ukrainian; ur urd: Urdu; uz uzb: Uzbek; vi vie: Vietnamese; wo wol: Wolof; xh xho: Xhosa; yi yid: Yiddish; yo yor:
Yoruba; yue: Cantonese; zh zho chi: Chinese, Mandarin; zu zul: Zulu
"""

_ROWS = [tuple(part.strip() for part in row.split(":")) for row in _TABLE.split(";")]

NAMES = {codes.split()[0]: " ".join(names.split(",")[0].split()) for codes, names in _ROWS}
"""The English name of each language, by its shortest code."""

_SHORTEST = {
    " ".join(word.lower().split()): codes.split()[0]
    for codes, names in _ROWS
    for word in (*codes.split(), *names.split(","))
}

_OF_TWO_WORDS = (
    "CANADIAN ABORIGINAL", "EGYPTIAN HIEROGLYPHS", "LINEAR A", "LINEAR B", "MEETEI MAYEK", "NEW TAI LUE", "OL CHIKI",
    "OLD ITALIC", "OLD TURKIC", "PHAGS-PA", "SYLOTI NAGRI", "TAI LE", "TAI THAM", "TAI VIET", "SORA SOMPENG", "HANIFI ROHINGYA",
    "NYIAKENG PUACHUE HMONG", "PAHAWH HMONG", "WARANG CITI",
)  # fmt: skip
_WIDTHS = ("FULLWIDTH ", "HALFWIDTH ")
_HAN = ("CJK", "KANGXI", "IDEOGRAPHIC")
_SHARED = (
    "MODIFIER",
    "MATHEMATICAL",
    "DOUBLE",
    "MICRO",
    "FEMININE",
    "MASCULINE",
    "KATAKANA-HIRAGANA",
    "PLANCK",
    "SCRIPT",
)


def language_tag(attributes: Mapping[str, str]) -> str | None:
    """The language of a sample as its attributes name it (`SAID_IN`); None where none is one that BCP 47 could name."""
    for name in SAID_IN:
        found = tag(attributes[name]) if name in attributes else None
        if found is not None:
            return found
    return None


@lru_cache(maxsize=4096)
def tag(said: str) -> str | None:
    """A language as a tag of BCP 47; None if it is no such thing: `tag('EN_us') == 'en-US'`, `tag('German') == 'de'`."""
    text = said.strip().lower().replace("_", "-").partition(".")[0].partition("@")[0]
    match = _TAG.fullmatch(_SHORTEST.get(text, text))
    if match is None:
        return None
    language, extended, script, region, rest = match.group("language", "extended", "script", "region", "rest")
    parts = [_SHORTEST.get(language, language), extended, script and script.title(), region and region.upper()]
    return "-".join(p for p in parts if p) + rest


def scripts(text: str) -> str:
    """The scripts of a text's letters, Latin first, then by name: 'Latin', 'Han+Hiragana'; 'Common' where there are none."""
    if text.isascii():
        return "Latin" if any(map(str.isalpha, text)) else COMMON
    found = {script for character in set(text) if (script := _script(character))}
    return "+".join(sorted(found, key=lambda s: (s != "Latin", s))) or COMMON


@lru_cache(maxsize=1 << 14)
def _script(character: str) -> str | None:
    """The script of a letter; None for what is no letter, or belongs to several scripts."""
    if unicodedata.category(character)[0] != "L":
        return None
    name = unicodedata.name(character, "")
    for width in _WIDTHS:
        name = name.removeprefix(width)
    for words in _OF_TWO_WORDS:
        if name.startswith(words):
            return words.title()
    first = name.partition(" ")[0]
    if first in _SHARED or not first:
        return None
    if first in _HAN:
        return "Han"
    return {"KELVIN": "Latin", "ANGSTROM": "Latin", "OHM": "Greek"}.get(first, first.title())
