"""Copies are found however they were made; the same words said again, or by somebody else, are none."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from lineage.derivation.derive import transform_set
from lineage.ingestion.ingest import ingest
from lineage.people.erase import erase
from lineage.people.reach import reach, speaker
from lineage.proof.verifier import verify
from lineage.recorder import NewSample, Recorder
from lineage.selection.duplicates import ALIKE, LONGER, LONGER_S, Duplicates, duplicates
from lineage.selection.sets import create_set, resolve_set
from lineage.sound.audio import Waveform, encode, quantise, read_audio
from lineage.sound.facts import listen
from lineage.sound.fingerprint import BYTES, vectors
from lineage.sound.waveforms import concatenate, level, resample, speed
from lineage.store import Store
from tests.lineage.conftest import ids
from tests.lineage.sounds import recoded, sound, speech, write

REAL = Path(os.environ.get("EARMARK_REAL_DATA", "")) / "fsdd"
COPIES: dict[str, Callable[[Waveform], Waveform]] = {
    "narrow": lambda w: resample(w, 8_000),
    "wide": lambda w: resample(w, 44_100),
    "louder": lambda w: level(w, 5.0),
    "quieter": lambda w: level(w, -20.0),
    "ogg": recoded,
    "opus": lambda w: recoded(w, "OGG", "OPUS"),
    "mp3": lambda w: recoded(w, "MP3", "MPEG_LAYER_III"),
    "ulaw": lambda w: recoded(w, "WAV", "ULAW"),
    "stereo": lambda w: Waveform(np.repeat(w.pcm, 2, axis=1), w.rate),
    "narrow, quiet and lossy": lambda w: recoded(level(resample(w, 8_000), -6.0)),
}


def alike(a: Waveform, b: Waveform) -> float:
    one, other = vectors([listen(a).fingerprint, listen(b).fingerprint])
    return float(one @ other)


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_like_its_original(how: str) -> None:
    for seed in range(4):
        wave = speech(2.0, seed=seed)
        assert alike(wave, COPIES[how](wave)) >= ALIKE


def test_other_sounds_are_not_alike() -> None:
    waves = [speech(2.0, seed=n) for n in range(20)]
    waves += [speed(waves[0], 1.1), concatenate([waves[0], waves[1]])[0], sound(2.0), sound(2.0, seed=1)]
    rows = vectors([listen(w).fingerprint for w in waves])
    likeness = rows @ rows.T
    assert np.diag(likeness) == pytest.approx(1, abs=1e-5)
    assert (likeness - np.eye(len(waves))).max() < 0.96


def test_what_does_not_move_is_like_nothing() -> None:
    assert vectors([bytes(BYTES)]) @ vectors([bytes(BYTES)]).T == 0


@pytest.mark.skipif(not REAL.is_dir(), reason="real recordings are not there: set EARMARK_REAL_DATA")
def test_real_copies_are_alike_and_real_repetitions_are_not() -> None:
    """One speaker says one digit many times: half a second each, the hardest case there is."""
    rows = [json.loads(line) for line in (REAL / "manifest.jsonl").read_text().splitlines()]
    rows = [r for r in rows if (r["speaker"], r["text"]) == ("jackson", "seven")][:40]
    waves = [read_audio(REAL / r["audio_path"]) for r in rows]
    heard = vectors([listen(w).fingerprint for w in waves])
    again = (heard @ heard.T)[np.triu_indices(len(waves), 1)]
    assert (again >= ALIKE).mean() < 0.005
    for how in ("narrow", "wide", "quieter", "opus", "ulaw"):
        copies = vectors([listen(quantise(COPIES[how](w))).fingerprint for w in waves])
        assert (np.einsum("ij,ij->i", heard, copies) >= ALIKE).mean() > 0.9


def recording(folder: Path, *rows: tuple[str, Waveform, str, str], name: str = "all") -> Path:
    lines = []
    for file, wave, text, who in rows:
        write(folder / f"{file}.wav", quantise(wave))
        lines.append(json.dumps({"audio": f"{file}.wav", "text": text, "speaker": who, "take": file}))
    (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return folder / f"{name}.jsonl"


def by_take(store: Store) -> dict[UUID, str]:
    return {r["sample_id"]: r["take"] for r in store.sql("SELECT sample_id, take FROM samples").to_pylist()}


def named(store: Store, found: Duplicates) -> tuple[list[set[str]], list[set[str]]]:
    takes = by_take(store)
    exact, near = ([{takes[s] for s in g.samples} for g in groups] for groups in (found.exact, found.near))
    return exact, near


@pytest.fixture
def copied(store: Store, tmp_path: Path) -> Store:
    """Ann says a sentence; copies of it, the sentence said again, other words, and Ben."""
    first, again, other, bens = (speech(2.0, seed=n) for n in range(4))
    said = "Open the window, please"
    path = recording(
        tmp_path,
        ("first", first, said, "ann"),
        ("narrow", resample(first, 8_000), "open the window please", "ann"),
        ("quiet", level(first, -10.0), said, "ann"),
        ("again", again, said, "ann"),
        ("other", other, "close the door", "ann"),
        ("relabelled", other, "close a door", "ann"),
        ("ben", bens, said, "ben"),
        ("stolen", level(bens, -3.0), said, "cat"),
    )
    report = ingest(store, path)
    assert (report.same_sound, report.near) == (2, 3)
    return store


def test_duplicates_of_a_set(copied: Store) -> None:
    digest = resolve_set(copied, "all").digest
    found = duplicates(copied, digest)
    assert named(copied, found) == ([{"other", "relabelled"}], [{"first", "narrow", "quiet"}])
    assert found.unheard == 0
    assert found.near[0].likeness >= ALIKE
    assert not found.near[0].derived
    across = duplicates(copied, digest, across_speakers=True)
    assert named(copied, across)[1] == [{"first", "narrow", "quiet"}, {"ben", "stolen"}]


def test_what_was_derived_is_told_from_what_was_copied(copied: Store) -> None:
    made = transform_set(copied, "all", "level", to="soft", parameters={"gain_db": -6})
    with copied.run("set") as run:
        both = create_set(
            run,
            [s for s, take in by_take(copied).items() if take == "again"],
            name="pair",
        )
    assert both.size == 2
    group = duplicates(copied, both.digest).near[0]
    assert (len(group.samples), group.derived) == (2, True)
    assert duplicates(copied, made.digest).exact


def test_the_same_set_has_the_same_duplicates_whatever_was_ingested_twice(copied: Store, tmp_path: Path) -> None:
    before = duplicates(copied, resolve_set(copied, "all").digest)
    report = ingest(copied, tmp_path / "all.jsonl")
    assert (report.reused, report.same_sound, report.near) == (True, 2, 3)
    assert duplicates(copied, report.set.digest) == before


def test_a_speaker_s_fingerprints_are_reached_and_erased(copied: Store) -> None:
    prints = [row["fingerprint"] for row in copied.vault.rows("fingerprints").to_pylist()]
    scope = speaker(copied, "ann")
    assert reach(copied, scope).vault["fingerprints"] == 6
    mine = {
        row["fingerprint"]
        for row in copied.vault.rows("fingerprints").to_pylist()
        if row["speaker_key"] == copied.vault.speaker_key("ann")
    }
    erase(copied, scope)
    left = copied.vault.rows("fingerprints").to_pylist()
    assert len(left) == 2 < len(prints)
    assert not mine & {row["fingerprint"] for row in left}
    assert verify(copied.root).ok


def test_the_groups_are_those_of_comparing_everything_with_everything(store: Store) -> None:
    rng = np.random.default_rng(0)
    heard = listen(speech(1.0))
    samples = ids(600)
    said, seconds = rng.integers(0, 12, len(samples)), rng.uniform(1.0, 1.2, len(samples)).round(3)
    prints = rng.integers(-100, 100, (len(samples), BYTES), dtype=np.int8)
    for n in rng.integers(1, len(samples), 200):  # copies, and copies of copies, of about any length and words
        prints[n] = prints[n - 1]
        said[n] = said[n - 1] if rng.random() < 0.9 else said[n]
        seconds[n] = seconds[n - 1] if rng.random() < 0.7 else seconds[n]
    with store.run("ingest") as run, Recorder(run) as recorder:
        for n, sample in enumerate(samples):
            recorder.add(
                NewSample(
                    sample, f"{n:064x}", "speech", float(seconds[n]), 16_000, 1, f"text {said[n]}", path="x",
                    facts=replace(heard, fingerprint=prints[n].tobytes()),
                )
            )  # fmt: skip
        made = create_set(run, samples, name="many", samples=recorder.totals())
    rows = vectors([p.tobytes() for p in prints])
    longer = np.maximum(seconds * (1 + LONGER), seconds + LONGER_S)
    linked = (rows @ rows.T >= ALIKE) & (said[:, None] == said) & (seconds <= longer[:, None])
    linked &= linked.T
    for _ in range(5):
        linked = linked @ linked
    expected = {tuple(sorted(samples[m] for m in np.flatnonzero(row))) for row in linked if row.sum() > 1}
    assert len(expected) > 50
    assert {g.samples for g in duplicates(store, made.digest).near} == expected


def test_samples_without_fingerprints_are_counted(store: Store, tmp_path: Path) -> None:
    with store.run("ingest") as run, Recorder(run) as recorder:
        wave = speech(1.0)
        for sample in ids(3):
            recorder.add(
                NewSample(sample, str(sample.int), "speech", 1.0, 16_000, 1, "a word", path="x", clip=encode(wave))
            )
        made = create_set(run, ids(3), name="old", samples=recorder.totals())
    found = duplicates(store, made.digest)
    assert (found.exact, found.near, found.unheard) == ((), (), 3)
