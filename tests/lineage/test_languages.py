from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage.languages import NAMES, language_tag, scripts, tag
from lineage.selection.words import plain


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("en", "en"), ("EN_us", "en-US"), ("eng", "en"), ("English", "en"), ("deu", "de"), ("ger", "de"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("pt_BR.UTF-8", "pt-BR"), ("sr-latn-RS", "sr-Latn-RS"), ("ast", "ast"), ("de-1996", "de-1996"), ("es-419", "es-419"),
        ("sl-rozaj-biske", "sl-rozaj-biske"), ("en-x-clinic", "en-x-clinic"), (" fr ", "fr"), ("zh-yue", "zh-yue"),
        ("klingon", None), ("x", None), ("", None), ("en--us", None), ("e1", None), ("unknown", None), ("none of these", None),
    ],
)  # fmt: skip
def test_languages_are_spelt_as_the_standard_does(said: str, meant: str | None) -> None:
    assert tag(said) == meant


def test_every_language_is_found_by_its_code_and_by_its_name() -> None:
    for code, name in NAMES.items():
        assert tag(code) == tag(name) == code


@given(st.text(max_size=30))
def test_a_tag_is_its_own_tag(said: str) -> None:
    found = tag(said)
    assert found is None or tag(found) == found


def test_the_first_attribute_that_names_a_language_counts() -> None:
    assert language_tag({"locale": "sv_SE", "accent": "en"}) == "sv-SE"
    assert language_tag({"locale": "sv_SE", "language": "?"}) == "sv-SE"
    assert language_tag({"locale": "sv_SE", "lang": "fi"}) == "fi"
    assert language_tag({"accent": "en"}) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("don't, co-op 3", "Latin"), ("123 …", "Common"), ("Größe", "Latin"), ("Привет, world", "Latin+Cyrillic"),
        ("漢字かなカナ", "Han+Hiragana+Katakana"), ("ｶﾅ", "Katakana"), ("हिन्दी", "Devanagari"), ("한국어", "Hangul"),
        ("Ωμέγα", "Greek"), ("ไทย", "Thai"), ("עברית", "Hebrew"), ("µ", "Common"), ("ー", "Common"),
        ("ᱥᱟᱱᱛᱟᱲᱤ", "Ol Chiki"),
    ],
)  # fmt: skip
def test_scripts_of_letters(text: str, expected: str) -> None:
    assert scripts(text) == expected


@given(st.text(max_size=40), st.text(max_size=40))
def test_scripts_depend_on_which_letters_there_are(a: str, b: str) -> None:
    assert scripts(a + b) == scripts(b + a)
    there = {*scripts(a).split("+"), *scripts(b).split("+")} - {"Common"}
    assert set(scripts(a + b).split("+")) == (there or {"Common"})


@given(st.text(max_size=60))
def test_plain_words_are_plain(text: str) -> None:
    assert plain(plain(text)) == plain(text) == " ".join(plain(text).split())
