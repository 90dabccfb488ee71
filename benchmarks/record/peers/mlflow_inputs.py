"""MLflow: every sample a logged input of a run, in batches, into SQLite."""

import json
import tempfile

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag
from rows import CHILDREN, DURATIONS, PARENTS, POSITION, ROLE, ROWS, SEEDS, TRANSFORM, timed

BATCH = 500
client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tempfile.mkdtemp()}/mlflow.db")
run = client.create_run(client.create_experiment("lineage")).info.run_id


def dataset(i: int) -> DatasetInput:
    """Sample i, with its parent as its source."""
    facts = json.dumps({"role": ROLE, "position": POSITION, "duration_s": DURATIONS[i], "seed": SEEDS[i]})
    child = CHILDREN[i]
    made = Dataset(name=child, digest=child[:8], source_type="local", source=PARENTS[i], profile=facts)
    return DatasetInput(made, tags=[InputTag("mlflow.data.context", TRANSFORM)])


with timed(mlflow.__version__):
    for start in range(0, ROWS, BATCH):
        client.log_inputs(run, datasets=[dataset(i) for i in range(start, min(start + BATCH, ROWS))])
assert len(client.get_run(run).inputs.dataset_inputs) == ROWS
