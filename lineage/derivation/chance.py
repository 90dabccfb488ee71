"""Chance on the record: random numbers, and parameters that are drawn instead of given.

Random choices come from `Draw` alone, which hashes a seed, the ids of the parents and the name of the choice: they are
the same in whatever order or batch a sample comes, and on whatever version of numpy.

A parameter whose type is marked `DRAWN` may be given as a value, as a range `[low, high]` that a number is drawn from, or
as a list of names of which one is taken. The range is what the record keeps; with the seed it says what was drawn.

Law: `settle` gives plain values alone, and gives a plain value as it is.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BeforeValidator, Discriminator, Tag
from pydantic.fields import FieldInfo

DRAWN = "drawn"  # in the type of a parameter: it may be a range, or a list of names


class Draw:
    """Random numbers that depend on a seed and on names, and on nothing else."""

    def __init__(self, seed: int, parents: Sequence[uuid.UUID]) -> None:
        self._head = f"{seed}\x00".encode() + b"".join(p.bytes for p in parents)

    def unit(self, what: bytes) -> float:
        """Uniform in [0, 1), a fresh one for every name."""
        return (int.from_bytes(hashlib.sha256(self._head + what).digest()[:8], "big") >> 11) / 2.0**53

    def units(self, what: bytes, n: int) -> npt.NDArray[np.float64]:
        """`n` of them at once: Philox's raw stream, which numpy keeps stable over versions."""
        key = np.frombuffer(hashlib.sha256(self._head + what).digest()[:16], dtype="<u8").astype(np.uint64)
        return (np.random.Philox(key=key).random_raw(n) >> np.uint64(11)) / 2.0**53

    def fork(self, what: bytes) -> Draw:
        """Numbers that have nothing to do with these, others for every name."""
        other = Draw(0, ())
        other._head = hashlib.sha256(self._head + b"fork " + what).digest()
        return other

    def choose(self, pool: Sequence[uuid.UUID]) -> uuid.UUID:
        """One of a pool, each as likely. Whoever did not draw a member draws the same when that member is taken away."""
        return max(pool, key=lambda member: (self.unit(member.bytes), member))


def ranged(hint: Any) -> Any:
    """The type that a parameter of type `hint` is checked against: also a range or a list of it, if it is marked `DRAWN`."""
    if get_origin(hint) is not Annotated or DRAWN not in get_args(hint):
        return hint
    plain = get_args(hint)[0]
    if get_origin(plain) is Literal:
        several: Any = Annotated[tuple[hint, ...], BeforeValidator(_not_empty)]
    else:
        several = Annotated[tuple[hint, hint], BeforeValidator(_two), AfterValidator(_ascending)]
    described = [item for item in get_args(hint) if isinstance(item, FieldInfo)]
    meaning = FieldInfo(description=described[0].description if described else None)
    return Annotated[Annotated[hint, Tag("value")] | Annotated[several, Tag("range")], Discriminator(_form), meaning]


def is_drawn(parameters: Mapping[str, Any]) -> bool:
    """Whether any parameter is to be drawn."""
    return any(isinstance(value, list) for value in parameters.values())


def settle(parameters: Mapping[str, Any], draw: Draw) -> dict[str, Any]:
    """Checked parameters with every range and list drawn from."""
    return {
        name: _one(value, draw.unit(b"parameter " + name.encode())) if isinstance(value, list) else value
        for name, value in parameters.items()
    }


def _one(values: Sequence[Any], unit: float) -> Any:
    if isinstance(values[0], str):
        return values[int(unit * len(values))]
    low, high = values
    return low + unit * (high - low)


def _form(value: Any) -> str:
    return "range" if isinstance(value, (list, tuple)) else "value"


def _two(value: Any) -> Any:
    if len(value) != 2:
        raise ValueError(f"a range has two ends, [low, high], not {len(value)}")
    return value


def _not_empty(value: Any) -> Any:
    if not value:
        raise ValueError("a list to choose from holds at least one name")
    return value


def _ascending(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"a range goes upwards, [low, high], not from {ends[0]:g} to {ends[1]:g}")
    return ends
