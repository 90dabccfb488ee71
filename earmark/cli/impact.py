"""The verb that says what a withdrawal would affect: impact, the dossier of a speaker, a sample, a source or a licence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from earmark.cli.options import DEFAULT_STORE, JsonOption, SampleOption, SourceOption, StoreOption
from earmark.cli.output import plain, print_rows, say, short, strong
from lineage import graph
from lineage.errors import EarmarkError, UnknownName
from lineage.people import reach, rights
from lineage.store import Store


def register(app: typer.Typer) -> None:
    """Add this verb to the command line."""
    app.command()(impact)


def impact(
    speaker: Annotated[str | None, typer.Option(help="A speaker: name, or the beginning of a speaker_key.")] = None,
    sample: SampleOption = None,
    source: SourceOption = None,
    licence: Annotated[
        str | None, typer.Option(help="A licence: everything under it, be it one of several terms.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """What would be affected if a speaker, a sample, a source or a licence were withdrawn; changes nothing."""
    opened = Store.open(store)
    if sum(option is not None for option in (speaker, sample, source, licence)) != 1:
        raise EarmarkError("say what would be withdrawn — one of --speaker, --sample, --source and --licence")
    if licence is not None:
        _impact_of_licence(opened, licence, as_json)
        return
    scope = (
        reach.speaker(opened, speaker) if speaker is not None
        else reach.sample(opened, sample) if sample is not None
        else reach.source(opened, source or "")
    )  # fmt: skip
    dossier = reach.reach(opened, scope)
    found = graph.affected_by(opened, dossier.samples)
    agreed = _agreed(opened, dossier)
    if as_json:
        facts = {**reach_facts(dossier), "samples": len(found.samples), "consent": agreed}
        facts |= {"sets": found.sets.to_pylist(), "predictions": found.predictions.to_pylist()}
        print_rows([facts], as_json=True)
        return
    told = f": {len(found.samples)} samples, {dossier.derived} of them made of others"
    say(strong(" ".join(scope.config.values()), told))
    for where, purposes in agreed.items():
        say(f"  of source {where}, agrees to: {purposes}")
    rows = ", ".join(f"{n} {table}" for table, n in dossier.vault.items() if n)
    say(f"  vault: {rows or 'nothing'}; {len(dossier.outside)} recordings lie outside of the store")
    _tell_affected(found, dossier.models)
    say(f"  influences: {dossier.influences} on record; {len(dossier.caches)} artifacts with features or gradients")
    for e in dossier.exports:
        say(f"  export {e['format']} in '{e['to']}' {short(e['digest'])} of {e['at'][:10]}")
    for where in dossier.traces:
        say(f"  the name stands in {where}, where somebody wrote it")
    say("nothing was changed; to erase what is personal: earmark erase")


def _agreed(store: Store, dossier: reach.Reach) -> dict[str, str]:
    """What a speaker agrees to, by source; nothing where it is not a speaker's dossier."""
    speaker = dossier.scope.speaker
    if speaker is None:
        return {}
    now = rights.as_of(store)
    sources = store.read("samples", ["DISTINCT source"], "speaker_key = ? ORDER BY 1", [speaker])["source"].to_pylist()
    return {source or "none": str(now.consent(speaker, source)) for source in sources}


def _impact_of_licence(store: Store, licence: str, as_json: bool) -> None:
    ids = graph.samples_of(store, licence=licence)
    if not len(ids):
        known = store.sql("SELECT DISTINCT unnest(split(licence, ' AND ')) AS licence FROM samples")["licence"]
        raise UnknownName("licence", licence, known.to_pylist())
    found = graph.affected_by(store, ids)
    if as_json:
        print_rows([{**found.to_json(), "derived": len(found.derived)}], as_json=True)
        return
    say(strong(f"licence {licence}", f": {len(found.samples)} samples"))
    _tell_affected(found, found.models.to_pylist())
    say("nothing was changed")


def _tell_affected(found: graph.Affected, models: Iterable[dict[str, Any]]) -> None:
    for s in found.sets.to_pylist():
        say(f"  {s['kind']} {s['name']} {short(s['set_digest'])}: {s['samples']} of {s['size']} samples")
    for m in models:
        seen = f"{m['exposures']} exposures of {m['samples']} samples" if m["samples"] else "trained from such a model"
        say(f"  model {m['name']} {short(m['model_id'])}: {seen}, run {m['run_id']}")
    for p in found.predictions.to_pylist():
        say(f"  predictions of model {short(p['model_id'])} on set {short(p['set_digest'])}: {p['samples']}")


def reach_facts(found: reach.Reach) -> dict[str, Any]:
    """What a speaker, a sample or a source reached, as JSON."""
    return {
        **found.scope.config,
        "samples": [str(i) for i in found.ids.to_pylist()],
        "derived": found.derived,
        "speakers": [str(key) for key in found.speakers],
        "vault_rows": found.vault,
        "sets": [{"name": s.name, "digest": s.digest, "size": s.size} for s in found.sets],
        "models": [plain(m) for m in found.models],
        "predictions": found.predictions,
        "influences": found.influences,
        "artifacts": list(found.caches),
        "exports": list(found.exports),
        "outside": list(found.outside),
        "traces": list(found.traces),
    }
