"""Experience replay: old samples mixed into the new ones, so that what was learnt from them is not forgotten.

    train: new-accent
    replay: {sets: [old-accents], share: 0.3, stratify: accent}

This is the simplest remedy against forgetting, also called rehearsal (Robins, *Connection Science* 7(2), 1995), and it needs
the old recordings. So many are drawn from the old sets, without those that are new as well, that they make up `share` of
what is trained on: n · share / (1 − share) beside n new ones, rounded. With `stratify` the draw is in proportion from each
speaker or each value of an attribute, by largest remainders; those without one are a stratum, too.

The mixture is a set on record, and so is what was drawn; every exposure says which old set it was replayed from, the first
of `sets` that holds it. Laws: the draw depends on the sets, the share, the stratum and `seed` alone, not on the order in
which anything was recorded; without strata, a smaller share draws a part of what a larger one draws.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lineage.derivation.chance import Draw
from lineage.errors import EarmarkError, UnknownName
from lineage.identity import digest_of
from lineage.ids import halves, id_array
from lineage.proof.merkle import set_digest
from lineage.selection.sets import SampleSet, create_set, members, resolve_set
from lineage.store import Store
from training.recipe import Replay

SPEAKER = "speaker"


@dataclass(frozen=True, eq=False)
class Mixture:
    """New samples and those drawn from old sets; `origins` gives the digest of the old set by sample."""

    replay: Replay
    new: SampleSet
    old: tuple[SampleSet, ...]
    origins: Mapping[uuid.UUID, str]
    data: SampleSet

    def recorded(self, store: Store) -> bool:
        """Whether the mixture is on record."""
        return store.find_run(self._key) is not None

    def record(self, store: Store) -> None:
        """Put the mixture and what was drawn on record, unless they are there."""
        if self.recorded(store):
            return
        old = [s.digest for s in self.old]
        with store.run("set", job=self.data.name, config=self._config, key=self._key, inputs=self._inputs) as run:
            drawn = sorted(self.origins)
            create_set(run, drawn, name=f"{self.new.name}-replayed", parents=old)
            ids = [*members(store, self.new.digest).to_pylist(), *drawn]
            create_set(run, ids, name=self.data.name, parents=self._inputs)
            run.result = {"new": self.new.size, "replayed": len(drawn)}

    @property
    def _inputs(self) -> list[str]:
        return [self.new.digest, *(s.digest for s in self.old)]

    @property
    def _config(self) -> dict[str, Any]:
        return {"replay": self.replay.model_dump(mode="json"), "set": self.new.digest, "old": self._inputs[1:]}

    @property
    def _key(self) -> str:
        how = self.replay.model_dump(mode="json", exclude={"sets"})
        return digest_of({"job": "replay", "new": self.new.digest, "old": self._inputs[1:], "how": how})


def mixture(store: Store, new: SampleSet, replay: Replay) -> Mixture:
    """Draw from the old sets; nothing is written.

    Raises:
        EarmarkError: no such set, an attribute that nobody has, or more is asked for than the old sets hold.
    """
    old = tuple(resolve_set(store, ref) for ref in replay.sets)
    taken = set(members(store, new.digest).to_pylist())
    origins: dict[uuid.UUID, str] = {}
    for one in old:
        for sample in members(store, one.digest).to_pylist():
            if sample not in taken:
                origins.setdefault(sample, one.digest)
    count = round(new.size * replay.share / (1 - replay.share))
    if not 0 < count <= len(origins):
        names = ", ".join(s.name for s in old)
        raise EarmarkError(
            f"'replay.share' {replay.share:g} beside {new.size} new samples asks for {count} old ones, and {names} "
            f"{'have' if len(old) > 1 else 'has'} {len(origins)} — "
            + ("raise it" if count < 1 else f"lower it to {_most(new.size, len(origins)):g}, or name more sets")
        )
    described = _described(store, sorted(origins))
    drawn = _drawn(described, count, replay)
    ids = np.concatenate([halves(members(store, new.digest)), halves(id_array(drawn))])
    chosen = set(drawn)
    rows = [r for r in described if r["sample_id"] in chosen]
    data = SampleSet(
        set_digest(ids), f"{new.name}-with-replay", "set", None, None, (new.digest, *(s.digest for s in old)), len(ids),
        (new.duration_s or 0.0) + math.fsum(r["duration_s"] or 0.0 for r in rows),
        (new.words or 0) + sum(r["words"] or 0 for r in rows), "",
    )  # fmt: skip
    return Mixture(replay, new, old, {i: origins[i] for i in drawn}, data)


def _most(new: int, old: int) -> float:
    """The largest share, rounded down, at which the old samples do."""
    return math.floor(1000 * old / (new + old)) / 1000


def _described(store: Store, ids: Sequence[uuid.UUID]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = store.sql(
        "SELECT sample_id, speaker_key, attributes, duration_s, words FROM samples JOIN wanted ON sample_id = id"
        " QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY run_id DESC) = 1 ORDER BY sample_id",
        tables={"wanted": pa.table({"id": id_array(ids)})},
    ).to_pylist()
    return rows


def _drawn(rows: Sequence[Mapping[str, Any]], count: int, replay: Replay) -> list[uuid.UUID]:
    """`count` of the samples, sorted."""
    draw = Draw(replay.seed, ())
    strata: dict[str, list[uuid.UUID]] = {}
    for row in rows:
        strata.setdefault(_value(row, replay.stratify), []).append(row["sample_id"])
    if replay.stratify not in (None, SPEAKER) and strata.keys() == {""}:
        known = {name for row in rows for name, _ in row["attributes"] or ()}
        raise UnknownName("attribute", str(replay.stratify), [*known, SPEAKER])
    exact = {value: count * len(own) / len(rows) for value, own in strata.items()}
    quota = {value: math.floor(share) for value, share in exact.items()}
    order = sorted(strata, key=lambda value: (quota[value] - exact[value], draw.unit(value.encode())))
    for value in order[: count - sum(quota.values())]:
        quota[value] += 1
    ranked = {v: sorted(own, key=lambda sample: (draw.unit(sample.bytes), sample)) for v, own in strata.items()}
    return sorted(sample for value, own in ranked.items() for sample in own[: quota[value]])


def _value(row: Mapping[str, Any], stratify: str | None) -> str:
    if stratify is None:
        return ""
    value = row["speaker_key"] if stratify == SPEAKER else dict(row["attributes"] or ()).get(stratify)
    return "" if value is None else str(value)
