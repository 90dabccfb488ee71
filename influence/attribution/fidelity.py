"""How far gradients may be believed: predicted effects beside measured ones.

For each cell of an audit, the sum of the influences of the left-out samples on the evaluation slice is what attribution
predicts, and the effect is what retraining measured. Their correlation over cells says whether the map shows the country:
Spearman's for the order, Pearson's for the proportions, on loss (what influences are about) and on WER (what people want).

Intervals come from resampling training slices and evaluation slices, each with replacement, because cells that share a slice
are not independent. What was measured is itself uncertain, so even a perfect prediction would not correlate perfectly;
`ceiling` estimates how well one could do: the root of the measurement's reliability, 1 − mean squared error / variance
(Spearman, Am. J. Psychol. 15, 1904).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from lineage.errors import EarmarkError, UnknownName
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from training.statistics.bootstrap import LEVEL, REPLICATES

Array = npt.NDArray[np.float64]
FEWEST_CELLS = 4


@dataclass(frozen=True)
class Compared:
    """One cell: what was predicted and what was measured, with the interval of the measurement; positive: helps."""

    train_slice: str
    eval_slice: str
    predicted: float
    measured: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Correlation:
    """A correlation over cells with its interval; NaN where there are too few cells or they do not vary."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Fidelity:
    """How one method's predictions compare with one audit's measurements of one metric."""

    method: str
    model_id: str
    audit: str
    metric: str
    cells: tuple[Compared, ...]
    spearman: Correlation
    pearson: Correlation
    ceiling: float


def fidelity(
    store: Store,
    *,
    method: str | None = None,
    model: str | None = None,
    audit: str | None = None,
    metric: str = "loss",
    own: bool | None = None,
    level: float = LEVEL,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Fidelity:
    """Compare the newest attribution (of `method`, of `model`) with the newest audit (or the one named).

    `own` keeps only cells of a slice on itself (True) or on others (False).

    Raises:
        EarmarkError: there is no attribution or audit on record, or none of their slices are the same sets.
    """
    attribution = _newest(store, "attribute", {"method": method, "model": model})
    measured = _newest(store, "ablate", {"audit": audit})
    rows = store.sql(
        """
        WITH part AS (SELECT DISTINCT set_digest, sample_id FROM members)
        SELECT e.train_slice, e.eval_slice, sum(i.value) AS predicted, any_value(e.estimate) AS measured,
               any_value(e.low) AS low, any_value(e.high) AS high
        FROM effects e
        JOIN part m ON m.set_digest = e.train_set
        JOIN influences i ON i.sample_id = m.sample_id AND i.target_set = e.eval_set
        WHERE e.run_id = ? AND i.run_id = ? AND e.metric = ? AND coalesce(e.intervention, 'remove') = 'remove'
        GROUP BY e.train_slice, e.eval_slice ORDER BY e.train_slice, e.eval_slice
        """,
        [measured.id, attribution.id, metric],
    ).to_pylist()
    if own is not None:
        rows = [r for r in rows if (r["train_slice"] == r["eval_slice"]) == own]
    if not rows:
        raise EarmarkError(
            f"attribution {attribution.id[:13]} and audit {measured.id[:13]} have no slices in common — attribute with the "
            "audit's evaluation slices as targets"
        )
    cells = tuple(Compared(**r) for r in rows)
    spearman, pearson = correlations(cells, level=level, replicates=replicates, seed=seed)
    return Fidelity(
        attribution.config["method"],
        attribution.config["model"],
        measured.config["audit"],
        metric,
        cells,
        spearman,
        pearson,
        _ceiling(cells, level),
    )


def correlations(
    cells: Sequence[Compared], *, level: float = LEVEL, replicates: int = REPLICATES, seed: int = 0
) -> tuple[Correlation, Correlation]:
    """Spearman's and Pearson's correlation of predicted and measured, with crossed-bootstrap intervals."""
    x = np.array([c.predicted for c in cells])
    y = np.array([c.measured for c in cells])
    ranks = stats.rankdata(x), stats.rankdata(y)
    whole = np.ones((1, len(cells)))
    rows = _codes([c.train_slice for c in cells])
    columns = _codes([c.eval_slice for c in cells])
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, len(cells)], dtype=np.uint64)))
    counts = _draw(rows, replicates, rng)
    if any(c.train_slice != c.eval_slice for c in cells):
        counts = counts * _draw(columns, replicates, rng)
    found = []
    for a, b in (ranks, (x, y)):
        value = float(_weighted(a, b, whole)[0])
        spread = _weighted(a, b, counts)
        spread = spread[np.isfinite(spread)]
        enough = len(cells) >= FEWEST_CELLS and len(spread) >= replicates / 2 and np.isfinite(value)
        low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2]) if enough else (np.nan, np.nan)
        found.append(Correlation(value if len(cells) >= FEWEST_CELLS else float("nan"), float(low), float(high)))
    return found[0], found[1]


def _draw(codes: npt.NDArray[np.int64], replicates: int, rng: np.random.Generator) -> Array:
    """How often each cell's slice is drawn, [replicates, cells]; slices that occur once cannot be resampled."""
    count = int(codes.max()) + 1
    if count == 1:
        return np.ones((replicates, len(codes)))
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=replicates)
    return drawn[:, codes].astype(np.float64)


def _weighted(x: Array, y: Array, weights: Array) -> Array:
    """Pearson's correlation of x and y under each row of weights; NaN where either does not vary."""
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        dx = x - (weights @ x / total)[:, None]
        dy = y - (weights @ y / total)[:, None]
        covariance = (weights * dx * dy).sum(axis=1)
        return np.asarray(covariance / np.sqrt((weights * dx**2).sum(axis=1) * (weights * dy**2).sum(axis=1)))


def _ceiling(cells: Sequence[Compared], level: float) -> float:
    known = [c for c in cells if c.low is not None and c.high is not None]
    measured = np.array([c.measured for c in known])
    if len(known) < FEWEST_CELLS or not measured.var():
        return float("nan")
    errors = np.array([(c.high or 0.0) - (c.low or 0.0) for c in known]) / (2 * stats.norm.ppf((1 + level) / 2))
    return float(np.sqrt(max(0.0, 1 - (errors**2).mean() / measured.var(ddof=1))))


def _codes(labels: Sequence[str]) -> npt.NDArray[np.int64]:
    return np.unique(np.array(labels, dtype=object), return_inverse=True)[1].ravel()


def _newest(store: Store, kind: str, wanted: dict[str, str | None]) -> RunInfo:
    """The newest completed run of a kind whose configuration has the wanted values; ids may be shortened."""
    runs = [r for r in store.runs() if r.kind == kind and r.status == "completed"]
    fitting = [r for r in runs if all(v is None or str(r.config.get(n, "")).startswith(v) for n, v in wanted.items())]
    if not fitting:
        noun = {"attribute": "attribution", "ablate": "audit"}[kind]
        asked = ", ".join(f"{n} {v}" for n, v in wanted.items() if v is not None)
        known = [str(r.config.get(n, "")) for r in runs for n, v in wanted.items() if v is not None]
        raise UnknownName(
            noun, asked or "at all", known, f"make one with: earmark {noun.replace('attribution', 'attribute')}"
        )
    return fitting[-1]
