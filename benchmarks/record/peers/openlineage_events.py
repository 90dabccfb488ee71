"""OpenLineage: one event a sample, into a file."""

import json
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from importlib import metadata

from openlineage.client import OpenLineageClient, set_producer
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.transport.file import FileConfig, FileTransport

rows = int(sys.argv[1])
set_producer("https://github.com/OpenLineage/OpenLineage")
path = f"{tempfile.mkdtemp()}/events.ndjson"
client = OpenLineageClient(transport=FileTransport(FileConfig(log_file_path=path, append=True)))
ids = [str(uuid.uuid4()) for _ in range(rows + 1)]
began = time.perf_counter()
for child, parent in zip(ids[1:], ids[:-1], strict=True):
    client.emit(
        RunEvent(
            eventTime=datetime.now(UTC).isoformat(),
            eventType=RunState.COMPLETE,
            run=Run(runId=child),
            job=Job(namespace="speech", name="speed"),
            inputs=[InputDataset(namespace="file", name=parent)],
            outputs=[OutputDataset(namespace="file", name=child)],
        )
    )
seconds = time.perf_counter() - began
with open(path) as stream:
    assert sum(1 for _ in stream) == rows
print(json.dumps({"rows": rows, "seconds": seconds, "version": metadata.version("openlineage-python")}))
