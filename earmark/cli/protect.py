"""Verbs that protect people: erase, retain, consent, source, policy."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from earmark.cli.impact import reach_facts
from earmark.cli.options import (
    DEFAULT_STORE,
    JsonOption,
    ReasonOption,
    SampleOption,
    SetArgument,
    SourceOption,
    StoreOption,
)
from earmark.cli.output import print_json, print_rows, say, short
from lineage.errors import EarmarkError
from lineage.people import policy as policies
from lineage.people import reach, rights, spdx
from lineage.people.erase import Erasure, finish
from lineage.people.erase import erase as erase_now
from lineage.people.obligations import owing
from lineage.selection.sets import resolve_set
from lineage.store import Store

DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]
SHOWN = 20  # paths printed; all of them with --json
SpeakerOption = Annotated[
    str | None,
    typer.Option("--speaker", help="A speaker: name, speaker_key, or - to read the name from standard input."),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]

policy = typer.Typer(help="What training runs may use: check a set, put a policy in force.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    for verb in (erase, retain, consent, source):
        app.command()(verb)
    app.add_typer(policy, name="policy")


def erase(
    speaker: SpeakerOption = None,
    sample: SampleOption = None,
    source: SourceOption = None,
    reason: ReasonOption = None,
    store: StoreOption = DEFAULT_STORE,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Erase everything personal of a speaker, a sample or a source; what it touches is listed first.

    Exit status 1 if nothing was done because you said no.
    """
    opened = Store.open(store)
    scope = _scope(opened, speaker, sample, source)
    finished = finish(opened)
    found = reach.reach(opened, scope)
    if as_json and not yes:
        print_json(reach_facts(found))
        return
    if not as_json:
        if finished:
            say(f"{finished} files of earlier erasures and killed runs were still there; they are gone now")
        _tell(found)
    if found.empty:
        if as_json:
            print_json(reach_facts(found))
        return
    if not yes and not typer.confirm("Erase all of this? It cannot be undone"):
        raise typer.Exit(1)
    done = erase_now(opened, scope, reason=reason)
    if as_json:
        print_json(
            {
                **reach_facts(done.reach),
                "run": done.run_id,
                "successors": done.successors,
                "working": list(done.working),
            }
        )
    else:
        _told(done)


def _scope(store: Store, speaker: str | None, sample: str | None, source: str | None) -> reach.Scope:
    if sum(option is not None for option in (speaker, sample, source)) != 1:
        raise EarmarkError("say what to erase — one of --speaker, --sample and --source")
    if speaker is not None:
        return reach.speaker(store, _name(speaker))
    return reach.sample(store, sample) if sample is not None else reach.source(store, source or "")


def _name(given: str) -> str:
    """A name from the command line, where it stays in the shell's history, or from standard input."""
    return sys.stdin.readline().rstrip("\n") if given == "-" else given


def _tell(found: reach.Reach) -> None:
    if found.empty:
        say("nothing is left to erase: it was erased before, or was never here")
        return
    rows = ", ".join(f"{n} {table}" for table, n in found.vault.items() if n)
    say(f"samples      {len(found.samples)}, of which {found.derived} were made of others; speakers left without any: "
        f"{len(found.speakers)}")  # fmt: skip
    say(f"vault        {rows or 'nothing'} — goes")
    say(f"artifacts    {len(found.caches)} with features or gradients — go; they are computed anew when needed")
    say(f"predictions  {found.predictions}, influences {found.influences} — stay, as numbers without words")
    for s in dict.fromkeys((s.name, s.digest, s.size) for s in found.sets):
        say(f"set          {s[0]} {short(s[1])} of {s[2]} samples — stays provable; its name goes on without them")
    for m in found.models:
        say(f"model        {m['name']} {short(m['model_id'])}, {m['exposures']} exposures — will owe a retrain")
    for e in found.exports:
        say(f"export       {e['format']} in '{e['to']}' {short(e['digest'])} of {e['at'][:10]} — will owe a withdrawal")
    for where in found.traces:
        say(f"note: the name stands in {where}, where somebody wrote it; the public record is not rewritten")
    if found.outside:
        say(
            f"{len(found.outside)} recordings lie outside of the store; delete them there, their paths go with the rest:"
        )
        for path in found.outside[:SHOWN]:
            say(f"  {path}")
        if len(found.outside) > SHOWN:
            say(f"  … and {len(found.outside) - SHOWN} more; all of them with --json")


def _told(done: Erasure) -> None:
    if done.run_id is None:
        return
    say(f"erased; the tombstone is run {done.run_id}, signed into the log")
    if done.working:
        say(f"{len(done.working)} runs are being written; if they hold anything of it, they will not be published")
    models, exports = len(done.reach.models), len(done.reach.exports)
    if models or exports:
        say(f"{models} models owe a retrain, {exports} exports a withdrawal: earmark owing")


def retain(
    store: StoreOption = DEFAULT_STORE,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Erase what has expired; without it, only list it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase the sources whose period of retention is over; only lists them unless told to.

    Erasures that were interrupted are finished in any case.
    """
    opened = Store.open(store)
    finish(opened)
    rows = []
    for expired in rights.expired(opened):
        scope = reach.source(opened, expired.name, "retention")
        done = erase_now(opened, scope, reason=f"retained until {expired.retain_until}") if yes else None
        found = done.reach if done else reach.reach(opened, scope)
        rows.append(
            {
                "source": expired.name,
                "retain_until": expired.retain_until,
                "samples": len(found.samples),
                "outside": len(found.outside),
                "run": done.run_id if done else None,
            }
        )
    if as_json:
        print_rows(rows, as_json=True)
        return
    if not rows:
        say("nothing has expired")
    else:
        print_rows(rows)
        say("erased" if yes else "nothing was erased; to do so: earmark retain --yes")
    owed = len(owing(opened))
    if owed:
        say(f"{owed} models and exports owe a retrain or a withdrawal; which: earmark owing")


def consent(
    event: Annotated[
        str | None, typer.Argument(help="given, narrowed or withdrawn; all events are listed if left out.")
    ] = None,
    speaker: SpeakerOption = None,
    source: Annotated[str | None, typer.Option(help="A source, for everybody in it.")] = None,
    purpose: Annotated[list[str] | None, typer.Option(help="A purpose; repeatable. Without any: all purposes.")] = None,
    at: Annotated[
        datetime | None, typer.Option(formats=DATES, help="When it came into force, UTC; default: now.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Record that a speaker, or everybody of a source, gave, narrowed or withdrew consent."""
    opened = Store.open(store)
    if event is None:
        rows = [
            {
                "at": e.at,
                "event": e.event,
                "whose": e.source or e.speaker,
                "purposes": ", ".join(sorted(e.purposes or ())) or "all",
            }
            for e in rights.consents(opened)
        ]
        print_rows(rows, as_json=as_json)
        return
    name = _name(speaker) if speaker is not None else None
    made = rights.consent(opened, event, speaker=name, source=source, purposes=purpose or (), at=at)
    key = made.speaker
    if key is None:
        say(f"consent {event} for everybody of source {source}")
        return
    rows = opened.read("samples", ["DISTINCT source"], "speaker_key = ?", [key])["source"].to_pylist()
    now = rights.as_of(opened)
    for where in rows or [None]:
        say(f"speaker {key} ({where or 'no source'}) now agrees to: {now.consent(key, where)}")
    if event == "withdrawn" and made.purposes is None:
        say(f"recordings and words are still here; to erase them: earmark erase --speaker {key}")


def source(
    name: Annotated[str | None, typer.Argument(help="A source; all of them are listed if left out.")] = None,
    licence: Annotated[str | None, typer.Option(help="SPDX expression, e.g. CC-BY-4.0 or 'MIT AND CC0-1.0'.")] = None,
    purpose: Annotated[str | None, typer.Option(help="What the recordings were collected for.")] = None,
    basis: Annotated[str | None, typer.Option(help="Legal basis: consent, contract …")] = None,
    collected_from: Annotated[
        datetime | None, typer.Option("--from", formats=DATES, help="Start of collection.")
    ] = None,
    collected_to: Annotated[datetime | None, typer.Option("--to", formats=DATES, help="End of collection.")] = None,
    retain_until: Annotated[
        datetime | None, typer.Option(formats=DATES, help="When the recordings have to be erased.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """State on what terms the recordings of a source were collected, or show what was stated."""
    opened = Store.open(store)
    given = {
        "licence": licence, "purpose": purpose, "basis": basis, "collected_from": collected_from,
        "collected_to": collected_to, "retain_until": retain_until,
    }  # fmt: skip
    changes = {k: v for k, v in given.items() if v is not None}
    known = rights.as_of(opened).sources
    if name is None:
        if changes:
            raise EarmarkError("say of which source — earmark source NAME --licence …")
        print_rows([s.__dict__ for s in known.values()], as_json=as_json)
        return
    if name not in known and not changes:
        reach.source(opened, name)  # raises if it is not on record at all
    stated = rights.state(opened, name, **changes) if changes else known.get(name, rights.Source(name))
    print_rows([stated.__dict__], as_json=as_json)
    for odd in spdx.unknown(spdx.parse(licence)) if licence is not None else ():
        say(f"note: {odd} is not among the licences that Earmark knows; check the spelling at spdx.org/licenses")


@policy.command("check")
def policy_check(
    set_ref: SetArgument,
    file: Annotated[Path | None, typer.Argument(help="A policy (YAML); default: the one in force.")] = None,
    at: Annotated[
        datetime | None, typer.Option(formats=DATES, help="Judge by what held then, UTC; default: now.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Judge a set by a policy; exit status 1 if it may not be used."""
    opened = Store.open(store)
    when = at.replace(tzinfo=UTC) if at is not None else None
    chosen = policies.Policy.load(file) if file is not None else policies.in_force(opened, when)
    if chosen is None:
        raise EarmarkError("no policy is in force — give one, or put it in force: earmark policy adopt FILE")
    verdict = policies.judge(opened, chosen, resolve_set(opened, set_ref).digest, when)
    if as_json:
        print_json(verdict.to_json())
    else:
        for violation in verdict.violations:
            say(f"{violation.action}: {violation}")
        say(f"{verdict.outcome} by policy {chosen.name} {short(chosen.digest)}, as of {verdict.at:%Y-%m-%d %H:%M} UTC")
    if verdict.refused:
        raise typer.Exit(1)


@policy.command("adopt")
def policy_adopt(
    file: Annotated[Path | None, typer.Argument(help="A policy (YAML).")] = None,
    none: Annotated[bool, typer.Option("--none", help="Have no policy in force any more.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Put a policy in force for every training of this store from now on."""
    if (file is None) == (not none):
        raise EarmarkError("give a policy, or --none")
    chosen = policies.Policy.load(file) if file is not None else None
    run = policies.adopt(Store.open(store), chosen)
    say(f"policy {chosen.name} {short(chosen.digest)} is in force (run {run})" if chosen else "no policy is in force")


@policy.command("show")
def policy_show(store: StoreOption = DEFAULT_STORE) -> None:
    """Print the policy in force."""
    chosen = policies.in_force(Store.open(store))
    if chosen is None:
        say("no policy is in force")
        return
    print_json(chosen.model_dump(mode="json", exclude_defaults=True))
