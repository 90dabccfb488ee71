"""Which moments of a recording a sample was made of.

Edges say where a parent lies in its child. Followed upwards from a sample, they tell which stretch of each recording can be
heard in it: of an utterance that was cut out of an interview the seconds between its cuts, at whatever speed and under
whatever noise it is played since.

What edges do not say is taken for granted at its widest: of a parent that is repeated, that was used by a transform which is
not known here, or whose place is not on record, every moment may have been used.

Law: nothing of a recording is heard in a sample outside the moments that are given for it.
"""

from __future__ import annotations

import pyarrow as pa

from lineage.derivation.transforms import transforms
from lineage.graph import HOPS
from lineage.sql import quote
from lineage.store import Store

SLACK_S = 0.01  # by how much the end of a used part may lie beyond the parent's: rounding to frames

# `parts` are stretches of samples that can be heard in `origin`; one hop up. Stretching is even: a part of the child is the
# same share of the parent.
STEP = """
    WITH steps AS (
        SELECT DISTINCT p.origin, p.start_s AS heard_from_s, p.end_s AS heard_to_s, e.child_id, e.parent_id, e.parent_start_s,
               e.child_start_s, e.duration_s,
               e.transform_id IN (SELECT transform_id FROM transforms WHERE name IN ({known})) AS known,
               e.transform_id IN (SELECT transform_id FROM transforms WHERE name IN ({stretching})) AS stretched
        FROM parts p JOIN edges e ON e.child_id = p.sample_id),
    lengths AS (
        SELECT sample_id, max(duration_s) AS length_s FROM samples
        WHERE sample_id IN (SELECT child_id FROM steps UNION SELECT parent_id FROM steps) GROUP BY sample_id),
    paced AS (
        SELECT s.*, p.length_s, CASE WHEN stretched THEN p.length_s / c.length_s ELSE 1.0 END AS pace
        FROM steps s LEFT JOIN lengths p ON p.sample_id = s.parent_id LEFT JOIN lengths c ON c.sample_id = s.child_id),
    placed AS (
        SELECT origin, parent_id, known, length_s,
               parent_start_s + (greatest(heard_from_s, child_start_s) - child_start_s) * pace AS start_s,
               parent_start_s + (least(heard_to_s, child_start_s + duration_s) - child_start_s) * pace AS end_s
        FROM paced),
    judged AS (
        SELECT *, coalesce(known AND end_s <= length_s + {slack}, false) AS certain FROM placed)
    SELECT DISTINCT origin, parent_id AS sample_id, CASE WHEN certain THEN start_s ELSE 0.0::DOUBLE END AS start_s,
           CASE WHEN certain THEN end_s ELSE 'infinity'::DOUBLE END AS end_s
    FROM judged WHERE NOT certain OR end_s > start_s"""
WHOLE = (
    "SELECT DISTINCT sample_id AS origin, sample_id, 0.0::DOUBLE AS start_s, 'infinity'::DOUBLE AS end_s FROM wanted"
)
FOUND = """
    SELECT DISTINCT w.sample_id, w.recording, p.start_s, p.end_s
    FROM wanted w JOIN parts p ON p.origin = w.sample_id AND p.sample_id = w.recording"""

LOST = """
    SELECT DISTINCT sample_id, recording, 0.0::DOUBLE AS start_s, 'infinity'::DOUBLE AS end_s
    FROM wanted ANTI JOIN reached USING (sample_id, recording)"""


def moments(store: Store, wanted: pa.Table) -> pa.Table:
    """The moments of recordings that are heard in samples: `sample_id`, `recording`, `start_s`, `end_s` (may be infinite).

    `wanted` has the columns `sample_id` and `recording`; the recording may be the sample itself, or anything that it was made
    of. A pair has several rows where several stretches of one recording went into a sample.
    """
    known = transforms()
    step = STEP.format(
        known=", ".join(quote(t.name) for t in known),
        stretching=", ".join(quote(t.name) for t in known if t.stretches),
        slack=SLACK_S,
    )
    parts = store.sql(WHOLE, tables={"wanted": wanted})
    found = []
    for _ in range(HOPS):
        found.append(store.sql(FOUND, tables={"wanted": wanted, "parts": parts}))
        parts = store.sql(step, tables={"parts": parts})
        if not parts.num_rows:
            break
    reached = pa.concat_tables(found)
    return pa.concat_tables([reached, store.sql(LOST, tables={"wanted": wanted, "reached": reached})])
