"""The evidence that goes with an export.

    proof/earmark.json      the store's public key; its SHA-256 is the origin that checkpoints are signed for
    proof/checkpoint.json   size and root of the store's log, signed
    proof/inclusion.json    of each run concerned: its log entry, and the path of hashes from it to that root
    proof/manifests/        the manifests that those entries name: who did what when, with what, and what came of it
    proof/members.txt       the ids of the set's samples, from which its digest follows

The runs concerned are the export itself and all to which the subject owes its being. `check` reads this.
"""

from __future__ import annotations

import json
import shutil

from lineage.exports.check import INCLUSION_FORMAT
from lineage.exports.parcel import Parcel, history
from lineage.log import inclusion_path
from lineage.sets import members
from lineage.verifier import checkpoint_text


def write(parcel: Parcel) -> None:
    """Add the proofs to a parcel whose run is on record."""
    store, folder = parcel.store, parcel.folder / "proof"
    (folder / "manifests").mkdir(parents=True)
    shutil.copyfile(store.root / "earmark.json", folder / "earmark.json")
    checkpoint = store.log.checkpoint()
    (folder / "checkpoint.json").write_bytes(checkpoint_text(checkpoint))
    wanted = {run.id for run in history(store, parcel.subject.digest)} | {parcel.run.id}
    leaves = store.log.leaves()[: checkpoint["size"]]
    proofs = []
    for entry in store.log.entries()[: checkpoint["size"]]:
        if entry.run in wanted:
            path = [node.hex() for node in inclusion_path(leaves, entry.position)]
            proofs.append({"entry": entry.to_bytes().decode(), "path": path})
            shutil.copyfile(
                store.root / "manifests" / f"{entry.run}.json", folder / "manifests" / f"{entry.run}.json"
            )
    value = {"format": INCLUSION_FORMAT, "export": parcel.run.id, "proofs": proofs}
    (folder / "inclusion.json").write_text(json.dumps(value, indent=1) + "\n")
    with (folder / "members.txt").open("w") as stream:
        stream.writelines(f"{sample}\n" for sample in members(store, parcel.samples.digest).to_pylist())
