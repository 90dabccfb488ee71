"""Leakage: what a model is trained on and tested on, too, so that the test says less than it seems to.

- *audio*: the same sound, or sound that goes back to the same moments of a recording (`lineage.derivation.moments`); noise
  that lies under both does not count.
- *recording*: other moments of a recording that is in both, as of one long interview that was cut into utterances.
- *speaker*: somebody who is heard in both.
- *text*: the same plain words (`lineage.selection.words`) in both. They are compared inside the process; ids and counts
  come out.

Training judges the evaluation sets of its recipe before any work. Unless the policy says otherwise, audio is refused and
all else is warned of; its rule reads `leakage: {audio: warn, recording: allow}`. A process asks the record once: hundreds of
retrainings on the same sets cost nothing more, as long as no sample, edge or transcript comes or goes.

Laws: asked the other way round, the two sides of the answer are exchanged; a set of speech leaks wholly into itself, by
audio; no sample leaks both by audio and by recording.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lineage.derivation.moments import moments
from lineage.errors import EarmarkError
from lineage.ids import id_array
from lineage.people.policy import LEAKS, Leak, Policy, in_force
from lineage.runs import Run
from lineage.selection.sets import members
from lineage.selection.words import plain
from lineage.store import Store

TRAIN, TEST = "train", "test"
MENDS = {
    "audio": "take the shared recordings out of one of them, or allow it in a policy — leakage: {audio: warn}",
    "recording": "the figures hold for recordings, with their rooms and microphones, that the model knows",
    "speaker": "the figures hold for speakers that the model knows",
    "text": "the figures hold for sentences that the model knows",
}

KNOWN = 64  # answers that a process remembers
MEETING_S = 0.01  # two parts that overlap by less are neighbours whose times were rounded

# What a sample is known by: its own sound, the recordings that it goes back to by theirs, and whoever is heard in it. Noise is
# left out.
MARKED = """
    WITH used AS (SELECT w.side, s.* FROM samples s JOIN wanted w ON s.sample_id = w.id),
    made_of AS (SELECT side, sample_id, speaker_key, unnest(coalesce(root_ids, [sample_id])) AS root FROM used),
    roots AS (
        SELECT m.side, m.sample_id, m.root, r.audio_key, coalesce(m.speaker_key, r.speaker_key) AS speaker_key
        FROM made_of m LEFT JOIN samples r ON r.sample_id = m.root WHERE coalesce(r.kind, 'speech') = 'speech'),
    marks AS (
        SELECT 'sound' AS kind, side, sample_id, root AS recording, coalesce(audio_key, root) AS mark FROM roots
        UNION SELECT 'sound', side, sample_id, sample_id, coalesce(audio_key, sample_id) FROM used WHERE kind = 'speech'
        UNION SELECT 'speaker', side, sample_id, NULL, speaker_key FROM roots)
    SELECT DISTINCT a.* FROM marks a
    SEMI JOIN marks b ON a.kind = b.kind AND a.mark = b.mark AND a.side <> b.side ORDER BY ALL"""
# Of what goes back to the same sounds: which goes back to the same moments of one. Of very short parts half counts.
MEETING = """
    WITH parts AS (
        SELECT s.side, s.sample_id, s.mark, m.start_s, m.end_s
        FROM shared s JOIN moments m ON m.sample_id = s.sample_id AND m.recording = s.recording)
    SELECT DISTINCT a.side, a.sample_id FROM parts a SEMI JOIN parts b ON a.mark = b.mark AND a.side <> b.side
    AND least(a.end_s, b.end_s) - greatest(a.start_s, b.start_s)
        > least({meeting}, (a.end_s - a.start_s) / 2, (b.end_s - b.start_s) / 2) ORDER BY ALL"""


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
        shared = {
            "audio": "sound of", "recording": "other moments of recordings of", "speaker": "speakers of", "text": "words of",
        }[self.kind]  # fmt: skip
        return (
            f"{self.kind} leakage: {len(self.tested)} of {self.size} samples of evaluation set {self.test[:12]} have "
            f"{shared} training set {self.train[:12]}"
        )


def leakage(store: Store, train: str, test: str) -> list[Leakage]:
    """What leaks from the training set of digest `train` into the test set `test`, in the order of `LEAKS`, none included."""
    question = (train, test, store.origin, _state(store))
    answer = _known.pop(question, None) or _leakage(store, train, test)
    _known[question] = answer  # the newest last
    while len(_known) > KNOWN:
        _known.pop(next(iter(_known)))
    return list(answer)


_known: dict[tuple[str, ...], list[Leakage]] = {}


def _state(store: Store) -> str:
    """Digest of what an answer hangs on: which segments hold the samples, edges and transcripts now."""
    listed = (
        s.path for folder in ("tables/samples", "tables/edges", "vault/transcripts") for s in store.listed(folder)
    )
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def _leakage(store: Store, train: str, test: str) -> list[Leakage]:
    sides = {TRAIN: members(store, train), TEST: members(store, test)}
    wanted = pa.concat_tables(
        [pa.table({"side": pa.repeat(pa.scalar(side), len(ids)), "id": ids}) for side, ids in sides.items()]
    )
    found: dict[tuple[str, str], list[Any]] = {(kind, side): [] for kind in LEAKS for side in sides}
    marked = store.sql(MARKED, tables={"wanted": wanted})
    shared = marked.filter(pc.equal(marked["kind"], "sound"))
    meeting = _meeting(store, shared)
    for side, sample in zip(shared["side"].to_pylist(), shared["sample_id"].to_pylist(), strict=True):
        found["audio" if (side, sample) in meeting else "recording", side].append(sample)
    heard = marked.filter(pc.equal(marked["kind"], "speaker"))
    for side, sample in zip(heard["side"].to_pylist(), heard["sample_id"].to_pylist(), strict=True):
        found["speaker", side].append(sample)
    said = {side: {s: plain(text) for s, text in store.vault.transcripts(ids).items()} for side, ids in sides.items()}
    both = set(said[TRAIN].values()) & set(said[TEST].values()) - {""}
    for side, texts in said.items():
        found["text", side] = [s for s, text in texts.items() if text in both]
    leaks = {key: id_array(sorted(set(ids))) for key, ids in found.items()}
    return [Leakage(kind, train, test, leaks[kind, TRAIN], leaks[kind, TEST], len(sides[TEST])) for kind in LEAKS]


def _meeting(store: Store, shared: pa.Table) -> set[tuple[str, uuid.UUID]]:
    """Side and id of the samples that share moments of a recording with the other side."""
    if not shared.num_rows:
        return set()
    used = moments(store, shared.select(["sample_id", "recording"]))
    found = store.sql(MEETING.format(meeting=MEETING_S), tables={"shared": shared, "moments": used})
    return set(zip(found["side"].to_pylist(), found["sample_id"].to_pylist(), strict=True))


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


def judge(
    store: Store, train: str, tests: Sequence[str], policy: Policy | None = None, *, behind: Sequence[str] = ()
) -> Verdict:
    """What leaks from a training set into evaluation sets (digests), by the given policy, or else the one in force.

    `behind` are sets that the weights had learnt from before; they leak just so.
    """
    chosen = policy or in_force(store)
    learnt = dict.fromkeys([train, *behind])
    found = [
        leak
        for test in dict.fromkeys(tests)
        for one in learnt
        for leak in leakage(store, one, test)
        if len(leak.tested)
    ]
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
