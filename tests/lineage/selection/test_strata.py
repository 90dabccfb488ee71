"""Laws of dealing groups so that every value is in every part."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from lineage.selection.strata import ANYBODY, Value, deal

SHARES = st.sampled_from([(0.5, 0.5), (0.8, 0.2), (0.4, 0.3, 0.3), (0.05, 0.95)])
ATTRIBUTES = ("accent", "gender", "device")


@st.composite
def groups(draw: st.DrawFn, attributes: int) -> tuple[list[set[Value]], list[float]]:
    """Groups with one value of each attribute, some of them unknown, and their places."""
    n = draw(st.integers(3, 30))
    values = [
        {(a, str(v)) for a in ATTRIBUTES[:attributes] if (v := draw(st.none() | st.integers(0, 6))) is not None}
        for _ in range(n)
    ]
    return values, draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=n, max_size=n, unique=True))


def missing(values: list[set[Value]], dealt: list[int], parts: int) -> set[tuple[Value, int]]:
    """Which values that could be everywhere are missing where."""
    counts = Counter(v for own in values for v in {*own, ANYBODY})
    there = {(v, k) for own, k in zip(values, dealt, strict=True) for v in {*own, ANYBODY}}
    return {(v, k) for v, n in counts.items() if n >= parts for k in range(parts)} - there


@given(groups(1), SHARES)
def test_of_one_attribute_what_can_be_everywhere_is(
    given: tuple[list[set[Value]], list[float]], shares: tuple[float, ...]
) -> None:
    values, places = given
    assert missing(values, deal(values, shares, places), len(shares)) == set()


@given(groups(3), SHARES)
def test_of_several_no_single_move_would_mend_anything(
    given: tuple[list[set[Value]], list[float]], shares: tuple[float, ...]
) -> None:
    values, places = given
    dealt = deal(values, shares, places)
    left = len(missing(values, dealt, len(shares)))
    for i in range(len(dealt)):
        for k in range(len(shares)):
            moved = [*dealt[:i], k, *dealt[i + 1 :]]
            assert len(missing(values, moved, len(shares))) >= left


@given(groups(3), SHARES, st.randoms())
def test_the_order_of_groups_does_not_matter(
    given: tuple[list[set[Value]], list[float]], shares: tuple[float, ...], chance: st.DataObject
) -> None:
    values, places = given
    order = list(range(len(values)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    dealt = deal(values, shares, places)
    assert deal([values[i] for i in order], shares, [places[i] for i in order]) == [dealt[i] for i in order]


@given(groups(1))
def test_halves_of_each_value_differ_by_one_at_most(given: tuple[list[set[Value]], list[float]]) -> None:
    values, places = given
    dealt = deal(values, (0.5, 0.5), places)
    for value in {v for own in values for v in own}:
        halves = [sum(value in own and k == part for own, k in zip(values, dealt, strict=True)) for part in (0, 1)]
        if sum(halves) > 1:
            assert abs(halves[0] - halves[1]) <= 1


def test_common_values_meet_the_shares_nearly_and_places_tell_who_goes_where() -> None:
    values = [{("accent", "north" if i % 2 else "south"), ("noise", str(i % 5))} for i in range(200)]
    places = [(37 * i % 200) / 200 for i in range(200)]
    dealt = deal(values, (0.8, 0.2), places)
    second = Counter(v for own, k in zip(values, dealt, strict=True) if k == 1 for v in own)
    assert len(second) == 7
    for (name, _), count in second.items():
        assert abs(count - (20 if name == "accent" else 8)) <= 4  # a fiftieth of the groups
    assert deal(values, (0.8, 0.2), places[::-1]) != dealt


def test_a_value_of_fewer_groups_than_parts_weighs_nothing() -> None:
    alone = [{("who", str(i))} for i in range(10)]
    places = [i / 10 for i in range(10)]
    assert deal(alone, (0.7, 0.3), places) == deal([set()] * 10, (0.7, 0.3), places)
    assert deal(alone, (0.7, 0.3), places).count(0) == 7
