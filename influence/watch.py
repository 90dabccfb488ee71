"""How long the rest will take: progress of many like jobs, with an estimate of the time left."""

from __future__ import annotations

from training.progress import Progress


class Watch:
    """Counts `total` jobs run by `workers` at a time and tells `progress` of each; `label` names them."""

    def __init__(self, total: int, workers: int, progress: Progress, label: str) -> None:
        self._total = total
        self._workers = workers
        self._progress = progress
        self._label = label
        self._done = 0
        self._walls: list[float] = []
        progress(0, total, label)

    def note(self, wall_s: float) -> None:
        """One more is done; 0 seconds if it was on record already, which says nothing about the others."""
        self._done += 1
        if wall_s > 0:
            self._walls.append(wall_s)
        left = self._total - self._done
        label = self._label
        if self._walls and left:
            label += f", about {spoken(sum(self._walls) / len(self._walls) * left / self._workers)} left"
        self._progress(self._done, self._total, label)


def spoken(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
