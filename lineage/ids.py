"""Sixteen-byte ids in bulk: between Python's `uuid.UUID`, Arrow's uuid arrays and numpy.

In numpy an id is the pair of its halves as big-endian numbers, [n, 2] of uint64, whose order is the order of the bytes.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Halves = npt.NDArray[np.uint64]


def id_array(ids: Iterable[uuid.UUID | str | None] | pa.Array | pa.ChunkedArray | Halves) -> pa.Array:
    """Any of the forms as one Arrow array of type `pa.uuid()`."""
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    if isinstance(ids, pa.Array):
        if ids.type == pa.uuid():
            return ids
        if pa.types.is_fixed_size_binary(ids.type):
            return pa.ExtensionArray.from_storage(pa.uuid(), ids)
        ids = ids.to_pylist()
    if isinstance(ids, np.ndarray):
        data = np.ascontiguousarray(ids.astype(">u8", copy=False))
        storage = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(data), [None, pa.py_buffer(data)])
        return pa.ExtensionArray.from_storage(pa.uuid(), storage)
    raw = [None if i is None else i.bytes if isinstance(i, uuid.UUID) else uuid.UUID(i).bytes for i in ids]
    return pa.ExtensionArray.from_storage(pa.uuid(), pa.array(raw, type=pa.binary(16)))


def halves(ids: pa.Array | pa.ChunkedArray | Iterable[uuid.UUID]) -> Halves:
    """Ids (none null) as [n, 2] native uint64, most significant half first."""
    storage = id_array(ids).storage
    if storage.null_count:
        raise ValueError("null where an id is needed")
    buffer = storage.buffers()[1]
    if buffer is None or len(storage) == 0:
        return np.empty((0, 2), dtype=np.uint64)
    raw = np.frombuffer(buffer, dtype=">u8")
    return raw.reshape(-1, 2)[storage.offset : storage.offset + len(storage)].astype(np.uint64)


def sort_unique(ids: Halves) -> Halves:
    """The distinct ids in byte order."""
    if len(ids) < 2:
        return ids.copy()
    high = ids[:, 0]
    out = ids if (high[1:] > high[:-1]).all() else _sorted(ids)
    fresh = np.ones(len(out), dtype=bool)
    fresh[1:] = (out[1:, 0] != out[:-1, 0]) | (out[1:, 1] != out[:-1, 1])
    return out[fresh] if not fresh.all() else out.copy() if out is ids else out


def _sorted(ids: Halves) -> Halves:
    """In byte order. Sorting one word that holds an id's leading bits and its place is several times faster than sorting
    places by ids; the few ids that agree in those bits are put right afterwards."""
    bits = np.uint64((len(ids) - 1).bit_length())
    words = ids[:, 0] >> bits << bits
    words |= np.arange(len(ids), dtype=np.uint64)
    words.sort()
    places = (words & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    words >>= bits
    # as one item of 16 bytes an id is moved in one go; rows of a matrix are moved word by word
    out: Halves = np.ascontiguousarray(ids).view(np.complex128).ravel()[places].view(np.uint64).reshape(-1, 2)
    tied = words[1:] == words[:-1]
    if tied.any():
        loose = np.r_[tied, False] | np.r_[False, tied]
        rows = out[loose]
        out[loose] = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    return out


def find(column: Halves, wanted: Halves) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where in `column`, sorted but perhaps with repeats, ids of `wanted` stand: (places in column, places in wanted).

    Ascending in both if `wanted` is sorted.
    """
    first = np.searchsorted(column[:, 0], wanted[:, 0], side="left")
    count = np.searchsorted(column[:, 0], wanted[:, 0], side="right") - first
    which = np.repeat(np.arange(len(wanted)), count)
    places = np.arange(len(which)) + np.repeat(first - (np.cumsum(count) - count), count)
    same = column[places, 1] == wanted[which, 1]
    return places[same], which[same]


def without(ids: Halves, others: Halves) -> Halves:
    """Those of `ids` that are not among `others`; both sorted, `others` distinct."""
    kept = np.ones(len(ids), dtype=bool)
    kept[find(others, ids)[1]] = False
    return ids[kept]


def nested_id_array(lists: Iterable[Iterable[uuid.UUID] | None], type: pa.DataType) -> pa.Array:
    """Lists of ids as an Arrow array of `type` list<uuid>, which `pa.array` cannot build from Python."""
    offsets, valid = [0], []
    flat: list[uuid.UUID] = []
    for item in lists:
        valid.append(item is not None)
        flat.extend(item or ())
        offsets.append(len(flat))
    mask = pa.array([not v for v in valid], type=pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets, type=pa.int32()), id_array(flat), type=type, mask=mask)


def column(values: Any, type: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """Python, numpy or Arrow values as one column of `type`."""
    if type == pa.uuid():
        return id_array(values)
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values if values.type == type else values.cast(type)
    if pa.types.is_list(type) and type.value_type == pa.uuid():
        return nested_id_array(values, type)
    return pa.array(values, type=type)
