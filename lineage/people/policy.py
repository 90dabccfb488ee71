"""Policies: what a training run may use, written down by people, judged before any work, and kept on record.

    name: production
    purpose: asr-training                   # what runs under this policy are for
    licences: [CC0-1.0, CC-BY-4.0]          # that a sample may be under; of `A AND B` both, of `A OR B` one
    purposes: [asr-training, research]      # that its source may have been collected for
    consent: required                       # every speaker heard in it agreed to `purpose` …
    consent_unless: [contract]              # … unless its source has one of these legal bases
    minimum_speakers: {all: 10, accent: 3}  # in the whole set, and for each value of an attribute
    forbidden_attributes: [gender]          # that no sample may carry
    on_violation: {minimum_speakers: warn}  # per rule, or one word for all; refuse where nothing is said
    leakage: {audio: refuse, speaker: allow}  # into evaluation sets, see `lineage.leakage`; refuse, warn or allow

A rule that is left out is not judged. Judged is what a sample was made of: a mix is under the terms of every recording in it,
the noise too, and needs the consent of everybody who is heard. What was stated of a source counts before what its manifests
said row by row. What is not known is not allowed.

A policy is given to a run, or adopted for the store (`adopt`): then it is in force for every training until the next is.
Laws: a verdict depends on the set, the policy and what was on record at its moment; it goes into the run's result with the
digest of the policy, also of a run that was refused, whose record is all that is left of it.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from lineage import ids
from lineage.errors import EarmarkError, UnknownName
from lineage.identity import digest_of
from lineage.people import rights, spdx
from lineage.runs import Run
from lineage.selection.sets import members
from lineage.sql import quote
from lineage.store import Store
from lineage.written import Written

Action = Literal["refuse", "warn"]
Leak = Literal["refuse", "warn", "allow"]
# Where no policy says otherwise.
LEAKS: dict[str, Leak] = {"audio": "refuse", "recording": "warn", "speaker": "warn", "text": "warn"}
RULES = ("licences", "purposes", "consent", "minimum_speakers", "forbidden_attributes")
WHOLE = "all"

# One row for every recording that a sample of the set was made of: whose, from where, on what terms.
TERMS = """
    WITH used AS (
        SELECT s.* FROM samples s JOIN wanted ON s.sample_id = wanted.id
        QUALIFY row_number() OVER (PARTITION BY s.sample_id ORDER BY run_id DESC) = 1),
    made_of AS (
        SELECT sample_id, speaker_key, source, licence, kind, unnest(coalesce(root_ids, [sample_id])) AS root FROM used),
    roots AS (
        SELECT sample_id, speaker_key, source, licence, kind FROM samples WHERE sample_id IN (SELECT root FROM made_of)
        QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY run_id DESC) = 1),
    terms AS (
        SELECT m.sample_id, coalesce(r.speaker_key, m.speaker_key) AS speaker, coalesce(r.source, m.source) AS source,
               coalesce(r.licence, m.licence) AS licence, coalesce(r.kind, m.kind) AS kind
        FROM made_of m LEFT JOIN roots r ON r.sample_id = m.root)"""
KEYS = ("speaker", "source", "licence", "kind")


class Policy(Written):
    """What runs may use; see the head of this module."""

    KIND = "policy"
    BEGIN = "licences: [CC0-1.0]"

    name: str = Field(min_length=1, max_length=200, description="What people call it.")
    purpose: str | None = Field(None, description="What runs under this policy are for.")
    licences: tuple[str, ...] | None = Field(None, description="SPDX identifiers that samples may be under.")
    purposes: tuple[str, ...] | None = Field(None, description="Purposes that sources may have been collected for.")
    consent: Literal["required"] | None = Field(None, description="Every speaker has to have agreed to the purpose.")
    consent_unless: tuple[str, ...] = Field((), description="Legal bases of sources that need no consent.")
    minimum_speakers: dict[str, int] = Field({}, description="By attribute, for each of its values; 'all' for the set.")
    forbidden_attributes: tuple[str, ...] = Field((), description="Attributes that no sample may carry.")
    on_violation: Action | dict[str, Action] = Field("refuse", description="'refuse' or 'warn', or that by rule.")

    leakage: dict[str, Leak] | None = Field(
        None, description="What becomes of leaks by audio, recording, speaker and text."
    )

    @field_validator("licences")
    @classmethod
    def _spelt(cls, licences: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if licences is None:
            return None
        try:
            read = [spdx.parse(text) for text in licences]
        except EarmarkError as error:
            raise ValueError(str(error)) from None
        for one in read:
            if one.operator:
                raise ValueError(f"'{one}' is several licences; list each of them by itself")
        return tuple(sorted({str(one) for one in read}))

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.consent and self.purpose is None:
            raise ValueError("consent is always for a purpose; say what for: purpose: asr-training")
        if isinstance(self.on_violation, dict):
            for rule in self.on_violation:
                if rule not in RULES:
                    raise ValueError(f"on_violation names no rule '{rule}'; rules are {', '.join(RULES)}")
        for kind in self.leakage or ():
            if kind not in LEAKS:
                raise ValueError(f"leakage knows no '{kind}'; it is by {', '.join(LEAKS)}")
        for name, least in self.minimum_speakers.items():
            if least < 1:
                raise ValueError(f"minimum_speakers of {name} is {least}; give a number from 1 upwards")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the policy as canonical JSON."""
        fields = self.model_dump(mode="json")
        if self.leakage is None:  # policies that were adopted before there was such a rule keep their digest
            del fields["leakage"]
        return digest_of(fields)

    def action(self, rule: str) -> Action:
        """What a violation of a rule leads to."""
        return self.on_violation.get(rule, "refuse") if isinstance(self.on_violation, dict) else self.on_violation


@dataclass(frozen=True)
class Violation:
    """One rule that is not met: what `detail` says is so of `samples` samples, `example` among them."""

    rule: str
    action: Action
    detail: str
    samples: int
    example: uuid.UUID | None = None

    def __str__(self) -> str:
        count = "1 sample" if self.samples == 1 else f"{self.samples} samples"
        first = f" (first: {self.example})" if self.example else ""
        return f"{self.rule}: {self.detail}, {count}{first}"


@dataclass(frozen=True)
class Verdict:
    """How a policy judged a set at a moment."""

    policy: str
    digest: str
    set_digest: str
    at: datetime
    violations: tuple[Violation, ...] = ()

    @property
    def outcome(self) -> str:
        """'allowed', 'warned' or 'refused'."""
        if not self.violations:
            return "allowed"
        return "refused" if any(v.action == "refuse" for v in self.violations) else "warned"

    @property
    def refused(self) -> bool:
        """Whether the set may not be used."""
        return self.outcome == "refused"

    def to_json(self) -> dict[str, Any]:
        """As JSON, for a run's result."""
        return {
            "name": self.policy,
            "digest": self.digest,
            "set": self.set_digest,
            "at": self.at.isoformat(),
            "outcome": self.outcome,
            "violations": [
                {**v.__dict__, "example": None if v.example is None else str(v.example)} for v in self.violations
            ],
        }


class PolicyRefused(EarmarkError):
    """A policy does not let a run use its set; what it found goes on the record of the run."""

    def __init__(self, verdict: Verdict, behind: str = "") -> None:
        found = "; ".join(str(v) for v in verdict.violations if v.action == "refuse")
        which, mend = (f", {behind}", "continue another model") if behind else ("", "use a set without these")
        super().__init__(f"policy '{verdict.policy}' refuses set {verdict.set_digest[:12]}{which}: {found} — {mend}")
        self.verdict = verdict
        self.on_record = {"policy": verdict.to_json()}


def judge(store: Store, policy: Policy, set_digest: str, when: datetime | None = None) -> Verdict:
    """How `policy` judges a set by what held at `when`, by default now.

    Raises:
        UnknownName: the policy speaks of an attribute that is not on record.
    """
    known = rights.as_of(store, when)
    judging = _Judging(store, policy, pa.table({"id": members(store, set_digest)}), known)
    return Verdict(policy.name, policy.digest, set_digest, known.at, tuple(judging.violations()))


def adopt(store: Store, policy: Policy | None) -> str:
    """Put a policy in force for every training of this store from now on, or none; the id of the run that says so."""
    config = {"policy": None if policy is None else policy.model_dump(mode="json")}
    with store.run("policy", job=policy.name if policy else "none", config=config) as run:
        run.result = {"digest": policy.digest if policy else None}
    return run.id


def in_force(store: Store, when: datetime | None = None) -> Policy | None:
    """The policy that was adopted last before `when`, by default now."""
    at = when or datetime.now(UTC)
    adopted = [r for r in store.runs() if r.kind == "policy" and r.status == "completed" and r.ended <= at]
    fields = adopted[-1].config["policy"] if adopted else None
    return None if fields is None else Policy.parse(fields, f"policy of run {adopted[-1].id}")


def verdict_on(store: Store, set_digest: str, policy: Policy | None = None) -> Verdict | None:
    """How the given policy, or else the one in force, judges a set; None if there is neither."""
    chosen = policy or in_force(store)
    return None if chosen is None else judge(store, chosen, set_digest)


def enforce(run: Run, verdict: Verdict | None, behind: str = "") -> None:
    """Put a verdict on the record of a run that is beginning, and warn of what it warns of.

    `behind` says what the set has to do with the run, where that is not trained on it.

    Raises:
        PolicyRefused: the set may not be used.
    """
    if verdict is None:
        return
    run.result["policy"] = verdict.to_json()
    if verdict.refused:
        raise PolicyRefused(verdict, behind)
    for violation in verdict.violations:
        logging.getLogger("earmark").warning("policy '%s': %s", verdict.policy, violation)


Term = Mapping[str, Any]


class _Judging:
    """One judgement of one set."""

    def __init__(self, store: Store, policy: Policy, wanted: pa.Table, known: rights.Rights) -> None:
        self._store = store
        self._policy = policy
        self._wanted = wanted
        self._rights = known

    def violations(self) -> Iterator[Violation]:
        """In the order of `RULES`."""
        policy = self._policy
        rules: dict[str, Callable[[Term], str | None]] = {}
        if policy.licences is not None:
            rules["licences"] = self._licence
        if policy.purposes is not None:
            rules["purposes"] = self._purpose
        if policy.consent:
            rules["consent"] = self._consent
        terms = (
            self._sql(f"{TERMS} SELECT DISTINCT {', '.join(KEYS)} FROM terms ORDER BY ALL").to_pylist() if rules else []
        )
        for rule, wrong in rules.items():
            found: dict[str, list[Term]] = {}
            for term in terms:
                problem = wrong(term)
                if problem is not None:
                    found.setdefault(problem, []).append(term)
            for problem in sorted(found):
                yield self._violation(rule, problem, found[problem])
        for name in sorted(policy.minimum_speakers):
            yield from self._few_speakers(name, policy.minimum_speakers[name])
        for name in sorted(set(policy.forbidden_attributes)):
            yield from self._forbidden(name)

    def _licence(self, term: Term) -> str | None:
        stated = term["source"] in self._rights.stated
        licence = self._rights.source(term["source"]).licence if stated else term["licence"]
        if licence is None:
            return "no licence is on record"
        try:
            expression = spdx.parse(licence)
        except EarmarkError:
            return f"'{licence}' is no SPDX expression"
        return None if expression.allowed(self._policy.licences or ()) else f"{expression} is not allowed"

    def _purpose(self, term: Term) -> str | None:
        purpose = self._rights.source(term["source"]).purpose
        if purpose is None:
            return f"nobody stated what {_of(term)} was collected for"
        return None if purpose in (self._policy.purposes or ()) else f"{_of(term)} was collected for {purpose}"

    def _consent(self, term: Term) -> str | None:
        nobody = term["kind"] == "noise" and term["speaker"] is None
        if nobody or self._rights.source(term["source"]).basis in self._policy.consent_unless:
            return None
        agreed = self._rights.consent(term["speaker"], term["source"])
        return None if self._policy.purpose in agreed else f"no consent to {self._policy.purpose}, but to {agreed}"

    def _violation(self, rule: str, problem: str, terms: list[Term]) -> Violation:
        bad = pa.table(
            {k: ids.column([t[k] for t in terms], pa.uuid() if k == "speaker" else pa.string()) for k in KEYS}
        )
        same = " AND ".join(f"t.{k} IS NOT DISTINCT FROM b.{k}" for k in KEYS)
        query = (
            f"{TERMS} SELECT count(DISTINCT sample_id) AS n, min(sample_id) AS first FROM terms t JOIN bad b ON {same}"
        )
        row = self._sql(query, bad=bad).to_pylist()[0]
        return Violation(rule, self._policy.action(rule), problem, row["n"], row["first"])

    def _few_speakers(self, name: str, least: int) -> Iterator[Violation]:
        value = "'the whole set'" if name == WHOLE else f"attributes[{quote(self._attribute(name))}]"
        query = f"""
            {TERMS} SELECT value, count(DISTINCT coalesce(u.speaker_key, t.speaker)) AS speakers,
                   count(DISTINCT sample_id) AS n
            FROM (SELECT sample_id, speaker_key, {value} AS value FROM used) u JOIN terms t USING (sample_id)
            WHERE value IS NOT NULL GROUP BY value HAVING speakers < {least} ORDER BY value"""
        for row in self._sql(query).to_pylist():
            where = row["value"] if name == WHOLE else f"{name}={row['value']}"
            detail = f"{where} has {row['speakers']} speakers of at least {least}"
            yield Violation("minimum_speakers", self._policy.action("minimum_speakers"), detail, row["n"])

    def _forbidden(self, name: str) -> Iterator[Violation]:
        if name not in self._store.attributes():
            return  # nobody carries it, which is what is asked for
        query = f"""
            {TERMS} SELECT count(*) AS n, min(sample_id) AS first FROM used WHERE attributes[{quote(name)}] IS NOT NULL"""
        row = self._sql(query).to_pylist()[0]
        if row["n"]:
            action = self._policy.action("forbidden_attributes")
            yield Violation("forbidden_attributes", action, f"'{name}' is on record", row["n"], row["first"])

    def _attribute(self, name: str) -> str:
        known = self._store.attributes()
        if name not in known:
            raise UnknownName("attribute", name, [*known, WHOLE])
        return name

    def _sql(self, query: str, **tables: pa.Table) -> pa.Table:
        return self._store.sql(query, tables={"wanted": self._wanted, **tables})


def _of(term: Term) -> str:
    return f"source '{term['source']}'" if term["source"] is not None else "a recording without a source"
