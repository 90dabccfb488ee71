"""Progress of many like jobs, with an estimate of how long the rest will take, and what was spent."""

from __future__ import annotations

from training.comparison.costs import RateCard
from training.progress import Progress

HOUR = 3600.0


class Watch:
    """Counts jobs, `workers` of them at a time, and tells `progress` of each; `label` names them, `rates` are the prices."""

    def __init__(self, workers: int, progress: Progress, label: str, rates: RateCard | None = None) -> None:
        self._workers = workers
        self._progress = progress
        self._label = label
        self._rates = rates
        self._total = 0
        self._done = 0
        self._walls: list[float] = []
        self._cpu_s = 0.0
        self._gpu_s = 0.0

    def expect(self, jobs: int) -> None:
        """So many more are to be done."""
        self._total += jobs
        self._tell()

    def note(self, wall_s: float, cpu_s: float = 0.0, *, gpus: int = 0) -> None:
        """One more is done; 0 seconds if it was on record already, which says nothing about the others."""
        self._done += 1
        if wall_s > 0:
            self._walls.append(wall_s)
            self._cpu_s += cpu_s
            self._gpu_s += gpus * wall_s
        self._tell()

    def _tell(self) -> None:
        left = self._total - self._done
        label = self._label
        if self._walls:
            if left:
                label += f", about {spoken(sum(self._walls) / len(self._walls) * left / self._workers)} left"
            label += f"; {self._spent()} so far"
        self._progress(self._done, self._total, label)

    def _spent(self) -> str:
        parts = [f"{self._cpu_s / HOUR:.2g} CPU-hours"]
        if self._gpu_s:
            parts.append(f"{self._gpu_s / HOUR:.2g} GPU-hours")
        if self._rates is not None:
            parts.append(f"{self._rates.money(self._cpu_s, self._gpu_s):.2g} {self._rates.currency}")
        return ", ".join(parts)


def spoken(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
