"""Verbs that ask the record: sql, trace, sets, runs, models, diff, consumed, schema, shell."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer
from rich.text import Text
from rich.tree import Tree

from earmark.cli.options import DEFAULT_STORE, CsvOption, JsonOption, StoreOption, TrainingArgument
from earmark.cli.output import console, print_rows, say, short, strong
from lineage import aliases, graph, reference, schema, sql
from lineage.chain import chain
from lineage.errors import EarmarkError, UnknownName
from lineage.identity import hex_prefix
from lineage.selection import consumed as against_plan
from lineage.selection import sets
from lineage.store import Store

HOPS_SHOWN = 40
NAMED = 10  # samples printed of each kind of difference; all of them with --json
FACTS = {
    "level_dbfs": "{:.1f} dBFS",
    "snr_estimate_db": "SNR about {:.0f} dB",
    "bandwidth_hz": "up to {:.0f} Hz",
    "clipped_share": "{:.1%} clipped",
    "silence_share": "{:.0%} silence",
    "speaking_rate": "{:.1f} words/s",
    "language_tag": "{}",
    "scripts": "{} script",
}


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command("sql")(sql_)
    for verb in (trace, sets_, runs, models, diff, consumed, schema_, shell):
        app.command(verb.__name__.rstrip("_"))(verb)


def sql_(
    query: Annotated[str, typer.Argument(help="Any SELECT; see `earmark schema` for tables, columns and macros.")],
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Ask the record in SQL (DuckDB). `speaker_key('name')` gives the key that stands for a speaker."""
    opened = Store.open(store)
    connection = opened.connect(speaker_key=opened.vault.speaker_key)
    try:
        result = connection.sql(query)
        rows = result.to_arrow_table() if result is not None else None
    except duckdb.Error as error:
        raise EarmarkError(f"SQL: {' '.join(str(error).split())}") from error
    if rows is not None:
        print_rows(rows, as_json=as_json, as_csv=as_csv)


def sets_(store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False, everything: bool = False) -> None:
    """List the sample sets; random controls only with --everything."""
    rows: list[dict[str, Any]] = [
        {
            "name": s.name,
            "set": s.digest if as_json else short(s.digest),
            "kind": s.kind,
            "samples": s.size,
            "minutes": None if s.duration_s is None else round(s.duration_s / 60, 1),
            "words": s.words,
            "predicate": s.predicate,
        }
        for s in sets.sample_sets(Store.open(store))
        if everything or s.kind != "control"
    ]
    print_rows(rows, as_json=as_json)


def runs(
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
    last: Annotated[int, typer.Option(help="How many, newest last; 0 for all.")] = 30,
) -> None:
    """List the runs."""
    known = Store.open(store).runs()
    if as_json:
        print_rows([r.to_json() for r in known[-last:]], as_json=True)
        return
    print_rows(
        [
            {
                "run": r.id,
                "kind": r.kind,
                "job": r.job,
                "status": r.status,
                "started": r.started.strftime("%Y-%m-%d %H:%M:%S"),
                "wall s": round(r.wall_s, 1),
                "cpu s": round(r.cpu_s, 1),
                "outputs": " ".join(short(o) for o in r.outputs[:3]) + (" …" if len(r.outputs) > 3 else ""),
            }
            for r in known[-last:]
        ]
    )


def models(store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> None:
    """List the models."""
    opened = Store.open(store)
    rows = opened.sql(
        "SELECT m.model_id, m.name, m.family, m.base, m.parameters, m.trainable, m.seed, m.set_digest, m.run_id, "
        "any_value(w.value) FILTER (w.metric = 'wer' AND w.slice = 'all') AS wer "
        "FROM models m LEFT JOIN metrics w ON w.model_id = m.model_id GROUP BY ALL ORDER BY m.run_id"
    )
    now = aliases.current(opened).values()
    records = [
        {**r, "aliases": " ".join(f"@{m.alias}" for m in now if m.model_id == r["model_id"])} for r in rows.to_pylist()
    ]
    if not as_json:
        records = [{**r, "model_id": short(r["model_id"]), "set_digest": short(r["set_digest"])} for r in records]
    print_rows(records, as_json=as_json)


def diff(
    a: Annotated[str, typer.Argument(help="A set: name, digest, or the beginning of one; or a training run.")],
    b: Annotated[str, typer.Argument(help="Another.")],
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """What is in one set and not in the other; given two runs, in the sets that they were trained on."""
    opened = Store.open(store)
    left, right = _set_of(opened, a), _set_of(opened, b)
    only_a, only_b = sets.difference(opened, left, right)
    if as_json:
        rows = [
            {"sample_id": str(i), "side": side} for side, ids in ((a, only_a), (b, only_b)) for i in ids.to_pylist()
        ]
        print_rows(rows, as_json=True)
        return
    if left.digest == right.digest:
        say(f"the same set: {left.digest}, {left.size} samples")
        return
    say(f"{left.name} ({short(left.digest)}, {left.size}) and {right.name} ({short(right.digest)}, {right.size}):")
    say(f"{left.size - len(only_a)} in both, {len(only_a)} only in the first, {len(only_b)} only in the second")
    labels = [s.name if left.name != right.name else f"{s.name} {short(s.digest)}" for s in (left, right)]
    for name, ids in zip(labels, (only_a, only_b), strict=True):
        for sample in ids.to_pylist()[:NAMED]:
            say(f"  only in {name}: {sample}")
        if len(ids) > NAMED:
            say(f"  … and {len(ids) - NAMED} more; all with --json")


def _set_of(store: Store, ref: str) -> sets.SampleSet:
    try:
        return sets.resolve_set(store, ref)
    except UnknownName:
        run = [r for r in store.runs() if r.id.replace("-", "").startswith(hex_prefix(ref) or "?")]
        if len(run) != 1 or not run[0].inputs:
            raise
        return sets.resolve_set(store, run[0].inputs[0])


def consumed(
    run: TrainingArgument,
    planned: Annotated[
        str | None, typer.Option(help="The set that was planned; default: the one that the run names.")
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Passes that were planned; default: what the run noted.", min=0.0)
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Hold what a training run consumed against what was planned; exit status 1 if they differ."""
    found = against_plan.consumption(Store.open(store), run, planned=planned, epochs=epochs)
    if as_json:
        print_rows([found.to_json()], as_json=True)
    else:
        _tell_consumed(found)
    if not found.as_planned:
        raise typer.Exit(1)


def _tell_consumed(found: against_plan.Consumption) -> None:
    passes = "an unknown number of" if found.epochs is None else f"{found.epochs:g}"
    say(
        f"planned: {found.planned.size} samples of {found.planned.name} ({short(found.planned.digest)}), {passes} passes"
    )
    say(f"consumed: {found.exposures} exposures, run {found.run.id}")
    for difference in against_plan.DIFFERENCES:
        rows = found.rows(difference).to_pylist()
        meant = sum(r["intended"] for r in rows)
        say(f"{difference}: {len(rows)}" + (f", {meant} of them left out by the plan" if meant else ""))
        for r in rows[:NAMED]:
            say(f"  {r['sample_id']}" + (f"  {r['exposures']} exposures" if r["exposures"] else ""))
        if len(rows) > NAMED:
            say(f"  … and {len(rows) - NAMED} more; all with --json")
    say("as planned" if found.as_planned else "NOT as planned")


def trace(
    ref: Annotated[
        str, typer.Argument(help="A sample, model (or @ALIAS), set or run; the beginning of its id is enough.")
    ],
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Follow a sample up to its recordings and down to the models, a model back to all it was made of, a set either way."""
    opened = Store.open(store)
    prefix = hex_prefix(aliases.meant(opened, ref) or ref)
    known = opened.sql("SELECT DISTINCT model_id FROM models")["model_id"].to_pylist()
    fitting = [m for m in known if prefix and m.startswith(prefix)]
    if len(fitting) == 1:
        _trace_model(opened, fitting[0], as_json)
        return
    runs = [r for r in opened.runs() if prefix and len(prefix) > 8 and r.id.replace("-", "").startswith(prefix)]
    if len(runs) == 1:
        print_rows([runs[0].to_json()], as_json=True)
        return
    if any(
        s.name == ref or (prefix and len(prefix) >= 4 and s.digest.startswith(prefix)) for s in sets.sample_sets(opened)
    ):
        _trace_set(opened, sets.resolve_set(opened, ref), as_json)
        return
    _trace_sample(opened, graph.resolve_sample(opened, ref), as_json)


def _trace_set(store: Store, found: sets.SampleSet, as_json: bool) -> None:
    known = {s.digest: s for s in sets.sample_sets(store)}
    above = [d for d in dict.fromkeys([found.population, *found.parents]) if d]
    below = [s for s in known.values() if found.digest in (s.population, *s.parents)]
    users = [r for r in store.runs() if found.digest in r.inputs]
    if as_json:
        below_ids = [s.digest for s in below]
        print_rows(
            [{**found.__dict__, "made_of": above, "made_into": below_ids, "used_by": [r.id for r in users]}],
            as_json=True,
        )
        return
    told = f" {found.digest}\n  {found.size} samples, made by run {found.run_id}"
    say(strong(f"{found.kind} {found.name}", told))
    if found.predicate:
        say(f"  cut by: {found.predicate}")
    for digest in above:
        say(f"  made of {known[digest].name if digest in known else 'a set not on record'} {short(digest)}")
    for s in below[:HOPS_SHOWN]:
        say(f"  made into {s.kind} {s.name} {short(s.digest)} of {s.size} samples")
    for r in users[:HOPS_SHOWN]:
        say(f"  used by {r.kind} {r.job or ''} run {r.id} ({r.status})")


def _trace_sample(store: Store, sample: Any, as_json: bool) -> None:
    up, down = graph.ancestors(store, [sample]), graph.descendants(store, [sample])
    made = {e["child_id"] for e in down.to_pylist()}
    consumers = graph.models_of(store, [sample, *made])
    if as_json:
        rows = {"sample": _described(store, sample), "up": up.to_pylist(), "down": down.to_pylist()}
        print_rows([{**rows, "models": consumers.to_pylist()}], as_json=True)
        return
    tree = Tree(strong(str(sample), f"  {_about(store, sample)}"))
    _grow(tree, store, sample, up.to_pylist(), "child_id", "parent_id", "made by {} from")
    console().print(tree, highlight=False)
    if made:
        below = Tree(f"made of it: {len(made)} samples")
        _grow(below, store, sample, down.to_pylist(), "parent_id", "child_id", "by {} into")
        console().print(below, highlight=False)
    say(f"models that consumed it{' or what was made of it' if made else ''}: {consumers.num_rows}")
    for m in consumers.to_pylist()[:HOPS_SHOWN]:
        say(
            f"  {short(m['model_id'])}  {m['name']}  {m['exposures']} exposures of {m['samples']} samples, run {m['run_id']}"
        )


def _described(store: Store, sample: Any) -> list[dict[str, Any]]:
    names = ("sample_id", "kind", "duration_s", "sample_rate", "source", "attributes", "peak_dbfs", *FACTS)
    rows = store.sql(f"SELECT {', '.join(names)} FROM samples WHERE sample_id = ?", [sample])
    found: list[dict[str, Any]] = rows.to_pylist()
    return found


def _about(store: Store, sample: Any) -> str:
    rows = _described(store, sample)
    if not rows:
        return "(not on record)"
    r = rows[0]
    said = ", ".join(f"{k}={v}" for k, v in (r["attributes"] or []))
    told = "".join(f", {words.format(r[name])}" for name, words in FACTS.items() if r[name])
    return f"{r['kind']}, {r['duration_s']:.2f} s at {r['sample_rate']} Hz{told}, source {r['source'] or '?'}; {said}"


def _grow(
    tree: Tree, store: Store, sample: Any, edges: list[dict[str, Any]], here: str, there: str, words: str
) -> None:
    if tree.children and len(tree.children) > HOPS_SHOWN:
        return
    for edge in [e for e in edges if e[here] == sample][:HOPS_SHOWN]:
        before, after = words.split("{}")
        by = (edge["transform"] or edge["transform_id"][:SHORT_ID], "cyan")
        other = f"{after} {edge[there]} ({edge['role']})  {_about(store, edge[there])}"
        branch = tree.add(Text.assemble(before, by, other))
        _grow(branch, store, edge[there], edges, here, there, words)


SHORT_ID = 12


def _trace_model(store: Store, model: str, as_json: bool) -> None:
    connection = store.connect()
    behind = connection.sql("FROM behind_model($1)", params=[model]).to_arrow_table()
    if as_json:
        print_rows(behind, as_json=True)
        return
    rows = behind.to_pylist()
    links = chain(store, model)
    for m in store.sql("SELECT * FROM models WHERE model_id = ?", [model]).to_pylist():
        told = f"\n  {m['name']}, {m['family']}, from {m['base']}, run {m['run_id']}"
        say(strong(f"model {m['model_id']}", told))
        say(f"  trained on set {short(m['set_digest'])}, seed {m['seed']}")
    for link in links:
        if link.model_id != model:
            on = f"trained on set {short(link.set_digest)}" if link.set_digest else "not trained on this record"
            say(f"  continues model {short(link.model_id)}  {link.name}, {on}, run {link.run_id}")
    say(
        f"  {len(rows)} recordings of {len({r['speaker_key'] for r in rows if r['speaker_key']})} speakers stand behind it"
    )
    for title, column in (("sources", "source"), ("licences", "licence")):
        say(f"  {title}: " + ", ".join(f"{k or '?'} ({n})" for k, n in Counter(r[column] for r in rows).most_common()))
    used = Counter(t for r in rows for t in (r["transforms"] or []))
    say("  transforms: " + (", ".join(f"{k} ({n})" for k, n in used.most_common()) or "none"))
    say(f"  every recording: earmark sql \"FROM behind_model('{short(model)}')\"")


def schema_(
    table: Annotated[str | None, typer.Argument(help="One table; all if left out.")] = None,
    markdown: Annotated[bool, typer.Option(help="As the SQL reference in docs/.")] = False,
) -> None:
    """Describe the tables, columns and macros of the record."""
    if table is not None and table not in schema.TABLES:
        raise UnknownName("table", table, schema.TABLES)
    if markdown:
        sys.stdout.write(reference.markdown())
        return
    for t in [schema.TABLES[table]] if table else schema.TABLES.values():
        say(strong(t.name, f"  {t.doc}"))
        for c in t.columns:
            say(f"  {c.name:<20} {sql.type_name(c.type):<24} {c.doc}")
    if table is None:
        for name, (parameters, doc, _) in sql.MACROS.items():
            say(strong(f"FROM {name}{parameters}", f"  {doc}"))


def shell(
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[Path, typer.Option(help="Where to write the catalogue.")] = Path("earmark.duckdb"),
) -> None:
    """Write a DuckDB file with the views and macros of this store, and say how to open it."""
    Store.open(store).write_catalog(out)
    say(f"duckdb -readonly {out}")
    say(f"python -c \"import duckdb; print(duckdb.connect('{out}', read_only=True).sql('FROM sample_sets'))\"")
