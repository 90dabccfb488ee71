"""The dossier: what a withdrawal would affect, as a person asks for it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from lineage.selection.sets import create_set
from lineage.store import Store
from tests.earmark.test_cli import earmark
from tests.lineage.conftest import ids, link, rows

RECORDING, CLIP, OTHER = ids(3)
SPEAKER = uuid.UUID(int=1 << 127)


@pytest.fixture
def store(here: Path) -> Store:
    """A speaker's recording and a clip of it, a model of the clip and one built on that, predictions and an export."""
    made = Store.init(here / "earmark-store")
    with made.run("ingest") as run:
        run.append("samples", rows([RECORDING], speaker_key=SPEAKER, source="booth", licence="MIT"))
        run.append("samples", rows([CLIP], speaker_key=SPEAKER, source="booth", licence="MIT AND CC0-1.0"))
        run.append("samples", rows([OTHER], speaker_key=uuid.UUID(int=2), source="street", licence="CC0-1.0"))
        link(run, CLIP, RECORDING)
        run.vault.append("transcripts", [{"sample_id": RECORDING, "transcript": "hush", "speaker_key": SPEAKER}])
        train = create_set(run, [CLIP, OTHER], name="train")
    for n, inputs in enumerate(([train.digest], ["a" * 64])):
        with made.run("train", inputs=inputs) as run:
            exposed = [{"step": 0, "position": 0, "sample_id": CLIP, "weight": 1.0}]
            run.append("exposures", exposed if n == 0 else [])
            run.append("models", [{"model_id": "ab"[n] * 64, "name": ("first", "second")[n]}])
            run.outputs.append("ab"[n] * 64)
    with made.run("evaluate") as run:
        counts = {"words": 1, "hits": 1, "substitutions": 0, "deletions": 0, "insertions": 0}
        run.append("predictions", [{"model_id": "a" * 64, "set_digest": train.digest, "sample_id": CLIP, **counts}])
    with made.run("export", config={"set": train.digest, "format": "nemo", "to": "partner"}) as run:
        run.outputs.append("e" * 64)
    return made


@pytest.mark.parametrize("who", [("--speaker", str(SPEAKER)), ("--source", "booth"), ("--sample", str(RECORDING))])
def test_the_dossier_names_everything_that_was_reached(
    store: Store, capsys: pytest.CaptureFixture[str], who: tuple[str, str]
) -> None:
    runs = len(store.runs())
    earmark("impact", *who)
    told = capsys.readouterr().out
    for line in (
        "2 samples, 1 of them made of others", "1 transcripts", "set train", "1 of 2 samples", "model first", "model second",
        "trained from such a model", "predictions of model aaaaaaaaaaaa", "export nemo in 'partner'", "nothing was changed",
    ):  # fmt: skip
        assert line in told, line
    assert ("of source booth, agrees to: no purpose" in told) == (who[0] == "--speaker")
    earmark("impact", *who, "--json")
    (facts,) = json.loads(capsys.readouterr().out)
    assert (facts["samples"], facts["derived"]) == (2, 1)
    assert [m["name"] for m in facts["models"]] == ["first", "second"]
    assert [e["digest"] for e in facts["exports"]] == ["e" * 64]
    assert facts["vault_rows"]["transcripts"] == 1
    assert len(store.runs()) == runs


def test_a_licence_reaches_what_it_is_one_of_the_terms_of(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    earmark("impact", "--licence", "MIT")
    told = capsys.readouterr().out
    assert "licence MIT: 2 samples" in told
    assert "model first" in told
    earmark("impact", "--licence", "CC0-1.0", "--json")
    assert json.loads(capsys.readouterr().out)[0]["samples"] == 2


def test_one_thing_is_asked_about_at_a_time(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ((), ("--licence", "GPL"), ("--speaker", "x", "--source", "booth"), ("--source", "booths")):
        earmark("impact", *words, status=2)
        assert capsys.readouterr().err.count("\n") == 1
