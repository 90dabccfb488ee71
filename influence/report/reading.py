"""How a report can be done again and checked, how it is read, and what it does not say."""

from __future__ import annotations

from influence.report import formats
from influence.report.markup import Markup, tag
from influence.report.parts import facts, paragraph, section
from influence.report.record import AuditRecord, checkpoint_of

LIMITS = (
    "An effect is of this recipe, this base model and these data. Another recipe, or much more data, may do otherwise.",
    "What a slice does depends on what else is there: leaving out two slices is not the sum of leaving out each, and splitting "
    "a slice changes the value of its parts.",
    "Slices overlap. A slice may help because of what its speakers, devices or noises have in common, not because of its name.",
    "“Not identifiable” is not “no effect”. “No effect larger than X” leaves room for effects smaller than X.",
    "Hypotheses and verdicts are corrected within their families. Cells of the large table taken by themselves are leads, not "
    "findings, unless their verdict says so.",
    "Intervals cover the chance of seeds and of who was tested. They do not cover errors in the references, in the attributes, "
    "or test speakers unlike those whom the model will meet.",
)


def commands(record: AuditRecord) -> list[str]:
    """What to type to do it again and to check it."""
    made = [
        "earmark audit run plan.yaml            # the same plan reads these results back; on another store it trains",
        "earmark verify --against checkpoint.json",
        f"earmark audit report {record.audit[:16]} --html report.html",
        f"earmark sql \"SELECT * FROM effects WHERE run_id = '{record.entry.run}'\"",
    ]
    if record.model is not None:
        made.insert(2, f"earmark replay {record.model}     # the model on all data, to the last bit")
    return made


def reproduce(record: AuditRecord) -> Markup:
    """Commands, and the checkpoint to check the record against."""
    c = record.checkpoint
    inside = record.entry.position < int(c.get("size", 0))
    covers = "It covers every run of this audit." if inside else "It was signed before this audit was finished."
    return section(
        "To do it again, and to check it",
        tag("pre", "\n".join(commands(record))),
        paragraph(
            f"The checkpoint below was signed over the first {formats.number(int(c.get('size', 0)))} runs. {covers} "
            "Kept apart from the store, as checkpoint.json, it shows whether anything was changed since."
        ),
        tag("pre", checkpoint_of(record).rstrip()),
        facts([("Public key of the store", tag("code", record.public_key))]),
    )


def how_to_read(record: AuditRecord) -> Markup:
    """What the figures and the words mean."""
    level = formats.percent(record.level, 0)
    said = [
        "A change is the error of models trained under the intervention minus that of models trained without it, all else "
        "equal: the same first weights, order, augmentation and number of steps, seed by seed.",
        f"Its {level} interval comes from both sources of chance, the seeds and whom the model was tested on. “At random” is "
        "the same done to random samples; “beyond random” is the difference of the two, and it is what is tested.",
        "A slice helps if the error rises without it, beyond what random samples of its number do, after Holm's correction "
        "over the family. It hurts if the error falls. For other interventions helps and hurts are said of the intervention.",
        "No effect larger than X is shown, not assumed: the interval has to lie within ±X, declared beforehand.",
        "Not identifiable: this design could not tell; the reason says why.",
    ]
    if any(e.mapsswe_p is not None for e in record.effects):
        said.append(
            "MAPSSWE is the field's customary test of two models by matched pairs. It speaks of these very test speakers and "
            "takes the luck of a training for an effect, so it stands beside the verdict and decides nothing."
        )
    return section("How to read this", tag("ul", [tag("li", s) for s in said]))


def limits(record: AuditRecord) -> Markup:
    """What must not be read into it."""
    own = [] if any(e.control is not None for e in record.effects) else [
        "Nothing was left out at random, so the effect of a slice is not told from that of having less data."
    ]  # fmt: skip
    return section("What it does not say", tag("ul", [tag("li", s) for s in (*LIMITS, *own)]))
