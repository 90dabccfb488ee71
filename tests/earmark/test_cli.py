"""The command line as a person types it: the README's five commands on recordings of one's own, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from earmark.cli import app, main
from lineage.store import Store

DIGITS = ("zero", "one", "two", "three", "four")
SPEAKERS = ("ann", "bob", "cid", "dee")


pytestmark = pytest.mark.usefixtures("here")


def earmark(*words: str, status: int = 0, monkeypatch: pytest.MonkeyPatch | None = None) -> None:
    """Run the command in this process; check its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["earmark", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    assert (ended.value.code or 0) == status, words


def recordings(folder: Path) -> Path:
    """A folder of recordings with a manifest: four speakers, two accents, each digit a tone."""
    rng = np.random.default_rng(0)
    rows = []
    for split, takes in (("train", 3), ("test", 2)):
        for s, speaker in enumerate(SPEAKERS):
            for take in range(takes):
                words = [DIGITS[i] for i in rng.integers(0, len(DIGITS), 2)]
                t = np.arange(2_400) / 8_000
                tones = [np.sin(2 * np.pi * (300 + 200 * DIGITS.index(w)) * (1 + s / 40) * t) for w in words]
                path = f"{split}-{speaker}-{take}.wav"
                soundfile.write(folder / path, 0.3 * np.concatenate(tones) + 0.01 * rng.normal(size=4_800), 8_000)
                accent = "north" if s % 2 else "south"
                rows.append({"audio_path": path, "text": " ".join(words), "speaker": speaker, "split": split})
                rows[-1] |= {"accent": accent, "licence": "CC0-1.0", "source": "tones"}
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return manifest


def recipe(folder: Path, **fields: object) -> Path:
    plain = {"name": "tones", "base": "earmark:whisper-tiny", "train": "train", "evaluate": ["test"]}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**plain, "epochs": 2, "learning_rate": 1e-3, "batch_size": 4, **fields}))
    return path


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


@pytest.mark.slow
def test_the_five_commands_and_the_questions_after_them(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recordings(here)
    earmark("init", "my-store")
    store = ("--store", "my-store")
    earmark("ingest", "manifest.jsonl", "--name", "all", *store)
    assert "accepted 20" in said(capsys)
    earmark("set", "train", "--of", "all", "--where", "split = 'train'", *store)
    earmark("set", "test", "--of", "all", "--where", "split = 'test'", *store)
    said(capsys)
    earmark("leakage", "train", "test", "--json", *store)
    leaks = {leak["kind"]: leak for leak in json.loads(said(capsys))}
    assert (leaks["audio"]["tested"], len(leaks["speaker"]["tested"]), leaks["text"]["of"]) == ([], 8, 8)
    path = recipe(here, checkpoints=2)
    audit = (
        "audit",
        "run",
        str(path),
        "--slice",
        "accent=*",
        "--seeds",
        "2",
        "--controls",
        "1",
        "--workers",
        "1",
        *store,
    )
    earmark(*audit)
    assert "accent=north" in said(capsys)
    earmark(*audit, "--json")
    again = json.loads(said(capsys))
    assert again["trained"] == 0
    assert {e["train_slice"] for e in again["effects"]} == {"accent=north", "accent=south"}

    earmark("train", str(path), "--json", *store)
    trained = json.loads(said(capsys))
    assert trained["reused"]
    earmark("attribute", trained["model"][:10], "--target", "accent=*", "--workers", "1", *store)
    said(capsys)
    earmark("evaluate", trained["model"][:10], "test", "--slice", "accent=*", "--json", *store)
    assert {r["slice"] for r in json.loads(said(capsys))} >= {"accent=north", "accent=south"}

    earmark("sql", f"FROM behind_model('{trained['model'][:12]}')", "--json", *store)
    assert len(json.loads(said(capsys))) == 12
    earmark("sql", "SELECT DISTINCT model_id FROM models_of_speaker(speaker_key('ann'))", "--json", *store)
    assert trained["model"] in {r["model_id"] for r in json.loads(said(capsys))}
    earmark("sql", "SELECT DISTINCT model_id FROM models_of_speaker(speaker_key('nobody'))", "--json", *store)
    assert json.loads(said(capsys)) == []
    earmark("diff", "train", "test", *store)
    assert "12 only in the first, 8 only in the second" in said(capsys)
    earmark("trace", trained["model"][:8], *store)
    assert "12 recordings of 4 speakers" in said(capsys)
    sample = Store.open("my-store").sql("SELECT sample_id FROM samples WHERE split = 'train' LIMIT 1")["sample_id"][0]
    earmark("trace", str(sample)[:8], *store)
    assert "models that consumed it" in said(capsys)
    earmark("prove", "train", str(sample), *store)
    (here / "proof.json").write_text(said(capsys))
    earmark("check-proof", "proof.json")
    assert "is in the set" in said(capsys)
    earmark("verify", *store)
    assert "intact" in said(capsys)


@pytest.mark.slow
def test_another_seed_or_thread_count_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recordings(here)
    earmark("init")
    earmark("ingest", "manifest.jsonl", "--name", "train")
    path = recipe(here, evaluate=[], epochs=1)
    said(capsys)
    earmark("train", str(path), "--json")
    first = json.loads(said(capsys))
    earmark("train", str(path), "--seed", "1", "--json")
    assert json.loads(said(capsys))["model"] != first["model"]
    earmark("train", str(path), "--threads", "2")
    printed = said(capsys)
    assert "threads" in printed
    assert "seed" in printed


def test_bad_rows_are_told_one_line_each_and_the_rest_is_kept(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = recordings(here)
    (here / "empty.wav").touch()
    (here / "thesis.wav").write_text("not a sound")
    rows = [
        '{"audio_path": "empty.wav", "text": "one"}',
        '{"audio_path": "thesis.wav", "text": "one"}',
        '{"audio_path": "gone.wav", "text": "one"}',
        '{"audio_path": "../outside.wav", "text": "one"}',
        '{"audio_path": "train-ann-0.wav", "text": ""}',
        '{"audio_path": "train-ann-0.wav", "text": "one"',
    ]
    manifest.write_text(manifest.read_text() + "\n".join(rows) + "\n")
    earmark("init")
    earmark("ingest", "manifest.jsonl")
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if "manifest.jsonl:" in line]
    assert [int(line.split(":")[1]) for line in lines] == list(range(21, 27))
    assert all("—" in line for line in lines)
    assert "accepted 20" in printed.out
    assert "Traceback" not in printed.err
    earmark("init", "strict-store")
    earmark("ingest", "manifest.jsonl", "--strict", "--store", "strict-store", status=2)
    assert Store.open("strict-store").sql("SELECT count(*) AS n FROM samples")["n"].to_pylist() == [0]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["sets", "--store", "nowhere"], "earmark init"),
        (["sql", "SELECT colour FROM samples"], "colour"),
        (["sql", "SELEC"], "SELEC"),
        (["trace", "zzz"], "hexadecimal"),
        (["diff", "trian", "train"], "did you mean 'train'"),
        (["evaluate", "nothing", "train"], "model"),
        (["train", "absent.yaml"], "absent.yaml"),
        (["train", "misspelt.yaml"], "learning_rat"),
        (["audit", "run", "recipe.yaml", "--slice", "acent=north"], "did you mean 'accent'"),
        (["audit", "run", "recipe.yaml", "--slice", "accent=norht"], "north, south"),
        (["transform", "train", "resampel", "rate=8000"], "did you mean 'resample'"),
        (["transform", "train", "resample", "rate=fast"], "rate"),
        (["transform", "train", "resample", "rate"], "NAME=VALUE"),
        (["set", "x", "--of", "train", "--where", "1; DROP TABLE samples"], "condition"),
        (["check-proof", "recipe.yaml"], "earmark prove"),
    ],
)
def test_mistakes_end_in_one_line_that_says_what_exists(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], hint: str
) -> None:
    recordings(here)
    recipe(here, evaluate=["train"])
    (here / "misspelt.yaml").write_text((here / "recipe.yaml").read_text().replace("learning_rate", "learning_rat"))
    earmark("init")
    earmark("ingest", "manifest.jsonl", "--name", "train")
    capsys.readouterr()
    earmark(*words, status=2)
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    complaint = [line for line in printed.err.splitlines() if line.startswith("earmark: ")]
    assert len(complaint) == 1, printed.err
    assert hint in complaint[0]


def test_transforms_are_listed_with_their_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    earmark("transform")
    listed = " ".join(said(capsys).split())
    for line in (
        "telephone Pass through a telephone line",
        "law ulaw G.711",
        "rt60_s required Reverberation time",
        "'snr_db=[0, 20]'",
    ):
        assert line in listed


def test_what_was_heard_in_training_is_heard_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recordings(here)
    earmark("init")
    earmark("ingest", "manifest.jsonl", "--name", "train")
    earmark("transform", "train", "level", "gain_db=[-9, -3]", "--to", "quieter")
    codec = {"transform": "codec", "probability": 0.5, "parameters": {"codec": ["gsm", "mp3"]}}
    capsys.readouterr()
    earmark("train", str(recipe(here, train="quieter", evaluate=[], epochs=1, augment=[codec])), "--json")
    run = json.loads(said(capsys))["run"]
    applied = []
    for position in range(4):
        earmark("hear", run, "0", str(position), "--out", f"{position}.wav", "--json")
        heard = json.loads(said(capsys))
        applied += [a["codec"] for a in heard["applied"]]
        wave, rate = soundfile.read(heard["path"])
        assert (len(wave), rate) == (4_800, 8_000)
    assert set(applied) <= {"gsm", "mp3"}
    earmark("hear", run, "0", "0")
    assert "wrote" in said(capsys)
    earmark("hear", run, "0", "99", status=2)
    assert "positions from 0 to 3" in capsys.readouterr().err


def test_every_verb_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    verbs = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
    verbs += [group.name or "" for group in app.registered_groups]
    assert {"init", "ingest", "sql", "trace", "sets", "runs", "diff", "train", "evaluate", "audit"} <= set(verbs)
    for verb in verbs:
        earmark(verb, "--help")
        assert len(said(capsys)) > 100


def test_duplicates_and_facts_of_recordings(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    tone = np.sin(np.arange(16_000) / 9) * np.repeat(rng.uniform(0, 0.5, 40), 400)
    rows = []
    for name, pcm, text in (("a", tone, "one two"), ("b", tone / 2, "One, two!"), ("c", tone, "three")):
        soundfile.write(here / f"{name}.wav", pcm, 16_000)
        rows.append({"audio": f"{name}.wav", "text": text, "speaker": "ann", "locale": "en_GB"})
    (here / "list.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    earmark("init", "s")
    earmark("ingest", "list.jsonl", "-s", "s")
    told = said(capsys)
    assert "duplicates: 2 have the sound of another and other words, 2 are near copies" in told
    earmark("duplicates", "list", "--json", "-s", "s")
    groups = json.loads(said(capsys))
    assert [(g["kind"], len(g["samples"]), g["derived"]) for g in groups] == [("exact", 2, False), ("near", 2, False)]
    earmark("duplicates", "list", "--across-speakers", "-s", "s")
    assert "2 samples near copies of another, groups: 1" in said(capsys)
    earmark("trace", groups[0]["samples"][0], "-s", "s")
    seen = said(capsys)
    assert all(fact in seen for fact in (" dBFS", "up to ", "words/s", "en-GB", "Latin script"))
    assert "one two" not in seen


def test_who_interrupts_is_told_that_it_goes_on(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    earmark("init", "my-store")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lineage.store.Store.open", interrupted)
    earmark("runs", "--store", "my-store", status=130)
    assert "finished work is kept, the same command goes on from there" in capsys.readouterr().err
