"""ML Metadata: artifacts and the events that made them, in batches, into SQLite."""

import json
import sys
import tempfile
import time
import uuid
from importlib import metadata
from pathlib import Path

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb

BATCH = 1000
rows = int(sys.argv[1])
config = pb.ConnectionConfig()
config.sqlite.filename_uri = str(Path(tempfile.mkdtemp()) / "mlmd.sqlite")
config.sqlite.connection_mode = 3  # READWRITE_OPENCREATE
store = metadata_store.MetadataStore(config)
sample = store.put_artifact_type(pb.ArtifactType(name="Sample"))
transform = store.put_execution_type(pb.ExecutionType(name="Transform"))
uris = [str(uuid.uuid4()) for _ in range(rows)]
began = time.perf_counter()
for start in range(0, rows, BATCH):
    artifacts = [pb.Artifact(type_id=sample, uri=uri) for uri in uris[start : start + BATCH]]
    execution = pb.Execution(type_id=transform)
    edges = []
    for i in range(len(artifacts)):
        event = pb.Event(type=pb.Event.OUTPUT)
        edges.append(
            metadata_store.metadata_store_service_pb2.PutLineageSubgraphRequest.EventEdge(
                execution_index=0, artifact_index=i, event=event
            )
        )
    store.put_lineage_subgraph([execution], artifacts, [], [(0, i, e.event) for i, e in enumerate(edges)])
seconds = time.perf_counter() - began
assert len(store.get_events_by_execution_ids([1])) == min(BATCH, rows)
print(json.dumps({"rows": rows, "seconds": seconds, "version": metadata.version("ml-metadata")}))
