"""ML Metadata: artifacts and the events that made them, in batches, into SQLite."""

import tempfile
from importlib import metadata
from pathlib import Path

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb
from rows import CHILDREN, DURATIONS, PARENTS, POSITION, ROLE, ROWS, SEEDS, TRANSFORM, timed

BATCH = 1000
config = pb.ConnectionConfig()
config.sqlite.filename_uri = str(Path(tempfile.mkdtemp()) / "mlmd.sqlite")
config.sqlite.connection_mode = 3  # READWRITE_OPENCREATE
store = metadata_store.MetadataStore(config)
known = {
    "parent": pb.STRING,
    "role": pb.STRING,
    "position": pb.INT,
    "duration_s": pb.DOUBLE,
    "seed": pb.INT,
}
sample = store.put_artifact_type(pb.ArtifactType(name="Sample", properties=known))
transform = store.put_execution_type(pb.ExecutionType(name="Transform"))


def artifact(i: int) -> pb.Artifact:
    """Sample i, with its parent as a property: an execution of its own for each would take longer."""
    made = pb.Artifact(type_id=sample, uri=CHILDREN[i])
    made.properties["parent"].string_value = PARENTS[i]
    made.properties["role"].string_value = ROLE
    made.properties["position"].int_value = POSITION
    made.properties["duration_s"].double_value = DURATIONS[i]
    made.properties["seed"].int_value = SEEDS[i]
    return made


with timed(metadata.version("ml-metadata")):
    for start in range(0, ROWS, BATCH):
        artifacts = [artifact(i) for i in range(start, min(start + BATCH, ROWS))]
        execution = pb.Execution(type_id=transform, name=f"{TRANSFORM}/{start}")
        events = [(0, i, pb.Event(type=pb.Event.OUTPUT)) for i in range(len(artifacts))]
        store.put_lineage_subgraph([execution], artifacts, [], events)
assert len(store.get_events_by_execution_ids([1])) == min(BATCH, ROWS)
