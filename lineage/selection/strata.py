"""Dealing groups into parts that are alike in several attributes at once, so that what is rare is on every side.

Strata of one attribute can be dealt each by itself; of several they overlap, and their crossings are too small to be dealt at
all. *Iterative stratification* (Sechidis, Tsoumakas & Vlahavas, ECML PKDD 2011) takes the value that fewest are left of, deals
those to the parts that lack most of it, and goes on with the next. Whatever value is still missing in a part is then brought
there by moving a group, as long as that leaves fewer missing than before.

Laws, of values that at least as many groups have as there are parts:

* of one attribute, of which every group has one value, each is in every part;
* of several, nothing is missing in any part that moving one group would bring there without taking as much away (three
  attributes can ask for what no two parts can give: one value shared by a and b, one by b and c, one by a and c);
* the same groups, shares and places give the same parts, in whatever order the groups come.

Rarer values are dealt as if they were not there. Parts have their shares as closely as that allows: where most values are rare,
parts of small share come out larger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

Value = tuple[str, str]  # attribute and value
ANYBODY = ("", "")  # what all groups have: no part is empty


def deal(values: Sequence[Collection[Value]], shares: Sequence[float], places: Sequence[float]) -> list[int]:
    """The part of each group, from the values that it has and its place in [0, 1), which decides where nothing else does."""
    counts = Counter(v for own in values for v in {*own, ANYBODY})
    common = {v for v, count in counts.items() if count >= len(shares)}
    kept = [[v for v in sorted({*own, ANYBODY}) if v in common] for own in values]
    order = sorted(range(len(values)), key=lambda i: (places[i], kept[i]))
    dealt = _iteratively(kept, shares, places, order)
    _mend(dealt, kept, len(shares), order)
    return dealt


def _iteratively(
    values: Sequence[Sequence[Value]], shares: Sequence[float], places: Sequence[float], order: Sequence[int]
) -> list[int]:
    left = Counter(v for own in values for v in own)
    lacks = {v: [share * count for share in shares] for v, count in left.items()}
    dealt = [-1] * len(values)
    while left:
        rarest = min(left, key=lambda v: (left[v], v == ANYBODY, v))
        for i in order:
            if dealt[i] < 0 and rarest in values[i]:
                by_place = _by_place(places[i], shares)
                dealt[i] = max(
                    range(len(shares)),
                    key=lambda k: (round(lacks[rarest][k], 9), round(lacks[ANYBODY][k], 9), k == by_place),
                )
                for v in values[i]:
                    lacks[v][dealt[i]] -= 1
                    left[v] -= 1
        left = +left
    return dealt


def _by_place(place: float, shares: Sequence[float]) -> int:
    """Where a group goes by its place alone."""
    ends = [sum(shares[: k + 1]) for k in range(len(shares) - 1)]
    return sum(place >= end for end in ends)


def _mend(dealt: list[int], values: Sequence[Sequence[Value]], parts: int, order: Sequence[int]) -> None:
    """Move groups to where a value of theirs is missing, while that leaves fewer missing."""
    there = [
        Counter(v for own, k in zip(values, dealt, strict=True) if k == part for v in own) for part in range(parts)
    ]

    def gain(i: int, part: int) -> int:
        return sum((there[part][v] == 0) - (there[dealt[i]][v] == 1) for v in values[i])

    while True:
        moves = [(gain(i, k), -rank, i, k) for rank, i in enumerate(order) for k in range(parts) if k != dealt[i]]
        best = max(moves, default=(0, 0, 0, 0))
        if best[0] <= 0:
            return
        _, _, i, part = best
        there[dealt[i]].subtract(values[i])
        there[part].update(values[i])
        dealt[i] = part
