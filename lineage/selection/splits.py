"""Splits by speaker: a set cut into parts, or into folds, so that nobody is heard in two of them.

What belongs together is found first: all samples of a speaker, and everything made of one recording or of several (a sample
in which two people speak binds both; noise that was mixed in binds nobody). Such groups are then dealt out whole.

`split` deals by a hash of seed and group alone: who is in the test set stays there when speakers are added. Shares are met
on average, so among few speakers they are met roughly; no part is left empty. With `stratify` each value of an attribute is
dealt by itself, by quota; then shares are met closely, and added speakers may move others. With `everywhere` the values of
several attributes are to be in every part (`lineage.selection.strata`). `folds` are of nearly equal size.

Laws: parts are disjoint, their union is the set, and no two share a speaker or a recording; the same set, shares and seed
give the same parts.
"""

from __future__ import annotations

import hashlib
import math
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from lineage.errors import EarmarkError, UnknownName
from lineage.identity import digest_of
from lineage.selection import strata
from lineage.selection.sets import SampleSet, create_set, members, resolve_set, sample_sets
from lineage.store import Store

FACTS = """
    WITH newest AS (FROM samples QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY run_id DESC) = 1),
    speech AS (SELECT sample_id, speaker_key FROM newest WHERE kind <> 'noise'),
    chosen AS (SELECT sample_id, speaker_key, attributes, unnest(coalesce(root_ids, [sample_id])) AS root FROM newest
               WHERE sample_id IN (SELECT id FROM wanted))
    SELECT c.sample_id, c.speaker_key, any_value(c.attributes) AS attributes, list(c.root ORDER BY c.root) AS roots,
           list(s.speaker_key ORDER BY c.root) AS heard
    FROM chosen c LEFT JOIN speech s ON s.sample_id = c.root
    WHERE c.root = c.sample_id OR c.root NOT IN (SELECT sample_id FROM newest WHERE kind = 'noise')
    GROUP BY c.sample_id, c.speaker_key ORDER BY c.sample_id"""


@dataclass
class Group:
    """Samples that stay together; `key` is the least id of what binds them, `attributes` how often each value occurs."""

    key: uuid.UUID
    samples: list[uuid.UUID] = field(default_factory=list)
    attributes: Counter[tuple[str, str]] = field(default_factory=Counter)

    def place(self, seed: int) -> float:
        """A number in [0, 1) that depends on seed and key alone."""
        return _unit(seed, self.key.bytes)

    def value(self, attribute: str) -> str:
        """Its most frequent value of an attribute, '' if it has none."""
        counts = [(-n, value) for (name, value), n in self.attributes.items() if name == attribute]
        return min(counts)[1] if counts else ""


def split(
    store: Store,
    set_ref: str,
    shares: Mapping[str, float],
    *,
    seed: int = 0,
    stratify: str | None = None,
    everywhere: Sequence[str] = (),
    name: str | None = None,
) -> dict[str, SampleSet]:
    """Cut a set into parts by speaker; `shares` add up to 1, parts are named NAME-PART.

    Of an attribute alone in `everywhere`, every value that as many speakers have as there are parts is heard in every part,
    each speaker having one value; of several attributes, as far as moving one speaker can bring it about.

    Raises:
        EarmarkError: no such set or attribute, shares that do not add up, fewer speakers than parts, or both `stratify` and
            `everywhere`.
    """
    population = resolve_set(store, set_ref)
    _check_shares(shares)
    stem = name or population.name
    config = {"set": population.digest, "shares": dict(shares), "seed": seed, "stratify": stratify, "name": stem}
    wanted = [stratify] if stratify is not None else sorted(set(everywhere))
    if everywhere:
        if stratify is not None:
            raise EarmarkError(f"stratify {stratify} and everywhere {', '.join(everywhere)} — give one of them")
        config["everywhere"] = wanted

    def deal(groups: Sequence[Group]) -> list[int]:
        known = {n for g in groups for n, _ in g.attributes}
        for attribute in wanted:
            if attribute not in known:
                raise UnknownName("attribute", attribute, known)
        if everywhere:
            values = [{v for v in g.attributes if v[0] in wanted} for g in groups]
            return strata.deal(values, list(shares.values()), [g.place(seed) for g in groups])
        if stratify is not None:
            return _by_quota(groups, list(shares.values()), seed, stratify)
        return _by_hash(groups, list(shares.values()), seed)

    made = _cut(store, population, config, [f"{stem}-{part}" for part in shares], deal)
    return dict(zip(shares, made, strict=True))


def folds(store: Store, set_ref: str, count: int, *, seed: int = 0) -> list[tuple[SampleSet, SampleSet]]:
    """For each of `count` folds of nearly equal size: (everything else, the fold), as sets NAME-fold-K-rest and NAME-fold-K.

    Raises:
        EarmarkError: no such set, fewer than two folds, or fewer speakers than folds.
    """
    if count < 2:
        raise EarmarkError(f"{count} folds leave nothing to train on — ask for two or more")
    population = resolve_set(store, set_ref)
    config = {"set": population.digest, "folds": count, "seed": seed}
    stem = f"{population.name}-fold"
    held = _cut(store, population, config, [f"{stem}-{k + 1}" for k in range(count)], lambda g: _evenly(g, count, seed))
    rest = _cut(
        store,
        population,
        {**config, "rest": True},
        [f"{stem}-{k + 1}-rest" for k in range(count)],
        lambda g: _evenly(g, count, seed),
        others=True,
    )
    return list(zip(rest, held, strict=True))


def _cut(
    store: Store,
    population: SampleSet,
    config: dict[str, Any],
    names: Sequence[str],
    deal: Callable[[Sequence[Group]], list[int]],
    *,
    others: bool = False,
) -> list[SampleSet]:
    """The parts on record, made now unless they are there; with `others`, what is not in each part."""
    key = digest_of({"job": "split", **config, "names": list(names)})
    done = store.find_run(key)
    if done is None:
        groups = grouped(store, population.digest)
        if len(groups) < len(names):
            raise EarmarkError(
                f"set {population.name} has {len(groups)} speakers who share no recording, too few for {len(names)} parts "
                "— ask for fewer"
            )
        dealt = deal(groups)
        with store.run("split", job=population.name, config=config, key=key, inputs=[population.digest]) as run:
            for part, name in enumerate(names):
                ids = [
                    s for g, place in zip(groups, dealt, strict=True) if (place == part) != others for s in g.samples
                ]
                create_set(run, ids, name=name, kind="split", population=population.digest, parents=[population.digest])
        done = store.resolve_run(run.id)
    made = {s.name: s for s in sample_sets(store) if s.run_id == done.id}
    return [made[name] for name in names]


def grouped(store: Store, set_digest: str) -> list[Group]:
    """The members of a set in groups that have to stay together, sorted by key."""
    rows = store.sql(FACTS, tables={"wanted": pa.table({"id": members(store, set_digest)})}).to_pylist()
    bonds = _Bonds()
    for row in rows:
        bonds.tie(
            [("speaker", k) for k in {row["speaker_key"], *row["heard"]} if k] + [("root", r) for r in row["roots"]]
        )
    found: dict[Any, Group] = {}
    for row in rows:
        group = found.setdefault(bonds.of(("root", row["roots"][0])), Group(uuid.UUID(int=2**128 - 1)))
        group.samples.append(row["sample_id"])
        group.attributes.update((n, v) for n, v in row["attributes"] or () if v is not None)
        group.key = min(group.key, *({row["speaker_key"], *row["heard"]} - {None} or row["roots"]))
    return sorted(found.values(), key=lambda g: g.key)


class _Bonds:
    """What is tied together, directly or through others (union–find)."""

    def __init__(self) -> None:
        self._above: dict[Any, Any] = {}

    def of(self, node: Any) -> Any:
        while (above := self._above.setdefault(node, node)) != node:
            self._above[node] = node = self._above[above]
        return node

    def tie(self, nodes: Iterable[Any]) -> None:
        first, *more = map(self.of, nodes)
        for other in more:
            self._above[self.of(other)] = self.of(first)


def _check_shares(shares: Mapping[str, float]) -> None:
    if len(shares) < 2:
        raise EarmarkError("a split needs two parts at least — write for example train=0.8,test=0.2")
    for part, share in shares.items():
        if not (math.isfinite(share) and share > 0):
            raise EarmarkError(f"the share of '{part}' is {share:g} — give a number above 0")
    whole = math.fsum(shares.values())
    if abs(whole - 1) > 1e-9:
        raise EarmarkError(f"the shares add up to {whole:g} — they have to be 1 together")


def _bounds(shares: Sequence[float]) -> list[float]:
    return [math.fsum(shares[: k + 1]) for k in range(len(shares) - 1)] + [1.0]


def _by_hash(groups: Sequence[Group], shares: Sequence[float], seed: int) -> list[int]:
    bounds = _bounds(shares)
    places = [g.place(seed) for g in groups]
    dealt = [next(k for k, bound in enumerate(bounds) if place < bound) for place in places]
    for part in range(len(shares)):
        if part not in dealt:  # whoever is nearest comes over from a part that can spare somebody
            middle = bounds[part] - shares[part] / 2
            spare = [i for i, other in enumerate(dealt) if dealt.count(other) > 1]
            dealt[min(spare, key=lambda i: (abs(places[i] - middle), groups[i].key))] = part
    return dealt


def _by_quota(groups: Sequence[Group], shares: Sequence[float], seed: int, attribute: str) -> list[int]:
    bounds = _bounds(shares)
    strata: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        strata.setdefault(group.value(attribute), []).append(i)
    dealt = [0] * len(groups)
    for value, own in strata.items():
        offset = _unit(seed, value.encode())  # so that what is rounded off does not always fall to the same part
        ends = [math.floor(bound * len(own) + offset) for bound in bounds[:-1]]
        for rank, i in enumerate(sorted(own, key=lambda i: (groups[i].place(seed), groups[i].key))):
            dealt[i] = sum(rank >= end for end in ends)
    empty = [k for k in range(len(shares)) if k not in dealt]
    if empty:
        raise EarmarkError(
            f"too few speakers of each {attribute} for so small a share — leave out stratify, or ask for more"
        )
    return dealt


def _evenly(groups: Sequence[Group], count: int, seed: int) -> list[int]:
    """Large groups first, each to the fold that has least."""
    sizes = [0] * count
    dealt = [0] * len(groups)
    order = sorted(range(len(groups)), key=lambda i: (-len(groups[i].samples), groups[i].place(seed), groups[i].key))
    for i in order:
        dealt[i] = min(range(count), key=lambda k: (sizes[k], k))
        sizes[dealt[i]] += len(groups[i].samples)
    return dealt


def _unit(seed: int, what: bytes) -> float:
    return (int.from_bytes(hashlib.sha256(f"{seed}\x00".encode() + what).digest()[:8], "big") >> 11) / 2.0**53
