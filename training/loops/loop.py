"""Training loops written by hand, on the record.

    with recorded("my-store", name="mine", data="train", config={"lr": 1e-3}, seed=1, epochs=3) as run:
        for step, batch in enumerate(loader):
            …
            run.consumed(step, batch["sample_id"])
        run.model(model)

An exception in the block makes the run fail and Ctrl-C aborts it, on record and without a row. The caller answers for what
nobody can see from outside: that `consumed` is told of each batch at the moment when it is trained on.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lineage.errors import EarmarkError
from lineage.ids import halves
from lineage.ingestion.identified import as_uuid, check_recorded, identify
from lineage.selection.sets import SampleSet, resolve_set
from lineage.store import Store
from training.loops.keep import keep_model
from training.loops.script import Session, on_record, plain


class RecordedLoop:
    """A loop at work; made by `recorded`."""

    def __init__(self, session: Session, name: str, seed: int | None) -> None:
        self._session = session
        self._name = name
        self._seed = seed
        self._steps = 0

    @property
    def id(self) -> str:
        """Of the run."""
        return self._session.run.id

    @property
    def result(self) -> dict[str, Any]:
        """Facts about the outcome, to be added to; JSON, and nothing personal."""
        return self._session.run.result

    def consumed(
        self,
        step: int,
        ids: Iterable[uuid.UUID | str | bytes],
        *,
        epoch: int = 0,
        weights: Sequence[float] | torch.Tensor | None = None,
        seeds: Sequence[int] | None = None,
    ) -> None:
        """Note that these samples entered the model in optimiser step `step` (from 0), in this order.

        `weights` are theirs in the loss (default 1), `seeds` those of augmentation on the fly.

        Raises:
            EarmarkError: what is given is no id, or there are not as many weights or seeds as ids.
        """
        pairs = halves([as_uuid(i) for i in ids])
        held = None if weights is None else np.asarray(torch.as_tensor(weights).detach().cpu(), dtype=np.float32)
        drawn = None if seeds is None else np.asarray(seeds, dtype=np.int64)
        for what, given in (("weights", held), ("seeds", drawn)):
            if given is not None and given.shape != (len(pairs),):
                raise EarmarkError(f"{len(pairs)} samples and {what} of shape {given.shape} — give one for each sample")
        self._session.exposures.consumed(step, epoch, pairs, held, drawn)
        self._steps = max(self._steps, step + 1)
        self.result["steps"] = self._steps

    def model(self, model: torch.nn.Module, *, name: str | None = None, processor: Any = None) -> str:
        """Put the model on record with the weights that it has now; returns its id (see `training.loops.keep`)."""
        return keep_model(
            self._session.run,
            model,
            name=name or self._name,
            set_digest=self._session.settle(),
            seed=self._seed,
            processor=processor,
        )


@contextmanager
def recorded(
    store: Store | str | Path,
    *,
    name: str,
    data: Any = None,
    config: Mapping[str, Any] | None = None,
    seed: int | None = None,
    epochs: float | None = None,
    steps: int | None = None,
) -> Iterator[RecordedLoop]:
    """Put the training in the block on record as a run of job `name`.

    Args:
        store: the store or its folder.
        name: of job and model.
        data: what is to be consumed: the name or digest of a set, a data set or list of rows with a column `sample_id`, or
            ids. None takes what will have been consumed for it.
        config: the script's own; numbers and short texts go on the record, paths do not.
        seed: of the script.
        epochs, steps: how much is planned (`earmark consumed` holds it against what came).

    Raises:
        PolicyRefused: the policy in force does not let the run use the set.
        EarmarkError: there is no such store, set or sample.
    """
    store = store if isinstance(store, Store) else Store.open(store)
    with on_record(
        store, name, _planned(store, data, name), config={"script_config": plain(config or {})}, seed=seed
    ) as session:
        session.run.result["planned"] = {"epochs": epochs, "steps": steps}
        yield RecordedLoop(session, name, seed)


def _planned(store: Store, data: Any, name: str) -> SampleSet | list[uuid.UUID] | None:
    if data is None or isinstance(data, SampleSet):
        return data
    if isinstance(data, str):
        return resolve_set(store, data)
    if hasattr(data, "column_names") or (isinstance(data, (list, tuple)) and data and isinstance(data[0], Mapping)):
        return identify(store, data, name=name)[1]
    ids = [as_uuid(i) for i in data]
    check_recorded(store, ids)
    return ids
