"""How fast questions about a large lineage are answered, beside a native DuckDB table asked by recursive CTEs.

python benchmarks/record/graph.py [--edges 10000000] [--store FOLDER] [--no-native]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import pyarrow as pa
from tools import Clock, machine, show, verdict
from world import World, world

from lineage import graph
from lineage.ids import id_array
from lineage.proof import merkle
from lineage.selection.sets import difference, prove, resolve_set
from lineage.sql import connect
from lineage.store import Store

TIMES = 21  # subjects asked about; of costly questions fewer
SOME = 5_000  # samples whose roots the native table is asked for: all would take it many minutes
BYTES = 2048  # of a proof at most
OPEN = """
from tools import Clock
from lineage.store import Store
with Clock() as clock:
    Store.open({!r}).runs()
print(clock.wall, clock.cpu)"""

UP = """
    WITH RECURSIVE above AS (
        SELECT parent_id AS id FROM edges WHERE child_id = $1
        UNION SELECT parent_id FROM edges JOIN above ON child_id = id)
    FROM above"""
DOWN = """
    WITH RECURSIVE below AS (
        SELECT child_id AS id FROM edges WHERE parent_id = $1
        UNION SELECT child_id FROM edges JOIN below ON parent_id = id)
    FROM below"""
MODELS = """
    WITH RECURSIVE heard AS (
        SELECT sample_id AS id FROM samples WHERE speaker_key = $1
        UNION SELECT child_id FROM edges JOIN heard ON parent_id = id)
    SELECT model_id, count(*), count(DISTINCT sample_id) FROM exposures SEMI JOIN heard ON sample_id = id
    JOIN models USING (run_id) WHERE weight > 0 GROUP BY model_id"""
DIFF = """
    (SELECT sample_id FROM members WHERE set_digest = $1 EXCEPT SELECT sample_id FROM members WHERE set_digest = $2)
    UNION ALL
    (SELECT sample_id FROM members WHERE set_digest = $2 EXCEPT SELECT sample_id FROM members WHERE set_digest = $1)"""
ROOTS = """
    WITH RECURSIVE asked AS (SELECT DISTINCT child_id FROM edges ORDER BY ALL LIMIT $1),
    above AS (
        SELECT child_id, parent_id FROM edges SEMI JOIN asked USING (child_id)
        UNION SELECT above.child_id, edges.parent_id FROM edges JOIN above ON edges.child_id = above.parent_id)
    SELECT child_id, parent_id FROM above ANTI JOIN edges ON edges.child_id = above.parent_id"""


@dataclass(frozen=True)
class Question:
    """What is put to the store about each of `subjects`, and to the native table about the first; milliseconds allowed.

    `rows` makes the store's answer what the native one is as a set of rows, `fits` judges it where there is no such.
    """

    what: str
    target: int
    subjects: Sequence[Any]
    ask: Callable[[Store, Any], Any]
    native: str = ""
    parameters: Callable[[Any], list[Any]] = lambda subject: [subject]
    rows: Callable[[Any], set[Any]] = set
    fits: Callable[[Any], bool] = lambda found: True

    def measure(self, of: World, with_native: bool) -> list[str]:
        """A row of the table.

        Raises:
            SystemExit: the answer is wrong.
        """
        store, clocks = of.store(), [Clock() for _ in self.subjects]
        store.runs()  # opening is a question of its own
        first: Any = None
        for clock, subject in zip(clocks, self.subjects, strict=True):
            with clock:
                found = self.ask(store, subject)
            first = found if clock is clocks[0] else first
        spent = ""
        if not self.fits(first):
            raise SystemExit(f"{self.what}: the answer is wrong")
        if self.native and with_native:
            with of.native() as connection, Clock() as clock:
                expected = connection.execute(self.native, self.parameters(self.subjects[0])).fetchall()
            if self.rows(first) != set(expected):
                raise SystemExit(f"{self.what}: the store and the native table disagree")
            spent = f"{clock.wall * 1e3:,.0f}"
        return row(self.what, self.target, clocks, spent)


def row(what: str, target: int, clocks: Sequence[Clock], native: str = "") -> list[str]:
    """A row of the table: the first time, the median of the others, the processor's time for those, the native table's."""
    others = clocks[1:] or clocks
    wall, cpu = (statistics.median(getattr(c, kind) for c in others) * 1e3 for kind in ("wall", "cpu"))
    first = f"{clocks[0].wall * 1e3:,.1f}"
    return [what, first, f"{wall:,.1f}", f"{cpu:,.1f}", native, f"{target:,} {verdict(wall <= target)}"]


def questions(of: World) -> list[Question]:
    """Everything that is asked of the store."""
    left, right, everything = (resolve_set(of.store(), of.sets[name]) for name in ("left", "right", "everything"))
    strangers = [uuid.UUID(int=i << 100 | i) for i in range(1, 1 + TIMES)]
    return [
        Question(
            "ancestors of a sample",
            60,
            of.deep[:TIMES],
            lambda store, sample: graph.ancestors(store, [sample]),
            UP,
            rows=lambda found: {(i,) for i in found["parent_id"].to_pylist()},
        ),
        Question(
            "descendants of a recording",
            30,
            of.recordings[:TIMES],
            lambda store, sample: graph.descendants(store, [sample]),
            DOWN,
            rows=lambda found: {(i,) for i in found["child_id"].to_pylist()},
        ),
        Question(
            "models of a speaker",
            150,
            of.speakers[:TIMES],
            lambda store, speaker: graph.models_of(store, speaker=speaker),
            MODELS,
            rows=lambda found: set(
                zip(*(found[c].to_pylist() for c in ("model_id", "exposures", "samples")), strict=True)
            ),
        ),
        Question(
            f"diff of two sets of {left.size:,}",
            300,
            [(left, right)] * 8,
            lambda store, pair: difference(store, *pair),
            DIFF,
            parameters=lambda pair: [s.digest for s in pair],
            rows=lambda found: {(i,) for side in found for i in side.to_pylist()},
        ),
        Question(
            f"roots of all {everything.size:,} samples (native: of {SOME:,})",
            2000,
            [SOME] * 4,
            lambda store, _: graph.roots(store),
            ROOTS,
            rows=_roots_of_some,
        ),
        Question(
            f"proof that a sample is not in a set of {everything.size:,}",
            20,
            strangers,
            lambda store, sample: prove(store, everything.digest, sample),
            fits=lambda proof: not proof.member and proof.holds() and len(json.dumps(proof.to_json())) <= BYTES,
        ),
    ]


def _roots_of_some(found: graph.Roots) -> set[Any]:
    with connect() as connection:
        connection.register("asked", pa.table({"sample_id": id_array(found.samples[:SOME])}))
        connection.register("pairs", found.table())
        return set(connection.sql("FROM pairs SEMI JOIN asked USING (sample_id)").fetchall())


def opening(of: World) -> list[Clock]:
    """How long a fresh process takes to open the store and to know all its runs."""
    command = [sys.executable, "-c", OPEN.format(str(of.root))]
    clocks = []
    for _ in range(6):
        told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent).stdout
        clocks.append(Clock(*map(float, told.split())))
    return clocks


def digesting(count: int) -> list[Clock]:
    """How long the digest of a set takes, of so many ids in no order."""
    ids = np.random.default_rng(3).integers(0, 2**64, (count, 2), dtype=np.uint64)
    clocks = [Clock() for _ in range(3)]
    for clock in clocks:
        with clock:
            merkle.set_digest(ids)
    return clocks


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--edges", type=int, default=10_000_000)
    parser.add_argument("--store", type=Path, help="keep the store here, or use the one kept here")
    parser.add_argument("--no-native", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        of = world(options.store or Path(folder), options.edges)
        table = [["what", "first ms", "then ms", "of CPU", "native ms", "target ms"]]
        table += [q.measure(of, not options.no_native) for q in questions(of)]
        table.append(row("opening the store", 300, opening(of)))
    table.append(row(f"digest of a set of {options.edges:,}", 5000, digesting(options.edges)))
    show(f"Questions about {options.edges:,} edges, compacted ({machine()})", table)


if __name__ == "__main__":
    main()
