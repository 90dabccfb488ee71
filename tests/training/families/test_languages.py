from __future__ import annotations

import pytest
from transformers.models.whisper.tokenization_whisper import LANGUAGES as WHISPERS
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

from lineage.languages import NAMES
from training.families.languages import GRANARY, LANGUAGES, VOXTRAL, find_language


def test_the_table_has_whispers_languages_and_names() -> None:
    assert set(LANGUAGES) <= set(NAMES)
    assert {row.whisper for row in LANGUAGES.values()} == {f"<|{code}|>" for code in WHISPERS}
    for name, code in TO_LANGUAGE_CODE.items():
        found = find_language(name)
        assert found is not None
        assert found.whisper == f"<|{code}|>"


def test_granary_and_voxtral_are_in_it() -> None:
    assert len(GRANARY) == len(set(GRANARY)) == 25
    assert {*GRANARY, *VOXTRAL} <= set(LANGUAGES)
    assert all(LANGUAGES[code].voxtral == f"lang:{code}" for code in (*GRANARY, *VOXTRAL))
    assert LANGUAGES["yue"].voxtral is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("de", "de"), (" German ", "de"), ("pt-BR", "pt"), ("zh_Hant_TW", "zh"), ("haitian creole", "ht"), ("nb-NO", "no"),
        ("jw", "jv"), ("Yue", "yue"), ("", None), ("xx", None), ("de nl", None), ("-de", None),
    ],
)  # fmt: skip
def test_codes_names_and_tags(text: str, code: str | None) -> None:
    found = find_language(text)
    assert (found and found.code) == code
