"""MLflow: every sample a logged input of a run, in batches, into SQLite."""

import json
import sys
import tempfile
import time
import uuid

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag

BATCH = 500
rows = int(sys.argv[1])
client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tempfile.mkdtemp()}/mlflow.db")
run = client.create_run(client.create_experiment("lineage"))
ids = [str(uuid.uuid4()) for _ in range(rows + 1)]
began = time.perf_counter()
for start in range(0, rows, BATCH):
    inputs = [
        DatasetInput(
            Dataset(name=child, digest=child[:8], source_type="local", source=parent),
            tags=[InputTag("mlflow.data.context", "speed")],
        )
        for child, parent in zip(ids[start + 1 : start + BATCH + 1], ids[start : start + BATCH], strict=False)
    ]
    client.log_inputs(run.info.run_id, datasets=inputs)
seconds = time.perf_counter() - began
assert len(client.get_run(run.info.run_id).inputs.dataset_inputs) == rows
print(json.dumps({"rows": rows, "seconds": seconds, "version": mlflow.__version__}))
