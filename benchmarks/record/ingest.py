"""How fast prepared rows become durable ones, in how much memory, and how fast other tools record as much.

python benchmarks/record/ingest.py [--rows 10000000] [--peers datachain mlmd mlflow openlineage | --no-peers]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from tools import edge_rows, lineage, machine, peer, show

from lineage.store import Store
from lineage.verifier import verify

TARGET = 900_000  # rows a second on two cores
PEERS = {  # name: what it records, packages, script, rows, how many times as fast Earmark shall be
    "datachain": ("DataChain save", ["datachain"], "datachain_save.py", 100_000, 40),
    "mlmd": ("MLMD put_lineage_subgraph, batches of 1000", ["ml-metadata"], "mlmd_subgraph.py", 50_000, 60),
    "mlflow": ("MLflow log_inputs, batches of 500", ["mlflow"], "mlflow_inputs.py", 5_000, 400),
    "openlineage": ("OpenLineage, an event a sample", ["openlineage-python"], "openlineage_events.py", 10_000, 400),
}


def record(rows: int) -> dict[str, float]:
    """Ingest so many edges into a fresh store, in this process."""
    recordings, generations = lineage(rows)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        store = Store.init(Path(folder) / "store")
        spent, count = 0.0, 0
        with store.run("ingest") as run:
            for chunk in edge_rows(recordings, generations):
                began = time.perf_counter()
                run.append("edges", chunk)
                spent += time.perf_counter() - began
                count += chunk.num_rows
            began = time.perf_counter()
        spent += time.perf_counter() - began  # the rest is written, synced, logged and signed on leaving the block
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        size = sum(s.bytes for s in store.segments("edges"))
        if store.sql("SELECT count(*) AS n FROM edges")["n"][0].as_py() != count or not verify(store.root).ok:
            raise SystemExit("what was ingested is not what is there")
    return {"rows": count, "seconds": spent, "peak_mb": (peak - base) / 1024, "bytes": size}


def apart(rows: int) -> dict[str, float]:
    """The same in a process of its own, for its memory."""
    command = [sys.executable, __file__, "--rows", str(rows), "--worker"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(record(options.rows)))
        return
    print(f"Ingest of prepared rows, durable, bloom filters on ({machine()})")
    parts = [apart(options.rows // 4), apart(options.rows)]
    own = parts[-1]["rows"] / parts[-1]["seconds"]
    table = [["rows", "seconds", "rows/s", "bytes/row", "memory above the rows' source"]]
    for p in parts:
        speed = f"{p['rows'] / p['seconds']:,.0f}"
        table.append(
            [f"{p['rows']:,}", f"{p['seconds']:.2f}", speed, f"{p['bytes'] / p['rows']:.1f}", f"{p['peak_mb']:,.0f} MB"]
        )
    show(f"Earmark (target: {TARGET:,} rows/s: {'met' if own >= TARGET else 'MISSED'})", table)
    if options.no_peers:
        return
    table = [["what", "version", "rows", "rows/s", "Earmark is faster by", "target"]]
    for name in options.peers:
        what, packages, script, rows, target = PEERS[name]
        found = peer(name, packages, script, rows)
        if "error" in found:
            table.append([what, found["error"], "", "", "", f"{target}×"])
            continue
        speed = found["rows"] / found["seconds"]
        verdict = f"{own / speed:,.0f}× {'met' if own / speed >= target else 'MISSED'}"
        table.append([what, found["version"], f"{found['rows']:,}", f"{speed:,.0f}", verdict, f"{target}×"])
    show("Peers, one record a sample", table)


if __name__ == "__main__":
    main()
