"""Which retrainings of a plan begin first: as declared, or those of which gradients promise the largest effects.

Influences of a model on the same training and evaluation set, where they are on record (`earmark attribute`), foretell what
each slice does: the sum over its samples, on whichever of their targets that is largest. The order is for whoever looks at the
store while an audit runs, or stops it half-way: the retrainings of what probably matters most are there first, and serve other
audits. Which retrainings are done, and what comes of them, it cannot change.
"""

from __future__ import annotations

import logging

from influence.plans.plan import Plan
from lineage.storage.manifest import RunInfo
from lineage.store import Store


def promised(store: Store, plan: Plan) -> list[float]:
    """How large an effect each row of the plan, which is on record, is to show; 0 throughout where no influences are.

    A row that several comparisons need has the largest of theirs; all data, which all of them need, comes first.
    """
    run = _influences(store, plan)
    if run is None:
        logging.getLogger("earmark").warning(
            "no influences on these sets are on record, so retrainings go as declared — earmark attribute MODEL"
        )
        return [0.0] * len(plan.rows)
    sums = store.sql(
        """WITH part AS (SELECT DISTINCT set_digest, sample_id FROM members),
        summed AS (SELECT set_digest, target_set, sum(value) AS effect
                   FROM influences JOIN part USING (sample_id) WHERE run_id = ? GROUP BY ALL)
        SELECT set_digest, max(abs(effect)) AS effect FROM summed GROUP BY ALL""",
        [run.id],
    ).to_pylist()
    by_set = {row["set_digest"]: float(row["effect"]) for row in sums}
    found = [0.0] * len(plan.rows)
    for c in plan.comparisons:
        for row in (c.row, c.against, c.controls_against, *c.controls):
            found[row] = max(found[row], by_set.get(c.set_digest, 0.0))
    found[0] = max(found)
    return found


def _influences(store: Store, plan: Plan) -> RunInfo | None:
    """The newest attribution of a model that was trained on the plan's set, on its evaluation set."""
    sets = {plan.request.population.digest, plan.request.evaluation.digest}
    done = (r for r in reversed(store.runs()) if r.kind == "attribute" and r.status == "completed")
    return next((r for r in done if sets <= set(r.inputs)), None)
