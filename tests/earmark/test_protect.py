"""The verbs that protect people, as a person types them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from lineage.ingestion.ingest import ingest
from lineage.proof.verifier import verify
from lineage.store import Store
from tests.earmark.test_cli import earmark
from tests.lineage.sounds import sound, write


@pytest.fixture
def store(here: Path) -> Store:
    """Two speakers of one source, in the store of the working folder."""
    lines = []
    for n, name in enumerate(("Ann Ableton", "Ben Baker")):
        write(here / f"{n}.wav", sound(seed=n))
        row = {"audio": f"{n}.wav", "text": f"words of {n}", "speaker": name, "source": "phone", "licence": "CC0-1.0"}
        lines.append(json.dumps(row))
    (here / "talk.jsonl").write_text("\n".join(lines))
    made = Store.init(here / "earmark-store")
    ingest(made, here / "talk.jsonl")
    return made


def test_erase_lists_first_asks_and_then_does_it(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    earmark("erase", "--speaker", "Ann Ableton", status=1)
    told = capsys.readouterr().out
    assert "set          talk" in told
    assert f"{store.root.parent / '0.wav'}" in told
    assert len(store.vault.speakers()) == 2
    earmark("erase", "--speaker", "Ann Ableton", "--json")
    listed = json.loads(capsys.readouterr().out)
    assert len(listed["samples"]) == 1
    assert len(store.vault.speakers()) == 2
    earmark("erase", "--speaker", "Ann Ableton", "--yes", "--reason", "asked to")
    assert "tombstone" in capsys.readouterr().out
    assert list(store.vault.speakers().values()) == ["Ben Baker"]
    earmark("erase", "--speaker", listed["speakers"][0])
    assert "nothing is left" in capsys.readouterr().out
    assert verify(store.root).ok


def test_a_name_can_be_given_where_no_history_keeps_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Ben Baker\n"))
    earmark("erase", "--speaker", "-", "--yes")
    assert list(store.vault.speakers().values()) == ["Ann Ableton"]


def test_mistakes_end_in_one_line(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ("erase",),
        ("erase", "--speaker", "Ann Ableton", "--source", "phone"),
        ("erase", "--speaker", "Nobody"),
        ("erase", "--source", "phon"),
        ("source", "--licence", "MIT"),
        ("source", "phone", "--licence", "no such!"),
        ("source", "phon"),
        ("consent", "given"),
        ("consent", "taken", "--speaker", "Ann Ableton"),
        ("policy", "check", "talk"),
        ("policy", "adopt"),
        ("policy", "adopt", "nothing.yaml"),
    ):
        earmark(*words, status=2)
        said = capsys.readouterr().err
        assert said.startswith("earmark: "), words
        assert "Traceback" not in said
        assert said.count("\n") == 1
    assert len(store.vault.speakers()) == 2


def test_retention_is_a_dry_run_until_told_otherwise(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    earmark("retain")
    assert "nothing has expired" in capsys.readouterr().out
    earmark("source", "phone", "--retain-until", "2020-01-01", "--purpose", "asr", "--licence", "CC-BY-4.7")
    assert "did you mean" in capsys.readouterr().out
    earmark("retain")
    assert "nothing was erased" in capsys.readouterr().out
    assert len(store.vault.transcripts()) == 2
    earmark("retain", "--yes")
    assert store.vault.transcripts() == {}
    earmark("retain", "--json")
    assert json.loads(capsys.readouterr().out.split("erased\n")[-1]) == []


def test_consent_and_policy(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    Path("policy.yaml").write_text("name: strict\npurpose: asr\nconsent: required\n")
    earmark("policy", "check", "talk", "policy.yaml", status=1)
    assert "refuse: consent: no consent to asr, but to no purpose, 2 samples" in capsys.readouterr().out
    earmark("consent", "given", "--source", "phone", "--purpose", "asr")
    earmark("policy", "adopt", "policy.yaml")
    earmark("policy", "check", "talk")
    earmark("consent", "withdrawn", "--speaker", "Ben Baker")
    assert "to erase them" in capsys.readouterr().out
    earmark("policy", "check", "talk", "--json", status=1)
    assert json.loads(capsys.readouterr().out)["violations"][0]["samples"] == 1
    earmark("consent", "--json")
    assert [e["event"] for e in json.loads(capsys.readouterr().out)] == ["given", "withdrawn"]
    earmark("policy", "show")
    assert json.loads(capsys.readouterr().out)["name"] == "strict"
    earmark("policy", "adopt", "--none")
    earmark("policy", "check", "talk", status=2)
