"""Rights: on what terms recordings were collected, and what the people in them have agreed to, as of any moment.

A *source* is described by statements; each adds a row to `sources`, and the newest statement holds. What ingestion notes of a
source (the licences that its rows named) holds only until somebody states a licence.

*Consent* is a history of events, each of a speaker or of a whole source, each for some purposes or for all:

    given       the purposes are added
    narrowed    only the purposes remain, as far as they were consented to
    withdrawn   the purposes are taken away; without purposes, all

A speaker who never said anything is taken to have agreed to what was agreed for the source. Once a speaker has spoken, what
the source gives later adds nothing to it; what the source narrows or withdraws is taken from its speakers as well.

Law: `as_of(store, when)` depends on statements made and events in force up to `when` alone, so a verdict that was right stays
right when consent is withdrawn later.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

from lineage.errors import EarmarkError, UnknownName
from lineage.people import reach, spdx
from lineage.store import Store

EVENTS = ("given", "narrowed", "withdrawn")
STATEMENT = "source"  # kind of the runs that state something of a source


@dataclass(frozen=True)
class Purposes:
    """A set of purposes: those `named`, or if `everything` all but those."""

    named: frozenset[str] = frozenset()
    everything: bool = False

    def __contains__(self, purpose: object) -> bool:
        return (purpose in self.named) != self.everything

    def add(self, purposes: frozenset[str] | None) -> Purposes:
        """With these as well; None stands for all."""
        if purposes is None:
            return ALL
        return replace(self, named=self.named - purposes if self.everything else self.named | purposes)

    def remove(self, purposes: frozenset[str] | None) -> Purposes:
        """Without these."""
        if purposes is None:
            return NONE
        return replace(self, named=self.named | purposes if self.everything else self.named - purposes)

    def keep(self, purposes: frozenset[str] | None) -> Purposes:
        """Only what is also among these."""
        if purposes is None:
            return self
        return Purposes(frozenset(p for p in purposes if p in self))

    def __str__(self) -> str:
        names = ", ".join(sorted(self.named))
        if self.everything:
            return f"any purpose but {names}" if names else "any purpose"
        return names or "no purpose"


ALL, NONE = Purposes(everything=True), Purposes()


@dataclass(frozen=True)
class Source:
    """What is stated of a source. Times are UTC; `retain_until` is when its recordings have to be erased."""

    name: str
    licence: str | None = None
    purpose: str | None = None
    basis: str | None = None
    collected_from: datetime | None = None
    collected_to: datetime | None = None
    retain_until: datetime | None = None


STATED = tuple(f.name for f in fields(Source))[1:]


@dataclass(frozen=True)
class ConsentEvent:
    """One event; `purposes` None means all. Exactly one of `speaker` and `source` is given."""

    event: str
    at: datetime
    speaker: uuid.UUID | None
    source: str | None
    purposes: frozenset[str] | None
    run_id: str


@dataclass(frozen=True)
class Rights:
    """Sources and consents as they stood at a moment."""

    at: datetime
    sources: Mapping[str, Source] = field(default_factory=dict)
    stated: frozenset[str] = frozenset()  # sources of which a licence was stated, not only noted at ingestion
    _of_speakers: Mapping[uuid.UUID, tuple[ConsentEvent, ...]] = field(default_factory=dict)
    _of_sources: Mapping[str, tuple[ConsentEvent, ...]] = field(default_factory=dict)

    def consent(self, speaker: uuid.UUID | None, source: str | None) -> Purposes:
        """What a speaker of a source has consented to; `speaker` None is somebody unknown."""
        own: Purposes | None = None
        general = NONE
        events = [*self._of_sources.get(source or "", ())]
        events += self._of_speakers.get(speaker, ()) if speaker is not None else ()
        for e in sorted(events, key=lambda e: (e.at, e.run_id)):
            if e.speaker is None:
                general = _after(general, e)
                own = _after(own, e) if own is not None and e.event != "given" else own
            else:
                own = _after(general if own is None else own, e)
        return general if own is None else own

    def source(self, name: str | None) -> Source:
        """What is known of a source, nothing if there is none of that name."""
        return self.sources.get(name or "", Source(name or ""))


def _after(before: Purposes, event: ConsentEvent) -> Purposes:
    if event.event == "given":
        return before.add(event.purposes)
    return before.keep(event.purposes) if event.event == "narrowed" else before.remove(event.purposes)


def as_of(store: Store, when: datetime | None = None) -> Rights:
    """Sources and consents as they stood at `when`, by default now."""
    at = when or datetime.now(UTC)
    sources, stated = _sources(store, at)
    of_speakers: dict[uuid.UUID, list[ConsentEvent]] = {}
    of_sources: dict[str, list[ConsentEvent]] = {}
    for e in consents(store):
        if e.at > at:
            continue
        if e.speaker is not None:
            of_speakers.setdefault(e.speaker, []).append(e)
        elif e.source is not None:
            of_sources.setdefault(e.source, []).append(e)
    return Rights(
        at, sources, stated, {k: tuple(v) for k, v in of_speakers.items()}, {k: tuple(v) for k, v in of_sources.items()}
    )


def _sources(store: Store, at: datetime) -> tuple[dict[str, Source], frozenset[str]]:
    rows = store.sql(
        "SELECT s.*, r.kind, r.ended FROM sources s JOIN runs r USING (run_id) ORDER BY run_id"
    ).to_pylist()
    noted: dict[str, list[str | None]] = {}
    found: dict[str, Source] = {}
    for row in rows:
        if row["ended"] > at:
            continue
        name = row["source"]
        if row["kind"] == STATEMENT:
            found[name] = Source(name, **{c: row[c] for c in STATED})
        else:
            noted.setdefault(name, []).append(row["licence"])
    stated = frozenset(name for name, s in found.items() if s.licence is not None)
    for name, licences in noted.items():
        if name not in stated:
            found[name] = replace(found.get(name, Source(name)), licence=spdx.joint(licences))
    return dict(sorted(found.items())), stated


def consents(store: Store) -> list[ConsentEvent]:
    """All events, in the order in which they came into force."""
    rows = store.sql(
        """
        SELECT run_id, event, "at", speaker_key, source, list(purpose) FILTER (purpose IS NOT NULL) AS purposes
        FROM consents GROUP BY ALL ORDER BY "at", run_id, speaker_key, source"""
    ).to_pylist()
    return [
        ConsentEvent(
            r["event"], r["at"], r["speaker_key"], r["source"], frozenset(r["purposes"]) if r["purposes"] else None, r["run_id"]
        )
        for r in rows
    ]  # fmt: skip


def state(store: Store, name: str, **changes: Any) -> Source:
    """State something of a source: fields of `Source`; what is not given stays as it was stated before.

    Raises:
        EarmarkError: the licence is no SPDX expression, or dates are the wrong way round.
    """
    for field_ in changes:
        if field_ not in STATED:
            raise ValueError(f"a source has no {field_}")
    if not name.strip():
        raise EarmarkError("a source needs a name — give the one that its samples bear")
    if changes.get("licence") is not None:
        changes["licence"] = str(spdx.parse(changes["licence"]))
    rights = as_of(store)
    before = rights.source(name)
    if name not in rights.stated:
        before = replace(before, licence=None)  # noted at ingestion, row by row; not a statement
    after = replace(before, **{k: _utc(v) for k, v in changes.items() if v is not None})
    if after.collected_from and after.collected_to and after.collected_from > after.collected_to:
        raise EarmarkError(f"source '{name}' would be collected until before it began — correct the dates")
    with store.run("source", job=name, config={"source": name}) as run:
        run.append("sources", [{"source": name, **{c: getattr(after, c) for c in STATED}}])
    return after


def consent(
    store: Store,
    event: str,
    *,
    speaker: str | None = None,
    source: str | None = None,
    purposes: Iterable[str] = (),
    at: datetime | None = None,
) -> ConsentEvent:
    """Record that consent was given, narrowed or withdrawn, by a speaker (name or key) or for a source.

    `at` is when it came into force, by default now; no purposes means all of them.

    Raises:
        EarmarkError: not exactly one of speaker and source, no such event, nobody of that name, or narrowed to nothing.
    """
    wanted = frozenset(p.strip() for p in purposes)
    if event not in EVENTS:
        raise UnknownName("consent event", event, EVENTS)
    if (speaker is None) == (source is None):
        raise EarmarkError("consent is a speaker's or a source's — name one of them")
    if "" in wanted:
        raise EarmarkError("a purpose is empty — give it a name, e.g. asr-training")
    if event == "narrowed" and not wanted:
        raise EarmarkError("consent is narrowed to some purposes — name them, or withdraw it")
    who = reach.speaker(store, speaker).speaker if speaker is not None else None
    if source is not None and source not in as_of(store).sources:
        reach.source(store, source)  # raises if it is not on record at all
    when = _utc(at) or datetime.now(UTC)
    names: Sequence[str | None] = sorted(wanted) or [None]
    with store.run("consent", job=event, config={"event": event}) as run:
        rows = [{"speaker_key": who, "source": source, "event": event, "purpose": p, "at": when} for p in names]
        run.append("consents", rows)
    return ConsentEvent(event, when, who, source, wanted or None, run.id)


def expired(store: Store, when: datetime | None = None) -> list[Source]:
    """Sources whose period of retention is over and of which something is left."""
    rights = as_of(store, when)
    return [
        s
        for s in rights.sources.values()
        if s.retain_until is not None and s.retain_until <= rights.at and _left(store, s.name)
    ]


def _left(store: Store, name: str) -> bool:
    return not reach.reach(store, reach.Scope("retention", source=name)).empty


def _utc(value: Any) -> Any:
    """A moment without a time zone is meant in UTC."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value
