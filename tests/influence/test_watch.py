from __future__ import annotations

from influence.watch import Watch
from training.comparison.costs import RateCard


def test_what_is_left_and_what_was_spent_is_told() -> None:
    told: list[tuple[int, int, str]] = []
    rates = RateCard(currency="EUR", cpu_hour=2.0, gpu_hour=10.0)
    watch = Watch(2, lambda *a: told.append(a), "retraining", rates)
    watch.expect(4)
    watch.note(0.0, 3600.0)  # was on record: neither time nor cost
    assert told == [(0, 4, "retraining"), (1, 4, "retraining")]
    watch.note(100.0, 1800.0)
    assert told[-1] == (2, 4, "retraining, about 2 min left; 0.5 CPU-hours, 1 EUR so far")
    watch.note(140.0, 1800.0)
    watch.expect(1)  # another round
    assert told[-1] == (3, 5, "retraining, about 2 min left; 1 CPU-hours, 2 EUR so far")
    watch.note(3600.0, 0.0, gpus=1)
    watch.note(3600.0, 0.0, gpus=1)
    assert told[-1] == (5, 5, "retraining; 1 CPU-hours, 2 GPU-hours, 22 EUR so far")
