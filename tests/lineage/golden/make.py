"""Makes the golden store: a small store of everything, as this version writes it, for later versions to open.

    python -m tests.lineage.golden.make

writes `store.tar.xz` and beside it `pinned.json`, what the tests hold against it. Made once for each change of what stores
look like; do not make it again to get a test to pass. Nobody in it is real: three invented speakers who say noise. The keys
in its vault are for these tests alone and protect nothing.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lineage.compaction.compact import compact
from lineage.derivation.derive import transform_set
from lineage.exports.share import export
from lineage.ids import halves
from lineage.ingestion.ingest import ingest
from lineage.people import policy, rights
from lineage.people.erase import erase
from lineage.people.reach import speaker
from lineage.proof import merkle
from lineage.schema import TABLES
from lineage.selection import algebra
from lineage.selection.sets import create_set, members, prove, resolve_set, sample_sets
from lineage.selection.slices import Slice, freeze
from lineage.store import Store
from tests.lineage.sounds import sound, write

HERE = Path(__file__).parent
ARCHIVE, PINNED = HERE / "store.tar.xz", HERE / "pinned.json"
SPEAKERS = ("Vera Example", "Wim Example", "Xenia Example")
MODEL = "ab" * 32
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
ABSENT = uuid.UUID(int=7)  # in no set


def corpus(folder: Path) -> Path:
    """Two short recordings of each speaker; returns the manifest."""
    lines = []
    for n, name in enumerate(SPEAKERS):
        for take in range(2):
            write(folder / f"{n}-{take}.wav", sound(0.02, seed=10 * n + take))
            lines.append(
                {
                    "audio_path": f"{n}-{take}.wav", "text": f"word{n} take {take}", "speaker": name, "source": "booth",
                    "licence": "CC0-1.0" if n else "CC-BY-4.0", "accent": f"accent{n % 2}", "age": 30 + n,
                }
            )  # fmt: skip
    manifest = folder / "words.jsonl"
    manifest.write_text("\n".join(map(json.dumps, lines)))
    return manifest


def make(root: Path, folder: Path) -> Store:
    """A store at `root` in which every kind of thing has happened; `folder` is for what lies outside of it."""
    store = Store.init(root)
    ingest(store, corpus(folder), copy=True)
    rights.state(store, "booth", purpose="asr", basis="consent", collected_from=NOON)
    rights.consent(store, "given", source="booth", purposes=["asr"], at=NOON)
    policy.adopt(store, policy.Policy.parse({"name": "asr only", "purpose": "asr"}, "golden"))
    transform_set(store, "words", "speed", to="fast", parameters={"factor": 1.25})
    algebra.cut(store, ["words"], name="young", where="age < 32")
    compact(store)
    trained_on = resolve_set(store, "words")
    consumed = members(store, trained_on.digest).to_pylist()
    with store.run("train", job="listener", inputs=[trained_on.digest], seed=1) as run:
        run.append(
            "exposures",
            [
                {"step": p // 2, "position": p % 2, "epoch": 0, "sample_id": s, "weight": float(p > 0), "seed": p}
                for p, s in enumerate(consumed[:-1])
            ],
        )
        facts = {"family": "none", "base": "none", "parameters": 1, "trainable": 1, "seed": 1}
        row = {"model_id": MODEL, "name": "listener", "set_digest": trained_on.digest, "artifact": run.put(b"weights")}
        run.append("models", [{**row, **facts}])
        run.append("model_events", [{"model_id": MODEL, "event": "promoted", "alias": "production", "at": NOON}])
        run.outputs += [MODEL, row["artifact"]]
    with store.run("evaluate", job="listener", inputs=[MODEL, trained_on.digest]) as run:
        cut = freeze(run, Slice("accent=accent0", "accent = 'accent0'"), trained_on).set_digest
        figure = {"model_id": MODEL, "set_digest": trained_on.digest}
        counts = {"words": 3, "hits": 2, "substitutions": 1, "deletions": 0, "insertions": 0, "loss": 1.5, "tokens": 4}
        run.append("predictions", [{**figure, "sample_id": s, **counts} for s in consumed])
        run.append("metrics", [{**figure, "slice": "all", "metric": "wer", "value": 1 / 3, "level": 0.95}])
        run.vault.append("hypotheses", [{"sample_id": s, "hypothesis": "word heard"} for s in consumed[:1]])
    with store.run("attribute", inputs=[MODEL]) as run:
        whole = {"model_id": MODEL, "method": "none", "target": "all", "target_set": trained_on.digest}
        said = {"value": 0.25, "unit": "nats per reference word", "reduction": "sum"}
        run.append("influences", [{**whole, **said, "sample_id": s} for s in consumed])
        effect = {"audit": "0" * 64, "train_slice": "a", "train_set": cut, "eval_slice": "all", "metric": "wer"}
        run.append("effects", [{**effect, "eval_set": trained_on.digest, "estimate": 0.5, "verdict": "helps"}])
        run.append("alerts", [{"monitor": "golden", "severity": "info", "message": "a sentence", "at": NOON}])
    export(store, "words", "nemo", folder / "out")
    erase(store, speaker(store, SPEAKERS[2]), reason="golden")
    with store.run("set") as run:
        create_set(run, consumed[:2], name="pair")
    return store


def pinned(store: Store) -> dict[str, Any]:
    """What every later version has to find in it."""
    words = next(s for s in sample_sets(store) if s.name == "words")
    ids = members(store, words.digest).to_pylist()
    absent = merkle.prove(halves(ids), ABSENT)
    return {
        "runs": [[r.id, r.kind, r.status] for r in store.runs()],
        "sets": [[s.name, s.kind, s.digest, s.size, s.run_id] for s in sample_sets(store)],
        "members": [str(i) for i in ids],
        "proofs": [prove(store, words.digest, ids[0]).to_json(), absent.to_json()],
        "speaker_keys": {n: str(store.vault.speaker_key(n)) for n in SPEAKERS},
        "transcripts": sorted(store.vault.transcripts().values()),
        # Tables that came later are empty in it.
        "rows": {t: n for t in TABLES if (n := store.sql(f"SELECT count(*) AS n FROM {t}")["n"].to_pylist()[0])},
        "behind_model": _text(store, f"FROM behind_model('{MODEL}')"),
        "by_accent": _text(store, "SELECT accent, count(*), sum(age) FROM samples GROUP BY accent ORDER BY 1"),
        "owing": _text(store, "SELECT model_id, event, run_id FROM model_events ORDER BY ALL"),
    }


def _text(store: Store, query: str) -> list[list[str]]:
    return [[str(v) for v in row] for row in store.connect().sql(query).fetchall()]


def main() -> None:
    """Make it and pack it."""
    with tempfile.TemporaryDirectory() as scratch:
        store = make(Path(scratch) / "store", Path(scratch) / "outside")
        PINNED.write_text(json.dumps({**pinned(store), "checkpoint": store.log.checkpoint()}, indent=1) + "\n")
        with tarfile.open(ARCHIVE, "w:xz") as archive:
            archive.add(store.root, "store", filter=_kept)


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """All of it but the leases, which tell on which machine it was made and are no part of the record."""
    if member.name.startswith("store/leases/"):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main()
