"""Leakage: what a model is trained on and tested on, too, so that the test says less than it seems to.

- *audio*: the same sound, or sound that goes back to the same recording; noise that lies under both does not count.
- *speaker*: somebody who is heard in both.
- *text*: the same plain words (`lineage.words`) in both. They are compared inside the process; ids and counts come out.

Training judges the evaluation sets of its recipe before any work. Unless the policy says otherwise, audio is refused and
speaker and text are warned of; its rule reads `leakage: {audio: warn, speaker: allow}`.

Laws: asked the other way round, the two sides of the answer are exchanged; a set of speech leaks wholly into itself.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lineage.errors import EarmarkError
from lineage.ids import id_array
from lineage.policy import LEAKS, Leak, Policy, in_force
from lineage.runs import Run
from lineage.sets import members
from lineage.store import Store
from lineage.words import plain

TRAIN, TEST = "train", "test"
MENDS = {
    "audio": "take the shared recordings out of one of them, or allow it in a policy — leakage: {audio: warn}",
    "speaker": "the figures hold for speakers that the model knows",
    "text": "the figures hold for sentences that the model knows",
}

# A mark is what a sample is known by: its sound and its recordings, or whoever is heard in it.
MARKED = """
    WITH used AS (SELECT w.side, s.* FROM samples s JOIN wanted w ON s.sample_id = w.id),
    made_of AS (SELECT side, sample_id, speaker_key, unnest(coalesce(root_ids, [sample_id])) AS root FROM used),
    roots AS (
        SELECT m.side, m.sample_id, m.root, r.audio_key, coalesce(m.speaker_key, r.speaker_key) AS speaker_key
        FROM made_of m LEFT JOIN samples r ON r.sample_id = m.root WHERE coalesce(r.kind, 'speech') = 'speech'),
    marks AS (
        SELECT 'audio' AS kind, side, sample_id, root AS mark FROM roots
        UNION SELECT 'audio', side, sample_id, audio_key FROM roots
        UNION SELECT 'audio', side, sample_id, audio_key FROM used WHERE kind = 'speech'
        UNION SELECT 'speaker', side, sample_id, speaker_key FROM roots)
    SELECT DISTINCT a.kind, a.side, a.sample_id FROM marks a
    SEMI JOIN marks b ON a.kind = b.kind AND a.mark = b.mark AND a.side <> b.side ORDER BY ALL"""


@dataclass(frozen=True, eq=False)
class Leakage:
    """What of a training set is in a test set, by one of `LEAKS`: ids of the samples on either side, sorted.

    `size` is the number of samples of the test set.
    """

    kind: str
    train: str
    test: str
    trained: pa.Array
    tested: pa.Array
    size: int

    def to_json(self) -> dict[str, Any]:
        """As JSON: counts, and the first sample that was tested on."""
        first = str(self.tested[0].as_py()) if len(self.tested) else None
        counts = {"trained": len(self.trained), "tested": len(self.tested), "of": self.size, "example": first}
        return {"kind": self.kind, "test": self.test, **counts}

    def __str__(self) -> str:
        shared = {"audio": "recordings of", "speaker": "speakers of", "text": "words of"}[self.kind]
        return (
            f"{self.kind} leakage: {len(self.tested)} of {self.size} samples of evaluation set {self.test[:12]} have "
            f"{shared} training set {self.train[:12]}"
        )


def leakage(store: Store, train: str, test: str) -> list[Leakage]:
    """What leaks from the training set of digest `train` into the test set `test`, in the order of `LEAKS`, none included."""
    sides = {TRAIN: members(store, train), TEST: members(store, test)}
    wanted = pa.concat_tables(
        [pa.table({"side": pa.repeat(pa.scalar(side), len(ids)), "id": ids}) for side, ids in sides.items()]
    )
    found: dict[tuple[str, str], list[Any]] = {(kind, side): [] for kind in LEAKS for side in sides}
    for row in store.sql(MARKED, tables={"wanted": wanted}).to_pylist():
        found[row["kind"], row["side"]].append(row["sample_id"])
    said = {side: {s: plain(text) for s, text in store.vault.transcripts(ids).items()} for side, ids in sides.items()}
    shared = set(said[TRAIN].values()) & set(said[TEST].values()) - {""}
    for side, texts in said.items():
        found["text", side] = sorted(s for s, text in texts.items() if text in shared)
    return [
        Leakage(kind, train, test, id_array(found[kind, TRAIN]), id_array(found[kind, TEST]), len(sides[TEST]))
        for kind in LEAKS
    ]


@dataclass(frozen=True)
class Verdict:
    """What leaks into the evaluation sets of a run, and what becomes of each: (what leaks, 'refuse', 'warn' or 'allow')."""

    leaks: tuple[tuple[Leakage, Leak], ...] = ()

    @property
    def outcome(self) -> str:
        """'refused', 'warned' or 'allowed'."""
        actions = {action for _, action in self.leaks}
        return "refused" if "refuse" in actions else "warned" if "warn" in actions else "allowed"

    @property
    def refused(self) -> bool:
        """Whether the run may not go on."""
        return self.outcome == "refused"

    def to_json(self) -> dict[str, Any]:
        """As JSON, for a run's result."""
        return {"outcome": self.outcome, "leaks": [{**leak.to_json(), "action": action} for leak, action in self.leaks]}


class LeakageRefused(EarmarkError):
    """A run would be tested on what it was trained on; what leaks goes on the record of the run."""

    def __init__(self, verdict: Verdict, on_record: dict[str, Any]) -> None:
        refused = [leak for leak, action in verdict.leaks if action == "refuse"]
        super().__init__(f"{'; '.join(map(str, refused))} — {MENDS[refused[0].kind]}")
        self.verdict = verdict
        self.on_record = {**on_record, "leakage": verdict.to_json()}


def judge(store: Store, train: str, tests: Sequence[str], policy: Policy | None = None) -> Verdict:
    """What leaks from a training set into evaluation sets (digests), by the given policy, or else the one in force."""
    chosen = policy or in_force(store)
    found = [leak for test in dict.fromkeys(tests) for leak in leakage(store, train, test) if len(leak.tested)]
    actions = {**LEAKS, **((chosen.leakage if chosen else None) or {})}
    return Verdict(tuple((leak, actions[leak.kind]) for leak in found))


def enforce(run: Run, verdict: Verdict, *, quietly: bool = False) -> None:
    """Put a verdict on the record of a run that is beginning, and warn of what it warns of unless that was done already.

    Raises:
        LeakageRefused: the run may not be tested on these sets.
    """
    run.result["leakage"] = verdict.to_json()
    if verdict.refused:
        raise LeakageRefused(verdict, run.result)
    if not quietly:
        warn(verdict)


def warn(verdict: Verdict) -> None:
    """One line in the log for each thing that leaks and is neither allowed nor refused."""
    for leak, action in verdict.leaks:
        if action == "warn":
            logging.getLogger("earmark").warning("%s — %s", leak, MENDS[leak.kind])
