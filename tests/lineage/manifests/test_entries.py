from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage.manifests import RowRefused
from lineage.manifests.columns import KNOWN, canonical, is_personal, resembles
from lineage.manifests.entries import entry, transcript

GOOD: dict[str, Any] = {"audio_path": "a.wav", "text": "zero"}


def refused(**columns: Any) -> RowRefused:
    with pytest.raises(RowRefused) as caught:
        entry({**GOOD, **columns})
    return caught.value


def test_a_plain_row() -> None:
    read = entry(
        {**GOOD, "speaker": "anna", "accent": "scot", "age": 41, "native": True, "note": None, "duration": "1.5"}
    )
    assert (read.audio, read.text, read.kind, read.speaker, read.duration_s) == ("a.wav", "zero", "speech", "anna", 1.5)
    assert read.attributes == {"accent": "scot", "age": "41", "native": "true"}
    assert read.particulars == {}


@pytest.mark.parametrize(
    ("alias", "name"),
    [(alias, name) for name, aliases in KNOWN.items() for alias in (*aliases, aliases[0].title(), f" {aliases[0]} ")],
)
def test_every_alias_means_its_column(alias: str, name: str) -> None:
    assert canonical(alias) == name
    assert resembles(canonical(alias)) is None


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("speker", "speaker"), ("transcipt", "text"), ("langauge", "language"), ("licens", "licence"), ("texts", "text"),
     ("audiopath", "audio_path"), ("duraton", "duration"), ("sample_rat", "sample_rate")],
)  # fmt: skip
def test_a_slip_of_the_pen_is_no_attribute(typo: str, meant: str) -> None:
    row = {k: v for k, v in GOOD.items() if k != meant}
    with pytest.raises(RowRefused, match=f"did you mean '{meant}'"):
        entry({**row, typo: "x"})


def test_a_near_miss_beside_the_real_column_is_an_attribute() -> None:
    assert entry({**GOOD, "texts": "more"}).attributes == {"texts": "more"}


@pytest.mark.parametrize("name", ["accent", "onset", "split", "snr_db", "resource", "licence_year", "utterance_id"])
def test_honest_attributes_are_left_alone(name: str) -> None:
    assert name in entry({**GOOD, name: "x"}).attributes


@pytest.mark.parametrize(
    "name",
    ["name", "E-Mail", "client_id", "Phone", "home_address", "first_name", "speaker_name", "original_path", "URL"],
)
def test_personal_columns_go_to_the_vault(name: str) -> None:
    read = entry({**GOOD, name: "x"})
    assert list(read.particulars.values()) == ["x"]
    assert read.attributes == {}
    assert is_personal(canonical(name))


@pytest.mark.parametrize("name", ["device_name", "noise_name", "emailed", "ip_rating"])
def test_words_that_only_look_like_it_are_not_personal(name: str) -> None:
    assert not is_personal(name)


@pytest.mark.parametrize("value", [5, True, None, ["zero"], {"a": 1}, 1.5])
def test_words_are_a_string(value: Any) -> None:
    assert refused(text=value).reason == "text"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "   ",
        "\u200b",
        "a\x00b",
        "a\tb",
        "a\nb",
        "\ud800",
        "caf\ufffd",
        "cafÃ©",
        "donâ€™t",
        "Ð¿Ñ€Ð¸Ð²ÐµÑ‚",
        "x" * 10_001,
    ],
)
def test_broken_words_are_refused(value: str) -> None:
    assert refused(text=value).reason == "text"


@pytest.mark.parametrize("value", ["„Spaß“", "DÀ FÉIN", "ĐÃ", "नमस्ते", "«œuf»", "привет", "你好", "naïve café", "ÄÖÜ“"])
def test_sound_words_are_kept(value: str) -> None:
    assert transcript(value) == unicodedata.normalize("NFC", value)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufffd"), max_size=60))
def test_words_are_composed_and_stripped_and_no_more(text: str) -> None:
    try:
        kept = transcript(text)
    except RowRefused:
        return
    assert kept == unicodedata.normalize("NFC", text.strip())
    assert transcript(kept) == kept
    assert transcript(unicodedata.normalize("NFD", kept)) == kept


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"audio_path": None}, "no-audio"),
        ({"audio_path": ""}, "no-audio"),
        ({"audio_path": 7}, "no-audio"),
        ({"audio_path": "a\x00.wav"}, "no-audio"),
        ({"audio_path": "s3://bucket/a.wav"}, "no-audio"),
        ({"audio_filepath": "b.wav"}, "column"),
        ({"words": 3}, "column"),
        ({"root_ids": "x"}, "column"),
        ({'x"; DROP TABLE samples': "1"}, "column"),
        ({"a" * 65: "1"}, "column"),
        ({f"c{i}": i for i in range(70)}, "column"),
        ({"accent": ["scot"]}, "value"),
        ({"accent": {"a": 1}}, "value"),
        ({"accent": float("nan")}, "value"),
        ({"accent": "a\x1bb"}, "value"),
        ({"accent": "x" * 1_001}, "value"),
        ({"kind": "music"}, "value"),
        ({"kind": "noise"}, "value"),
        ({"duration": "long"}, "value"),
        ({"duration": 0}, "value"),
        ({"duration": -1}, "value"),
        ({"duration": True}, "value"),
        ({"sample_rate": "inf"}, "value"),
        ({"offset": -0.5}, "value"),
        ({"speaker": ["anna"]}, "value"),
    ],
)
def test_what_cannot_be_a_row(columns: dict[str, Any], reason: str) -> None:
    assert refused(**columns).reason == reason


def test_noise_needs_no_words() -> None:
    assert entry({"audio_path": "hum.wav", "kind": "noise"}).text is None
    assert entry({"audio_path": "hum.wav", "kind": "noise", "text": " "}).text is None


def test_entities_tagged_in_the_text_go_to_the_vault() -> None:
    row = {"audio_path": "a.wav", "text": "Anna flies to New York at ten"}
    tags = ["Anna", {"text": "new york", "type": "place"}]
    wanted = [{"text": "Anna", "type": "entity"}, {"text": "new york", "type": "place"}]
    for given_as in (tags, json.dumps(tags)):
        read = entry({**row, "entities": given_as})
        assert json.loads(read.particulars["entities"]) == wanted
        assert read.attributes == {}
    for nothing in (None, "", [], "[]"):
        assert entry({**row, "entities": nothing}).particulars == {}


@pytest.mark.parametrize(
    ("value", "problem"),
    [("Anna", "not JSON"), ({"Anna": 1}, "no list"), ([7], "not understood"), ([{"text": "zero"}], "not understood"),
     (["Rose"], "not in the text"), ([" "], "not in the text"), ([{"text": "zero", "type": "a b"}], "no type"),
     (["zero"] * 101, "no list of at most 100")],
)  # fmt: skip
def test_entities_that_make_no_sense_are_refused(value: object, problem: str) -> None:
    assert problem in str(refused(entities=value))
