from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.data.order import Plan, epoch_order

seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.integers(0, 1000), st.integers(0, 200))
def test_an_order_is_a_permutation_and_nothing_but_its_arguments(seed: int, epoch: int, n: int) -> None:
    order = epoch_order(seed, epoch, n)
    assert sorted(order) == list(range(n))
    assert (order == epoch_order(seed, epoch, n)).all()


def test_orders_differ_where_they_should() -> None:
    assert len({tuple(epoch_order(s, e, 20)) for s in range(4) for e in range(4)}) == 16


def test_the_order_of_the_record_never_changes() -> None:
    # Golden: old runs could not be replayed if it moved.
    assert list(epoch_order(0, 0, 10)) == [0, 8, 6, 9, 5, 2, 3, 1, 7, 4]


@given(st.integers(1, 40), st.integers(1, 3), st.integers(1, 9), st.integers(1, 4), seeds)
def test_a_plan_meets_every_utterance_once_an_epoch(
    n: int, epochs: int, batch: int, accumulation: int, seed: int
) -> None:
    plan = Plan(n, epochs, batch, accumulation, seed)
    steps = list(plan)
    assert [s for s, _, _ in steps] == list(range(plan.steps))
    for epoch in range(epochs):
        met = np.concatenate([np.concatenate(parts) for _, e, parts in steps if e == epoch])
        assert (met == epoch_order(seed, epoch, n)).all()
    for step, _, parts in steps:
        assert len(parts) <= accumulation
        assert all((a == b).all() for a, b in zip(parts, plan.step(step), strict=True))
