"""Of what language a text is said to be, and in which scripts it is written.

Languages are tags of BCP 47 (RFC 5646): `en-GB`, `pt-BR`, `zh-Hant`. Manifests say it in many ways; `tag` spells a tag as the
standard does (`EN_us` is `en-US`), with the two letters of ISO 639-1 where there are such (`deu` and `ger` are `de`), and knows
the English names of languages that corpora are often made in.

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

# ISO 639-1, then ISO 639-2 (and its bibliographic code), then English names.
_CODES = """
af afr afrikaans; am amh amharic; ar ara arabic; as asm assamese; az aze azerbaijani; ba bak bashkir; be bel belarusian;
bg bul bulgarian; bn ben bengali bangla; bo bod tib tibetan; br bre breton; bs bos bosnian; ca cat catalan; cs ces cze czech;
cy cym wel welsh; da dan danish; de deu ger german; el ell gre greek; en eng english; eo epo esperanto; es spa spanish;
et est estonian; eu eus baq basque; fa fas per persian farsi; fi fin finnish; fo fao faroese; fr fra fre french; ga gle irish;
gd gla gaelic; gl glg galician; gu guj gujarati; ha hau hausa; he heb hebrew; hi hin hindi; hr hrv croatian; ht hat haitian;
hu hun hungarian; hy hye arm armenian; id ind indonesian; ig ibo igbo; is isl ice icelandic; it ita italian; ja jpn japanese;
jv jav javanese; ka kat geo georgian; kk kaz kazakh; km khm khmer; kn kan kannada; ko kor korean; ky kir kyrgyz; la lat latin;
lb ltz luxembourgish; lg lug ganda luganda; lo lao; lt lit lithuanian; lv lav latvian; mg mlg malagasy; mi mri mao maori;
mk mkd mac macedonian; ml mal malayalam; mn mon mongolian; mr mar marathi; ms msa may malay; mt mlt maltese; my mya bur burmese;
nb nob; ne nep nepali; nl nld dut dutch flemish; nn nno nynorsk; no nor norwegian; oc oci occitan; or ori odia; pa pan punjabi;
pl pol polish; ps pus pashto; pt por portuguese; ro ron rum romanian; ru rus russian; rw kin kinyarwanda; sa san sanskrit;
sd snd sindhi; si sin sinhala; sk slk slo slovak; sl slv slovenian; sn sna shona; so som somali; sq sqi alb albanian;
sr srp serbian; st sot sotho; su sun sundanese; sv swe swedish; sw swa swahili; ta tam tamil; te tel telugu; tg tgk tajik;
th tha thai; tk tuk turkmen; tl tgl tagalog; tn tsn tswana; tr tur turkish; tt tat tatar; ug uig uyghur; uk ukr ukrainian;
ur urd urdu; uz uzb uzbek; vi vie vietnamese; wo wol wolof; xh xho xhosa; yi yid yiddish; yo yor yoruba; zh zho chi chinese;
zu zul zulu
"""

_SHORTEST = {word: entry.split()[0] for entry in _CODES.split(";") for word in entry.split()}

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
