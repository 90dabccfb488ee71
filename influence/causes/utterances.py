"""What stands behind a gap: one row an utterance, with its errors, reference words, speaker and conditions.

Several models that heard the same utterances are repeated measures of the same speakers, not more speakers: their errors are
averaged. Since every model heard every utterance, that is what an effect of its own for each model comes to, and the raw gap of
the mean is the mean of the raw gaps.

Numbers stay numbers and everything else is a category. What is not known is a value of its own: of a category the level
`unknown`, of a number NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lineage.errors import EarmarkError, UnknownName
from lineage.schema import TABLES
from lineage.sql import identifier
from lineage.store import Store

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Column = npt.NDArray[Any]

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Utterances:
    """n utterances: `errors` and `words` [n], `speakers` [n] (an utterance of nobody known is a block of its own).

    Errors are whole numbers of one model, means of several.

    `inside` [n] says which are in the slice in question; `columns` are conditions by name, numbers or objects [n].
    """

    samples: tuple[UUID, ...]
    errors: Floats
    words: Floats
    speakers: npt.NDArray[np.int64]
    inside: Mask
    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.samples)

    def only(self, kept: Mask) -> Utterances:
        """The utterances of a mask."""
        return replace(
            self,
            samples=tuple(s for s, k in zip(self.samples, kept, strict=True) if k),
            errors=self.errors[kept],
            words=self.words[kept],
            speakers=self.speakers[kept],
            inside=self.inside[kept],
            columns={name: values[kept] for name, values in self.columns.items()},
        )


def averaged(heard: Sequence[Utterances]) -> Utterances:
    """The same utterances as several models heard them, with the mean of their errors.

    Raises:
        ValueError: they are not the same.
    """
    first = heard[0]
    if any(h.samples != first.samples for h in heard):
        raise ValueError("the models did not hear the same utterances")
    return replace(first, errors=np.mean([h.errors for h in heard], axis=0))


def numeric(column: Column) -> bool:
    """Whether a condition is a number, not a category."""
    return column.dtype.kind == "f"


def load(store: Store, predictions: str, inside: pa.Array, columns: Sequence[str]) -> Utterances:
    """The utterances of a `predictions` run that have reference words; `inside` are the ids of the slice.

    Raises:
        EarmarkError: a column does not exist, or is of a kind that no two utterances share.
    """
    known = [*TABLES["samples"].names, *store.attributes()]
    for name in columns:
        if name not in known:
            raise UnknownName("column", name, [k for k in known if k not in ("attributes", "run_id")])
    wanted = "".join(f", s.{identifier(name)} AS {identifier('c_' + name)}" for name in columns)
    rows = store.sql(
        "SELECT p.sample_id, p.words, p.substitutions + p.deletions + p.insertions AS errors, s.speaker_key"
        f"{wanted} FROM predictions p LEFT JOIN samples s USING (sample_id) WHERE p.run_id = ? AND p.words > 0 "
        "QUALIFY row_number() OVER (PARTITION BY p.sample_id ORDER BY s.run_id DESC) = 1 ORDER BY p.sample_id",
        [predictions],
    )
    samples = tuple(rows["sample_id"].to_pylist())
    slice_ = set(inside.to_pylist())
    return Utterances(
        samples,
        np.array(rows["errors"].to_pylist(), dtype=np.float64),
        np.array(rows["words"].to_pylist(), dtype=np.float64),
        _speakers(rows["speaker_key"].to_pylist()),
        np.array([s in slice_ for s in samples], dtype=bool),
        {name: _column(name, rows["c_" + name]) for name in columns},
    )


def _speakers(keys: Sequence[UUID | None]) -> npt.NDArray[np.int64]:
    codes: dict[UUID | int, int] = {}
    return np.array([codes.setdefault(i if k is None else k, len(codes)) for i, k in enumerate(keys)], dtype=np.int64)


def _column(name: str, values: pa.ChunkedArray) -> Column:
    kind = values.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return np.array([np.nan if v is None else float(v) for v in values.to_pylist()], dtype=np.float64)
    if pa.types.is_nested(kind):
        raise EarmarkError(f"'{name}' is a list or map, not a condition of an utterance — adjust for another column")
    return np.array([UNKNOWN if v is None else str(v) for v in values.to_pylist()], dtype=object)
