"""What is told of a sound does not depend on its file, and moves with the sound as it should."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lineage.compaction.compact import compact
from lineage.derivation.derive import apply
from lineage.ingestion.ingest import ingest
from lineage.proof.verifier import verify
from lineage.recorder import NewSample, Recorder
from lineage.sound.audio import Waveform, encode, quantise, read_audio
from lineage.sound.facts import HEARD, listen
from lineage.sound.waveforms import level, resample
from lineage.store import Store
from tests.lineage.sounds import file_bytes, recoded, sine, sound, speech, write

REAL = Path(os.environ.get("EARMARK_REAL_DATA", "")) / "fsdd"


def noisy(clean: Waveform, snr_db: float, seed: int = 1) -> Waveform:
    """White noise under a clip, `snr_db` below the power that it has while it is not silent."""
    heard = np.square(clean.pcm[np.abs(clean.pcm) > 0], dtype=np.float64).mean()
    noise = np.random.default_rng(seed).normal(size=clean.pcm.shape) * np.sqrt(heard * 10 ** (-snr_db / 10))
    return Waveform((clean.pcm + noise).astype(np.float32), clean.rate)


def test_facts_are_of_the_sound_and_not_of_its_file() -> None:
    wave = noisy(speech(), 30)
    wave = quantise(wave)
    wav, flac = (read_audio(data) for data in (file_bytes(wave), encode(wave)))
    assert listen(wav) == listen(flac)


@pytest.mark.parametrize("gain_db", [-20.0, -6.0, 4.0])
def test_a_gain_moves_levels_by_as_much_and_nothing_else(gain_db: float) -> None:
    wave = noisy(speech(), 25)
    before, after = listen(wave), listen(level(wave, gain_db))
    assert after.level_dbfs == pytest.approx(before.level_dbfs + gain_db, abs=0.11)
    assert after.peak_dbfs == pytest.approx(before.peak_dbfs + gain_db, abs=0.11)
    assert after.snr_estimate_db == pytest.approx(before.snr_estimate_db, abs=0.11)
    assert (after.silence_share, after.bandwidth_hz) == (before.silence_share, before.bandwidth_hz)


def test_the_order_and_the_number_of_channels_do_not_matter() -> None:
    left, right = noisy(speech(seed=1), 20), noisy(speech(seed=2), 20)
    there, back = (Waveform(np.hstack(pair), 16_000) for pair in ([left.pcm, right.pcm], [right.pcm, left.pcm]))
    assert replace(listen(there), fingerprint=b"") == replace(listen(back), fingerprint=b"")
    twice = listen(Waveform(np.hstack([left.pcm, left.pcm]), 16_000))
    assert [twice.row()[n] for n in HEARD] == pytest.approx([listen(left).row()[n] for n in HEARD], abs=0.11)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0, 40.0])
def test_the_noise_is_heard_in_the_pauses(snr_db: float, rate: int) -> None:
    found = [listen(noisy(speech(4.0, rate, seed), snr_db, seed)).snr_estimate_db for seed in range(4)]
    assert np.mean([f for f in found if f is not None]) == pytest.approx(snr_db, abs=2.5)
    assert None not in found


def test_sound_that_never_pauses_has_no_snr_and_no_silence() -> None:
    for wave in (sound(2.0), sine(1.0, 8_000, 440.0), sound(0.01)):
        assert (listen(wave).snr_estimate_db, listen(wave).silence_share) == (None, 0.0)


def test_a_full_scale_sine_has_the_level_that_the_textbook_says() -> None:
    facts = listen(sine(1.0, 16_000, 1_000.0, peak=1.0))
    assert facts.level_dbfs == pytest.approx(-3.0, abs=0.05)
    assert facts.peak_dbfs == 0.0


def test_silence_is_what_was_added_to_either_end() -> None:
    burst = sound(1.0)
    gap = np.zeros((16_000, 1), dtype=np.float32)
    assert listen(Waveform(np.concatenate([gap, burst.pcm, gap, gap]), 16_000)).silence_share == pytest.approx(0.75)
    short = np.zeros((1_600, 1), dtype=np.float32)  # a pause within speech
    assert listen(Waveform(np.concatenate([burst.pcm, short, burst.pcm]), 16_000)).silence_share == 0.0


def test_a_click_at_the_end_of_silence_is_told_of_all_the_same() -> None:
    pcm = np.zeros((16_000 * 2 + 5, 1), dtype=np.float32)
    pcm[-1] = 0.5
    facts = listen(Waveform(pcm, 16_000))
    assert (facts.silence_share, facts.peak_dbfs, facts.snr_estimate_db) == (1.0, -6.0, None)


def test_clipping_is_the_share_of_values_at_full_scale() -> None:
    wave = sine(1.0, 16_000, 100.0, peak=2.0)
    clipped = quantise(wave)
    above = float((np.abs(wave.pcm) >= 1 - 2.0**-15).mean())
    assert listen(clipped).clipped_share == pytest.approx(above, abs=0.001)
    assert above == pytest.approx(2 / 3, abs=0.01)
    assert listen(speech()).clipped_share == 0.0


@pytest.mark.parametrize("narrow", [8_000, 16_000, 22_050])
def test_an_upsampled_recording_is_found_out_by_its_bandwidth(narrow: int) -> None:
    wide = noisy(speech(2.0, 48_000), 30)
    assert listen(wide).bandwidth_hz == 24_000
    up = quantise(resample(resample(wide, narrow), 48_000))
    assert listen(up).bandwidth_hz == pytest.approx(narrow / 2, rel=0.08)
    quiet = quantise(level(up, -30.0))  # the rounding noise fills what was empty; it is no sound
    assert listen(quiet).bandwidth_hz == pytest.approx(narrow / 2, rel=0.08)


def test_every_length_and_rate_has_facts() -> None:
    for rate in (4_000, 11_025, 192_000):
        for frames in (1, 2, 3, 100, 5_000):
            facts = listen(Waveform(np.full((frames, 2), 0.25, dtype=np.float32), rate))
            assert facts.peak_dbfs == facts.level_dbfs == -12.0
            assert 0 <= facts.bandwidth_hz <= rate / 2


def manifest(folder: Path) -> Path:
    write(folder / "a.wav", quantise(noisy(speech(2.0), 20)))
    write(folder / "b.flac", quantise(noisy(speech(2.0, seed=5), 20)), container="FLAC")
    rows = [
        {"audio": "a.wav", "text": "one two three", "speaker": "ann", "language": "EN_us"},
        {"audio": "b.flac", "text": "ещё one", "speaker": "ben", "locale": "rus"},
    ]
    (folder / "list.jsonl").write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in rows))
    return folder / "list.jsonl"


def test_facts_are_columns_of_what_is_ingested_and_of_what_is_made_of_it(store: Store, tmp_path: Path) -> None:
    ingest(store, manifest(tmp_path))
    rows = store.sql("SELECT * FROM samples ORDER BY words DESC").to_pylist()
    assert [(r["language_tag"], r["scripts"]) for r in rows] == [("en-US", "Latin"), ("ru", "Latin+Cyrillic")]
    for row, (_, wave) in zip(rows, store.vault.waveforms([r["sample_id"] for r in rows]), strict=True):
        facts = listen(wave)
        assert {n: row[n] for n in HEARD} == facts.row()
        assert row["speaking_rate"] == pytest.approx(row["words"] / (2.0 * (1 - facts.silence_share)), abs=0.01)
    with store.run("transform") as run:
        child = apply(run, "level", [rows[0]["sample_id"]], parameters={"gain_db": -6}).ids[0]
    made = store.read("samples", where="sample_id = ?", parameters=[child]).to_pylist()[0]
    assert made["level_dbfs"] == pytest.approx(rows[0]["level_dbfs"] - 6, abs=0.11)
    assert made["language_tag"] == "en-US"
    assert store.vault.rows("fingerprints").num_rows == 3


def test_a_sample_recorded_without_facts_gains_them_and_never_loses_them(store: Store, tmp_path: Path) -> None:
    path = manifest(tmp_path)
    ingest(store, path)
    known = store.read("samples").to_pylist()
    older = Store.init(tmp_path / "older")
    bare = [
        NewSample(
            r["sample_id"], "00" * 32, r["kind"], r["duration_s"], r["sample_rate"], r["channels"], "words", path="gone"
        )
        for r in known
    ]

    def record(target: Store) -> None:
        with target.run("ingest") as run, Recorder(run) as recorder:
            for sample in bare:
                recorder.add(sample)

    record(older)
    assert older.read("samples", ["count(level_dbfs) AS n"])["n"].to_pylist() == [0]
    report = ingest(older, path)
    assert report.new == 0
    record(older)
    told = [r[n] for r in older.read("samples", where="true ORDER BY sample_id").to_pylist() for n in HEARD]
    assert None not in told
    assert older.vault.rows("fingerprints").num_rows == 2
    ingest(older, path, name="again")
    assert older.vault.rows("fingerprints").num_rows == 2
    compact(older, everything=True)
    assert [r[n] for r in older.read("samples", where="true ORDER BY sample_id").to_pylist() for n in HEARD] == told
    assert verify(older.root).ok


@pytest.mark.skipif(not REAL.is_dir(), reason="real recordings are not there: set EARMARK_REAL_DATA")
def test_real_recordings_have_plausible_facts() -> None:
    rows = [json.loads(line) for line in (REAL / "manifest.jsonl").read_text().splitlines()[::60]]
    found = [listen(read_audio(REAL / r["audio_path"])) for r in rows]
    assert all(-60 < f.level_dbfs < f.peak_dbfs <= 0 for f in found)
    assert all(2_000 < f.bandwidth_hz <= 4_000 for f in found)
    assert np.median([f.silence_share for f in found]) < 0.3  # the corpus is trimmed
    for r, f in zip(rows[:10], found, strict=False):
        wave = read_audio(REAL / r["audio_path"])
        again = listen(recoded(resample(wave, 16_000), "FLAC", "PCM_16"))
        assert again.level_dbfs == pytest.approx(f.level_dbfs, abs=0.6)
