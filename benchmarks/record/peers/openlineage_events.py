"""OpenLineage: one event a sample, into a file."""

import tempfile
from datetime import UTC, datetime
from importlib import metadata

import attr
from openlineage.client import OpenLineageClient, set_producer
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.generated.base import InputDatasetFacet
from openlineage.client.transport.file import FileConfig, FileTransport
from rows import CHILDREN, DURATIONS, PARENTS, POSITION, ROLE, ROWS, SEEDS, TRANSFORM, timed


@attr.define
class EdgeInputDatasetFacet(InputDatasetFacet):
    """What an edge says beside its ends."""

    role: str = attr.field(default=ROLE)
    position: int = attr.field(default=POSITION)
    durationS: float = attr.field(default=0.0)  # noqa: N815
    seed: int = attr.field(default=0)


set_producer("https://github.com/OpenLineage/OpenLineage")
path = f"{tempfile.mkdtemp()}/events.ndjson"
client = OpenLineageClient(transport=FileTransport(FileConfig(log_file_path=path, append=True)))
with timed(metadata.version("openlineage-python")):
    for child, parent, duration, seed in zip(CHILDREN, PARENTS, DURATIONS, SEEDS, strict=True):
        edge = EdgeInputDatasetFacet(durationS=duration, seed=seed)
        client.emit(
            RunEvent(
                eventTime=datetime.now(UTC).isoformat(),
                eventType=RunState.COMPLETE,
                run=Run(runId=child),
                job=Job(namespace="speech", name=TRANSFORM),
                inputs=[InputDataset(namespace="file", name=parent, inputFacets={"edge": edge})],
                outputs=[OutputDataset(namespace="file", name=child)],
            )
        )
with open(path) as stream:
    assert sum(1 for _ in stream) == ROWS
