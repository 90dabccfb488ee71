"""The evidence that goes with an export.

    proof/earmark.json      the store's public key; its SHA-256 is the origin that checkpoints are signed for
    proof/checkpoint.json   size and root of the store's log, signed
    proof/inclusion.json    of each run concerned: its log entry, and the path of hashes from it to that root
    proof/manifests/        the manifests that those entries name: who did what when, with what, and what came of it;
                            in an export that is public or without personal data only its own, since others may name
                            folders
    proof/files.json        the files of the export and their SHA-256; its own SHA-256 is the output of the export's run
    proof/members.txt       the ids of the set's samples, from which its digest follows

The runs concerned are the export itself and all to which the subject owes its being. `check` reads this.
"""

from __future__ import annotations

import shutil

from lineage.exports.check import INCLUSION_FORMAT, text_of
from lineage.exports.parcel import Parcel, history
from lineage.proof.log import inclusion_path
from lineage.proof.verifier import checkpoint_text
from lineage.selection.sets import members


def write(parcel: Parcel, files: bytes) -> None:
    """Add the proofs to a parcel whose run is on record; `files` is the listing of what was exported."""
    store, folder = parcel.store, parcel.folder / "proof"
    (folder / "manifests").mkdir(parents=True)
    shutil.copyfile(store.root / "earmark.json", folder / "earmark.json")
    (folder / "files.json").write_bytes(files)
    checkpoint = store.log.checkpoint()
    (folder / "checkpoint.json").write_bytes(checkpoint_text(checkpoint))
    wanted = {run.id for run in history(store, parcel.subject.digest)} | {parcel.run.id}
    leaves = store.log.leaves()[: checkpoint["size"]]
    own = parcel.run
    proofs = []
    for entry in store.log.entries()[: checkpoint["size"]]:
        if entry.run not in wanted:
            continue
        path = [node.hex() for node in inclusion_path(leaves, entry.position)]
        proofs.append({"entry": entry.to_bytes().decode(), "path": path})
        if (own.config["personal"] and not parcel.public) or entry.run == own.id:
            name = f"{entry.run}.json"
            shutil.copyfile(store.root / "manifests" / name, folder / "manifests" / name)
    value = {"format": INCLUSION_FORMAT, "export": own.id, "proofs": proofs}
    (folder / "inclusion.json").write_bytes(text_of(value))
    if not (own.config["samples"] and own.config["set"]):
        return
    with (folder / "members.txt").open("w") as stream:
        stream.writelines(f"{sample}\n" for sample in members(store, parcel.samples.digest).to_pylist())
