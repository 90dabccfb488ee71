"""Overlap (positivity): whether both sides of a gap were heard under the same conditions at all.

Where no utterance of the slice, or none of the others, was recorded under some condition, nothing but the model's arithmetic
says what the errors would have been there. Such cells are named and left out; where little remains, the adjusted gap is
refused (Hernán & Robins, *Causal Inference: What If*, 2020, chapter 3).

A cell is a crossing of all categories; numbers are cut at their quartiles and each is looked at by itself, for a crossing of
many numbers is empty almost everywhere. Laws: cells do not depend on the errors; what is kept is supported in every cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from influence.causes.utterances import UNKNOWN, Column, Mask, Utterances, numeric
from lineage.errors import EarmarkError

FEWEST = 3  # utterances of either side that make a cell supported
LEAST = 0.5  # share of the slice's words that has to remain
BINS = 4
SHOWN = 6


@dataclass(frozen=True)
class Cell:
    """Conditions under which too few utterances of one side were heard; counts of utterances."""

    name: str
    inside: int
    outside: int


@dataclass(frozen=True)
class Overlap:
    """Where both sides were heard: `kept` of the `utterances`; `share_inside` and `share_outside` of the words of each side."""

    unsupported: tuple[Cell, ...]
    share_inside: float
    share_outside: float
    kept: int
    utterances: int

    @property
    def whole(self) -> bool:
        """Whether nothing had to be left out."""
        return self.kept == self.utterances


def overlap(utterances: Utterances) -> tuple[Mask, Overlap]:
    """Which utterances have counterparts on the other side under all conditions in `utterances.columns`, and what was lost."""
    labels = _labels(utterances.columns, len(utterances))
    kept = np.ones(len(utterances), dtype=bool)
    cells: dict[str, Cell] = {}
    while True:
        lost = np.zeros_like(kept)
        for column in labels:
            for name in sorted(set(column[kept])):
                here = kept & (column == name)
                inside = int((here & utterances.inside).sum())
                outside = int(here.sum()) - inside
                if min(inside, outside) < FEWEST:
                    cells.setdefault(name, Cell(name, inside, outside))
                    lost |= here
        if not lost.any():
            break
        kept &= ~lost
    shares = [
        float(utterances.words[kept & side].sum() / max(utterances.words[side].sum(), 1.0))
        for side in (utterances.inside, ~utterances.inside)
    ]
    return kept, Overlap(tuple(cells.values()), shares[0], shares[1], int(kept.sum()), len(kept))


def refuse_without_support(found: Overlap, slice_name: str) -> None:
    """Refuse a gap most of whose slice has no counterpart.

    Raises:
        EarmarkError: with the cells that lack support.
    """
    if found.share_inside >= LEAST and found.share_outside > 0:
        return
    raise EarmarkError(
        f"no overlap: {1 - found.share_inside:.0%} of the words of {slice_name} were said under conditions in which the "
        f"others, or too few of either, were heard: {named(found.unsupported)} — adjust for less, or record both alike"
    )


def named(cells: Sequence[Cell]) -> str:
    """Cells in words, the first few of them."""
    said = [f"{c.name} ({c.inside} in the slice, {c.outside} others)" for c in cells[:SHOWN]]
    more = f" and {len(cells) - SHOWN} more" if len(cells) > SHOWN else ""
    return "; ".join(said) + more


def _labels(columns: Mapping[str, Column], n: int) -> list[Column]:
    """For the crossing of the categories, and for each number, the name of the cell of every utterance."""
    crossed = [
        np.array([f"{name}={v}" for v in values], dtype=object)
        for name, values in columns.items()
        if not numeric(values)
    ]
    labels = [_bins(name, values) for name, values in columns.items() if numeric(values)]
    if crossed:
        labels.append(np.array([" & ".join(parts) for parts in zip(*crossed, strict=True)], dtype=object))
    return [label for label in labels if len(label) == n]


def _bins(name: str, values: Column) -> Column:
    there = values[np.isfinite(values)]
    edges = np.unique(np.quantile(there, np.linspace(0, 1, BINS + 1))) if len(there) else np.zeros(1)
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
    return np.array(
        [
            f"{name}={UNKNOWN}"
            if not np.isfinite(v)
            else f"{name} {edges[i]:.3g} to {edges[min(i + 1, len(edges) - 1)]:.3g}"
            for v, i in zip(values, place, strict=True)
        ],
        dtype=object,
    )
