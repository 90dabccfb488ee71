"""A first plan, drafted from what is on record, for a person to cut down and to put hypotheses into.

Attributes of few values become slices; of the values, the one that is heard best over all evaluations on record is suggested as
the null slice, since there is least left to lose there. The draft is a whole plan: it can be run as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from influence.plans.outlook import outlook
from influence.plans.plan import sketch
from influence.plans.planfile import CONDITIONS, SEEDS, AuditPlan, Planted
from influence.plans.request import request
from lineage.errors import EarmarkError
from lineage.selection import slices
from lineage.selection.sets import SampleSet, resolve_set
from lineage.sql import identifier, quote
from lineage.store import Store
from training.recipe import Recipe

MOST_VALUES = 12
LEAST_SAMPLES = 5


def draft(store: Store, recipe: Recipe | None = None, where: str | None = None) -> str:
    """The text of a plan, with comments; the recipe is the given one (from the file `where`), or that of the newest training.

    Raises:
        EarmarkError: nothing was trained yet, or the training set has no attribute of few values.
    """
    chosen = recipe or newest_recipe(store)
    population = resolve_set(store, chosen.train)
    attributes = few_valued(store, population)
    if not attributes:
        raise EarmarkError(
            f"no attribute of {population.name} has 2 to {MOST_VALUES} values of {LEAST_SAMPLES} samples or more — write "
            "slices by hand, such as 'long: duration_s > 4'"
        )
    wanted = [f"{name}=*" for name in attributes]
    plan = AuditPlan.parse({"name": chosen.name, "recipe": chosen, "slices": wanted}, "draft")
    expected = outlook(store, sketch(store, request(store, plan)))
    given = where if where is not None else chosen.model_dump(mode="json", exclude_defaults=True)
    lines = [
        f"# {expected.retrainings} retrainings, {expected.on_record} of them on record; {_time(expected.seconds())}",
        _yaml({"name": chosen.name, "recipe": given}),
        "# What is left out, one at a time. Also: 'accent=* & noise=*', 'long: duration_s > 4', {name: …, set: …}.",
        "slices:",
        *(f'  - "{name}=*"{" " * 4}# {_values(found)}' for name, found in attributes.items()),
        f"seeds: {SEEDS}",
        "controls: {number: 2, match: count}    # 19 or more give p-values by rank, too",
        "statistics:",
        "  margins: {wer: 3}                     # points of WER that count as none",
        "  # sequential: {looks: [2, 3, 5, 8]}   # what is settled gets no more seeds; takes the line 'seeds' away",
        "# budget: {retrainings: 100, hours: 8}  # of all workers together; looks that do not fit any more are left out",
        "# order: gradients                      # begin with the largest effects that gradients on record foretell",
        "",
        "# Of which slice do you expect no effect? It shows that the audit does not cry wolf.",
        _null(store, plan, attributes),
        "# A corrupted random slice, which the audit must find to hurt: it shows that the audit could have found something.",
        f"# planted: {{share: {Planted().share:g}, words: {Planted().words:g}}}",
        "",
        "# What do you claim? Nobody can claim it once results are on record.",
        "# hypotheses:",
        *(f"#   - {line}" for line in _claims(attributes)),
        "",
        "# What do you believe to act on what? The gaps that this asks for are estimated, and attacked (earmark[causal]).",
        f"# causes: {_causes(attributes)}",
        "",
        "# When is the exit status 1?",
        *(f"#   {name}: {meaning}" for name, meaning in CONDITIONS.items()),
        "fail_on: [refuted, failures]",
    ]
    return "\n".join(lines) + "\n"


def newest_recipe(store: Store) -> Recipe:
    """The recipe of the newest training on record; of a retraining, the recipe of the plan that it was done for."""
    runs = {run.id: run for run in store.runs()}
    for run in reversed(runs.values()):
        if run.kind == "train" and run.status == "completed" and "depends" in run.config:
            behind = [runs[parent] for parent in run.parents if parent in runs] or [run]
            for one in behind:
                if "recipe" in one.config:
                    return Recipe.parse(one.config["recipe"])
    raise EarmarkError("nothing was trained yet — name a recipe: --recipe recipe.yaml")


def few_valued(store: Store, population: SampleSet) -> dict[str, dict[str, int]]:
    """Attributes of the set with 2 to `MOST_VALUES` values: samples by value, for values with enough of them."""
    found = {}
    for name in sorted(store.attributes()):
        counts = {}
        for one in _each(store, name, population):
            counts[one.name.partition("=")[2]] = len(slices.select(store, one, population.digest))
        if 2 <= len(counts) <= MOST_VALUES and min(counts.values()) >= LEAST_SAMPLES:
            found[name] = counts
    return found


def _each(store: Store, name: str, population: SampleSet) -> list[slices.Slice]:
    rows = store.sql(
        f"SELECT count(DISTINCT {identifier(name)}) AS n FROM samples WHERE sample_id IN "
        f"(SELECT sample_id FROM members WHERE set_digest = {quote(population.digest)})"
    )
    if not 2 <= rows["n"][0].as_py() <= MOST_VALUES:
        return []
    return slices.each_value(store, name, population.digest)


def _null(store: Store, plan: AuditPlan, attributes: Mapping[str, Mapping[str, int]]) -> str:
    evaluation = plan.evaluate or (plan.recipe.evaluate[0] if plan.recipe.evaluate else "")
    digest = resolve_set(store, evaluation).digest if evaluation else ""
    best: tuple[float, str] | None = None
    for name in attributes:
        rows = store.sql(
            f"""SELECT s.{identifier(name)}::VARCHAR AS value, sum(substitutions + deletions + insertions) / sum(p.words) AS wer
            FROM predictions p JOIN samples s USING (sample_id) WHERE set_digest = {quote(digest)}
            GROUP BY value HAVING value IS NOT NULL AND sum(p.words) > 0 ORDER BY wer LIMIT 1"""
        ).to_pylist()
        if rows and rows[0]["value"] in attributes[name]:
            best = min(best or (2.0, ""), (float(rows[0]["wer"]), f"{name}={rows[0]['value']}"))
    if best is None:
        return '# null: ["…"]    # no evaluation is on record that would suggest one: earmark evaluate MODEL SET'
    return f'# null: ["{best[1]}"]    # heard best over the evaluations on record, {100 * best[0]:.1f} % WER'


def _claims(attributes: Mapping[str, Mapping[str, int]]) -> list[str]:
    name, found = next(iter(attributes.items()))
    first, last = (f"{name}={value}" for value in (next(iter(found)), list(found)[-1]))
    return [
        f"removing {first} raises WER on {first} by more than 2 points",
        f"removing {last} changes WER on all by less than 3 points",
    ]


def _causes(attributes: Mapping[str, object]) -> str:
    acting = "; ".join(f"recruiting -> {name} -> errors" for name in list(attributes)[:2])
    return f'{{edges: "{acting}", unobserved: [recruiting]}}'


def _values(found: Mapping[str, int]) -> str:
    return ", ".join(f"{value} ({count})" for value, count in found.items())


def _yaml(fields: dict[str, Any]) -> str:
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True).rstrip()


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "no comparable training is on record, so nobody knows how long that takes"
    return f"about {seconds / 60:.1f} min in one process"
