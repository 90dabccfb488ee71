"""What a training run truly consumed, written down while it is consumed.

Planned is not consumed: samplers drop, loaders look ahead, runs end early. So whoever trains says what entered the model at
the moment when it does: `fit` for recipes, `EarmarkCallback` in anybody's `Trainer`, `training.loops.loop` in loops
written by hand. Each exposure is one row: optimiser step, place in the step, epoch, sample, weight, seed, and where it was
replayed from.

Where ids have to travel with a batch, through worker processes, prefetching and devices, `Carrying` packs them into it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from lineage.errors import EarmarkError
from lineage.ids import Halves, halves, id_array
from lineage.ingestion.identified import as_uuid
from lineage.runs import Run

TRAVELLER = "earmark_ids"
FLUSH = 1 << 16  # exposures in memory before they go to the run


class Exposures:
    """The exposures of one run; `count` of them so far.

    With `remember` they are kept for `take`, so that a run that goes on from this one can record them, too.
    """

    def __init__(self, run: Run, *, remember: bool = False) -> None:
        self.run = run
        self.remember = remember
        self.count = 0
        self._step = self._position = 0
        self._rows: list[tuple[Halves, npt.NDArray[Any], npt.NDArray[Any] | None, int, int, int, pa.Array, Halves]] = []
        self._pending = 0
        self._taken: list[pa.Table] = []

    def consumed(
        self,
        step: int,
        epoch: int,
        ids: Halves,
        weights: npt.NDArray[np.float32] | None = None,
        seeds: npt.NDArray[np.int64] | None = None,
        origins: Sequence[str | None] | None = None,
        places: Halves | None = None,
    ) -> None:
        """Note that the samples `ids` [n, 2] entered the model in this order, in optimiser step `step`.

        `origins` [n] are the sets that they were replayed from, None for new ones; `places` [n, 2] the samples of the set in
        whose places they stood, mostly they themselves.
        """
        if step != self._step:
            self._step, self._position = step, 0
        ones = np.ones(len(ids), dtype=np.float32)
        replayed = pa.nulls(len(ids), pa.string()) if origins is None else pa.array(origins, pa.string())
        weights = ones if weights is None else weights
        taken = ids if places is None else places
        self._rows.append((ids, weights, seeds, step, self._position, epoch, replayed, taken))
        self._position += len(ids)
        self._pending += len(ids)
        self.count += len(ids)
        if self._pending >= FLUSH:
            self.flush()

    def flush(self) -> None:
        """Hand what is noted to the run."""
        if not self._rows:
            return
        sizes = [len(r[0]) for r in self._rows]
        places = [r[4] + np.arange(n, dtype=np.int32) for n, r in zip(sizes, self._rows, strict=True)]
        seeds = [
            pa.nulls(n, pa.int64()) if r[2] is None else pa.array(r[2]) for n, r in zip(sizes, self._rows, strict=True)
        ]
        ids, places_taken = (np.concatenate([r[i] for r in self._rows]) for i in (0, 7))
        own = pa.array((ids == places_taken).all(axis=1))
        rows = pa.table(
            {
                "step": np.repeat([r[3] for r in self._rows], sizes).astype(np.int32),
                "position": np.concatenate(places),
                "epoch": np.repeat([r[5] for r in self._rows], sizes).astype(np.int32),
                "sample_id": id_array(ids),
                "weight": np.concatenate([r[1] for r in self._rows]).astype(np.float32),
                "seed": pa.chunked_array(seeds),
                "replayed_from": pa.chunked_array([r[6] for r in self._rows]),
                "instead_of": id_array(pc.if_else(own, None, id_array(places_taken).storage)),
            }
        )
        self.run.append("exposures", rows)
        if self.remember:
            self._taken.append(rows)
        self._rows.clear()
        self._pending = 0

    # -- going on after a crash --------------------------------------------------------------------------------------

    def take(self) -> pa.Table | None:
        """Exposures since the last call, as rows of the table without `run_id`; None if there are none."""
        self.flush()
        taken, self._taken = self._taken, []
        return pa.concat_tables(taken) if taken else None

    def recall(self, rows: pa.Table) -> None:
        """Record exposures of a run that this one goes on from."""
        self.run.append("exposures", rows)
        self.count += rows.num_rows


class Carrying:
    """A collator whose batches carry the sample ids of their items along, as a tensor [B, 2] under `TRAVELLER`.

    The items keep their id in `column`, which `collate` never sees. Picklable, because loaders send it to their workers.
    """

    def __init__(self, collate: Callable[[list[Any]], Any], column: str) -> None:
        self._collate = collate
        self._column = column

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> Any:
        """The batch of `items`.

        Raises:
            EarmarkError: an item has no id.
        """
        bare: list[Any] = []
        ids: list[uuid.UUID] = []
        for item in items:
            if not isinstance(item, Mapping) or item.get(self._column) is None:
                raise EarmarkError(
                    f"an item of the training data has no '{self._column}' — keep that column through map() and select()"
                )
            ids.append(as_uuid(item[self._column]))
            bare.append({k: v for k, v in item.items() if k != self._column})
        batch = self._collate(bare)
        batch[TRAVELLER] = torch.from_numpy(halves(ids).view(np.int64))
        return batch


def ids_in(batch: Any) -> Halves | None:
    """Take the ids that `Carrying` packed out of a batch [n, 2]; None if there are none."""
    ids = batch.pop(TRAVELLER, None) if hasattr(batch, "pop") else None
    return None if ids is None else ids.detach().cpu().numpy().view(np.uint64)
