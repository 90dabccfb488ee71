"""A `datasets.Dataset` as `save_to_disk` leaves it: `datasets.load_from_disk(folder)` opens it, memory-mapped.

    data-00000-of-00002.arrow …   Arrow streams whose schema carries the features
    dataset_info.json, state.json what `datasets` wants to know besides

The files are written here, not by `datasets`: sample by sample, with nothing left in its cache, and the same set gives the
same bytes. The sound is carried as the bytes of a lossless file in `audio`, an `Audio(decode=False)`, because decoding by
`datasets` itself needs a further package; `soundfile.read(io.BytesIO(row["audio"]["bytes"]))` decodes it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from lineage.exports import Format, register
from lineage.exports.parcel import Parcel
from lineage.exports.utterances import Utterance, attribute_names, utterances

SHARD_BYTES = 500 << 20
BATCH_BYTES = 8 << 20
TEXT: dict[str, Any] = {"dtype": "string", "_type": "Value"}
CORE: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("sample_id", "text", "speaker", "kind", "source", "licence"), TEXT),
    "duration": {"dtype": "float64", "_type": "Value"},
    "sampling_rate": {"dtype": "int32", "_type": "Value"},
    "audio": {"decode": False, "_type": "Audio"},
}


def _write(parcel: Parcel) -> None:
    attributes = [name for name in attribute_names(parcel) if name not in CORE]
    features = CORE | dict.fromkeys(attributes, TEXT)
    shards = _Shards(parcel.folder, _schema(features))
    for utterance in utterances(parcel):
        shards.add(_row(utterance, attributes), len(utterance.sound))
    files = shards.close()
    parcel.write_json("dataset_info.json", {"citation": "", "description": "", "features": features, "homepage": "",
                                            "license": ""})  # fmt: skip
    parcel.write_json(
        "state.json",
        {
            "_data_files": [{"filename": name} for name in files],
            "_fingerprint": parcel.subject.digest[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        },
    )
    parcel.reading += [
        "datasets: datasets.load_from_disk('.') in this folder.",
        "The audio is in row['audio']['bytes']: soundfile.read(io.BytesIO(…)) decodes it.",
    ]


def _schema(features: dict[str, Any]) -> pa.Schema:
    types = {"string": pa.string(), "float64": pa.float64(), "int32": pa.int32()}
    sound = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [(name, sound if f["_type"] == "Audio" else types[f["dtype"]]) for name, f in features.items()]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _row(utterance: Utterance, attributes: list[str]) -> dict[str, Any]:
    return {
        "sample_id": str(utterance.id),
        "text": utterance.text,
        "speaker": utterance.speaker,
        "kind": utterance.kind,
        "source": utterance.source,
        "licence": utterance.licence,
        "duration": utterance.duration_s,
        "sampling_rate": utterance.rate,
        "audio": {"bytes": utterance.sound, "path": f"{utterance.id}{utterance.suffix}"},
        **{name: utterance.attributes.get(name) for name in attributes},
    }


class _Shards:
    """Arrow stream files of bounded size, named once it is known how many there are."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder = folder
        self._schema = schema
        self._paths: list[Path] = []
        self._writer: Any = None
        self._batch: list[dict[str, Any]] = []
        self._pending = 0
        self._written = 0

    def add(self, row: dict[str, Any], size: int) -> None:
        """Take a row with `size` bytes of sound."""
        self._batch.append(row)
        self._pending += size
        if self._pending >= BATCH_BYTES:
            self._flush()

    def close(self) -> list[str]:
        """Finish; the names of the files."""
        self._flush()
        self._end_shard()
        names = [f"data-{n:05d}-of-{len(self._paths):05d}.arrow" for n in range(len(self._paths))]
        for path, name in zip(self._paths, names, strict=True):
            path.rename(self._folder / name)
        return names

    def _flush(self) -> None:
        if not self._batch:
            return
        if self._writer is None:
            self._paths.append(self._folder / f"data-{len(self._paths):05d}")
            self._writer = pa.ipc.new_stream(str(self._paths[-1]), self._schema)
        self._writer.write_batch(pa.RecordBatch.from_pylist(self._batch, schema=self._schema))
        self._written += self._pending
        self._batch, self._pending = [], 0
        if self._written >= SHARD_BYTES:
            self._end_shard()

    def _end_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._written = 0


register(Format("datasets", "Hugging Face datasets.Dataset, for load_from_disk", ("set",), True, _write))
