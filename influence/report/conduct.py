"""How an audit was conducted: its controls, what was asked and when that was fixed, looks, failures, costs, environment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from influence.plans.hypotheses import SCALE
from influence.report import formats, words
from influence.report.forest import name, verdict
from influence.report.markup import Content, Markup, join, tag
from influence.report.parts import Fact, facts, paragraph, plural, section, table
from influence.report.record import AuditRecord, Entry
from influence.statistics.effects import Effect
from influence.statistics.set_luck import ENOUGH
from lineage.selection.sets import SampleSet


def instant(at: datetime) -> str:
    """A time to the millisecond, in UTC."""
    return at.strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03}{formats.GAP}UTC"


def controls(record: AuditRecord) -> Markup:
    """Random removals, the null slices, the planted slice."""
    parts = [paragraph(_random(record))]
    ranked = [e for e in record.effects if e.rank_p is not None and e.train_slice == e.eval_slice and _enough(record)]
    if record.checks:
        what = {"power": "Positive control: a random slice whose words were corrupted has to hurt",
                "null": "Negative control: a slice of which no effect was expected"}  # fmt: skip
        rows = [[what.get(c.kind, c.kind), name(c.slice), verdict(c.verdict), c.said] for c in record.checks]
        parts.append(table("Controls of the audit itself", ["Control", "Slice", "Verdict", "So"], rows))
    else:
        told = "No null slice and no planted slice were declared, so the audit's power was not put to the test."
        parts.append(paragraph(told))
    if ranked:
        rows = [
            [name(words.done(e)), name(e.eval_slice), words.metric_name(e.metric), words.p_value(e.rank_p)]
            for e in ranked
        ]
        parts.append(
            table(
                "p by rank among the random removals, corrected over the family (Holm)",
                ["What was done", "Errors on", "Metric", "p"],
                rows,
                [3],
            )
        )
    return section("Controls", *parts)


def _enough(record: AuditRecord) -> bool:
    """Whether there are random removals enough for a rank to say something."""
    return int((record.declared.get("controls") or {}).get("number", 0)) >= ENOUGH


def _random(record: AuditRecord) -> str:
    chosen = record.declared.get("controls")
    controlled = any(e.control is not None for e in record.effects)
    if not controlled:
        return (
            "Nothing was left out at random beside the slices, so a verdict speaks of having less data as well as of having "
            "none of this."
        )
    if not isinstance(chosen, Mapping):
        return "Beside each slice as many samples taken at random were left out, over the same seeds."
    if chosen.get("curve"):
        sizes = ", ".join(map(str, chosen["curve"]))
        return f"Random sets of {sizes} samples were left out; a line through the origin is fitted to them."
    matched = "" if chosen.get("match") == "count" else f" and as many {chosen.get('match')}"
    several = plural(int(chosen.get("number", 0)), "random removal")
    same = "the same in every seed" if _enough(record) else "drawn anew for every seed"
    return f"Beside each slice: {several} of as many samples{matched}, {same}. Verdicts are about what goes beyond."


def asked(record: AuditRecord) -> Markup:
    """What was declared, and the proof that it was before anything was trained."""
    declared, stated = record.declared, record.declaration
    recipe = declared.get("recipe") or {}
    seeds = declared.get("seeds") or [f"{max((e.seeds for e in record.effects), default=0)} of them"]
    margins = {m: SCALE.get(m, 1.0) * v for m, v in sorted((stated.get("margins") or {}).items(), reverse=True)}
    rows: list[Fact] = [
        ("Audit", tag("code", record.audit)),
        ("Amends", tag("code", record.amends) if record.amends else None),
        ("Training set", _set(record.train)),
        ("Evaluation set", _set(record.evaluation)),
        ("Recipe", ", ".join(f"{k} {recipe[k]}" for k in _RECIPE if recipe.get(k) is not None)),
        ("Seeds", ", ".join(map(str, seeds))),
        ("Interventions", _interventions(record)),
        ("Claims are about", _CLAIMS.get(stated.get("generalise", ""))),
        ("Level of intervals", formats.percent(record.level, 0)),
        ("Counts as none", ", ".join(f"{words.metric_name(m)} ±{v:g} {words.unit(m)}" for m, v in margins.items())),
        ("Families", _FAMILIES + (_SCREENED if stated.get("screening") else _DECLARED)),
        ("Causal graph", "; ".join(f"{a} → {b}" for a, b in (declared.get("causes") or {}).get("edges", ()))),
        ("Null slices", join(map(name, declared.get("null") or ()), ", ")),
        ("Budget", ", ".join(f"{v:g} {k}" for k, v in (declared.get("budget") or {}).items())),
        ("Planted", ", ".join(f"{k} {v}" for k, v in (declared.get("planted") or {}).items())),
        ("Fails on", ", ".join(declared.get("fail_on") or ())),
    ]
    parts = [facts(rows), *_registered(record)]
    for key, where, of in (("train", "training", record.train), ("tested", "evaluation", record.evaluation)):
        slices = record.laid_out.get(key) or ()
        if slices:
            rows_ = [
                [name(s["name"]), tag("code", s["predicate"]), formats.number(s["size"]), formats.hours(s.get("duration_s")),
                 tag("code", s["set_digest"][:16])]
                for s in slices
            ]  # fmt: skip
            of_set = f" of {of.name}" if of else ""
            heads = ["Slice", "Condition", "Utterances", "Speech", "Digest"]
            parts.append(table(f"Slices of the {where} set{of_set}", heads, rows_, [2, 3]))
    return section("What was asked", *parts)


_CLAIMS = {"speakers": "speakers like those tested", "utterances": "these very speakers"}
_FAMILIES = (
    "for each metric and kind of intervention, slices on themselves are one family and slices on others a second; the declared "
    "hypotheses are one of their own. "
)
_DECLARED = "In each, Holm's correction bounds the probability of any false claim."
_SCREENED = "This audit screens: Benjamini and Hochberg's correction bounds the share of verdicts that are false."
_RECIPE = ("name", "family", "base", "method", "epochs", "steps", "batch_size", "learning_rate", "transcripts", "seed")


def _set(found: SampleSet | None) -> Content:
    if found is None:
        return None
    spoken = f", {formats.hours(found.duration_s)}" if found.duration_s else ""
    return [name(found.name), f", {plural(found.size, 'utterance')}{spoken} ", tag("code", found.digest)]


def _interventions(record: AuditRecord) -> str:
    kinds = dict.fromkeys((e.intervention or "remove").partition(":")[::2] for e in record.effects)
    return ", ".join(f"{kind} ({fixed})" if fixed else kind for kind, fixed in kinds)


def _registered(record: AuditRecord) -> list[Markup]:
    if record.plan is None:
        return [paragraph("No plan of this audit is on record, so nothing here shows when its questions were fixed.")]
    rows = [_entry("Plan registered", record.plan, record.plan.ended)]
    if record.first is not None:
        rows.append(_entry("First retraining began", record.first, record.first.started))
    rows.append(_entry("Audit finished", record.entry, record.entry.ended))
    told = "The plan stands in the signed log before the first retraining that was done for it. "
    if record.first is None and not record.costs.before:
        told = "No retraining of it is on record. "
    elif record.first is None:
        told = "No retraining was done for this plan: all of them were on record when it was registered. "
    before = record.costs.before
    if before:
        told += (
            f"{plural(before, 'retraining')} of {record.costs.retrainings} were on record before it, from other audits or "
            "trainings: what they had shown could be known when the plan was written. "
        )
    told += "The log's order is proved by its hashes; its times are those of the machine's clock."
    heads = ["Event", "Time", "Log position", "Run", "SHA-256 of its manifest"]
    return [table("When it was fixed", heads, rows, [2]), paragraph(told)]


def _entry(event: str, entry: Entry, at: datetime) -> list[Content]:
    return [event, instant(at), formats.number(entry.position), tag("code", entry.run), tag("code", entry.manifest)]


def looks(record: AuditRecord) -> Markup:
    """The looks of a sequential design and what they saved; empty for a fixed one."""
    sequential = record.declaration.get("sequential")
    needed, planned = record.costs.retrainings, record.costs.planned
    if not sequential and needed >= planned:
        return Markup("")
    after = ", ".join(map(str, (sequential or {}).get("looks", ())))
    spending, futility = (sequential or {}).get("spending", ""), (sequential or {}).get("futility")
    parts = [
        facts(
            [
                ("Looks after", f"{after} seeds" if after else None),
                ("Spending of the error", spending),
                ("Given up below a chance of", formats.percent(futility, 0) if futility else None),
                ("Retrainings", f"{needed} of the {planned} of the fixed design"),
                ("Saved", formats.percent(1 - needed / planned, 0) if planned else None),
                ("Stopped by the budget", record.stopped),
            ]
        )
    ]
    parts.append(_settled(record, sequential or {}))
    return section("Looks and what they saved", *parts)


def _settled(record: AuditRecord, sequential: Mapping[str, Any]) -> Markup:
    """When each comparison had its answer: fewest seeds first."""
    metric = sequential.get("metric", record.metrics[0] if record.metrics else "")
    after, most = sequential.get("looks", ()), max((e.seeds for e in record.effects), default=0)
    deciding: dict[str, Effect] = {}
    for e in record.effects:
        if e.metric == metric and (e.eval_slice == e.train_slice or words.done(e) not in deciding):
            deciding[words.done(e)] = e
    rows: list[list[Content]] = []
    for e in sorted(deciding.values(), key=lambda e: (e.seeds, words.done(e))):
        look = f"{e.looks} of {len(after)}" if e.looks and after else formats.UNKNOWN
        spared = most - e.seeds
        saved = f"{spared} of {most}" if spared else "none"
        rows.append([name(words.done(e)), look, str(e.seeds), saved, verdict(e.verdict)])
    told = (
        f"When each comparison was asked for the last time, and its verdict by {words.metric_name(metric)}: on itself, or on "
        "everything where it has no counterpart"
    )
    return table(told, ["What was done", "Look", "Seeds", "Seeds saved", "Verdict"], rows, [1, 2, 3])


def failures(record: AuditRecord) -> Markup:
    """Retrainings that could not be done; said also where there are none."""
    if not record.failures:
        return section("Failures", paragraph("No retraining failed."))
    rows = [[name(label), error] for label, error in record.failures.items()]
    told = (
        "Each was tried twice. Comparisons that lack one are missing here; seeds without a model on all data are left out "
        "altogether. The messages may name files or people, so they are in the store alone."
    )
    return section("Failures", table("Retrainings that failed", ["Retraining", "Error"], rows), paragraph(told))


def costs(record: AuditRecord) -> Markup:
    """What it took."""
    c, spent = record.costs, record.costs.spent
    reused = f", {c.before} of them on record before" if c.before else ""
    energy = (
        ""
        if spent.energy_j is None
        else f"{formats.number(spent.energy_j / 3.6e6, 3)}{formats.GAP}kWh, as far as it was metered"
    )
    money = "" if spent.money is None else f"{formats.number(spent.money, 2)} at the prices on record"
    processor = (
        f"{formats.elapsed(spent.cpu_s)} of {formats.number(spent.runs)} trainings and evaluations done for this audit"
    )
    return section(
        "Costs",
        facts(
            [
                ("Retrainings", f"{c.retrainings}{reused}"),
                ("Processor time", processor if spent.runs else None),
                ("GPU time", formats.elapsed(spent.gpu_s) if spent.gpu_s else None),
                ("Energy", energy),
                ("Money", money),
                ("Saved by the bank", f"{formats.elapsed(c.saved.cpu_s)} of processor time" if c.before else None),
                (
                    "From plan to result" if record.plan else "Wall clock",
                    formats.elapsed(c.wall_s) if c.wall_s is not None else None,
                ),
            ]
        ),
    )


def environment(record: AuditRecord) -> Markup:
    """Where and with which code."""
    rows: list[list[Content]] = []
    for s in record.settings:
        e: Mapping[str, Any] = s.environment
        machine = [*(str(e[k]) for k in ("platform", "system", "machine", "cpu") if e.get(k)), *(e.get("gpus") or ())]
        commit = str((e.get("code") or {}).get("commit") or "")[:12]
        packages = ", ".join(f"{n} {v}" for n, v in sorted((e.get("packages") or {}).items()))
        rows.append(
            [
                plural(s.retrainings, "retraining"),
                tag("code", f"{s.code} {commit}".rstrip()),
                f"{e.get('python', formats.UNKNOWN)}",
                f"{', '.join(machine)}; {plural(int(e.get('threads') or 1), 'thread')} each",
                packages,
            ]
        )
    parts = [facts([("Code of the audit", tag("code", record.code))])]
    if rows:
        parts.append(table("Where the retrainings ran", ["Retrainings", "Code", "Python", "Machine", "Packages"], rows))
    if len(rows) > 1:
        parts.append(
            paragraph("They did not all run in one environment: small differences between them may be its doing.")
        )
    return section("Code and environment", *parts)
