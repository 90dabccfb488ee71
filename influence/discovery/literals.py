"""The conditions that slices are crossed from: values of attributes, and quarters of what was measured.

An attribute with a few values gives one condition for each. Numbers with many (duration, estimated SNR, speaking rate, an age)
are cut at their quartiles among the utterances at hand; edges are rounded to four digits, so that a slice can be read out.
What tells single clips apart is no feature, and a missing value meets no condition.

Law: a condition's mask is what its SQL text selects.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from influence.discovery.lattice import Literal
from lineage.sql import identifier, quote
from lineage.store import Store
from training.evaluation.slices import FEWEST_EACH, MOST_VALUES, attribute_of

CATEGORIES = ("source", "licence", "sample_rate", "channels", "language_tag", "scripts")
NUMBERS = (
    "duration_s", "words", "level_dbfs", "peak_dbfs", "clipped_share", "snr_estimate_db", "bandwidth_hz", "silence_share",
    "speaking_rate",
)  # fmt: skip
QUARTERS = (0.25, 0.5, 0.75)


def literals(store: Store, ids: pa.Array) -> list[Literal]:
    """Conditions on the samples `ids` (sorted), by feature in alphabetical order."""
    attributes = store.attributes()
    features = sorted({*CATEGORIES, *NUMBERS, *attributes})
    columns = ", ".join(f"s.{identifier(f)}{'' if f in NUMBERS else '::VARCHAR'} AS {identifier(f)}" for f in features)
    table = store.sql(
        f"SELECT {columns} FROM wanted LEFT JOIN samples s ON sample_id = id "
        "QUALIFY row_number() OVER (PARTITION BY id ORDER BY run_id DESC) = 1 ORDER BY id",
        tables={"wanted": pa.table({"id": ids})},
    )
    found: list[Literal] = []
    for feature in features:
        column = table[feature].to_pylist()
        numeric = feature in NUMBERS or attributes.get(feature) == "number"
        values = sorted({v for v in column if v is not None})
        if feature not in NUMBERS and 2 <= len(values) <= min(MOST_VALUES, len(column) // FEWEST_EACH):
            found += _each_value(feature, column, values)
        elif numeric and len(values) > len(QUARTERS):
            found += quarters(feature, np.array([np.nan if v is None else float(v) for v in column]))
    return found


def attributes_of(store: Store, ids: pa.Array) -> list[str]:
    """The attributes each of whose values is a condition on the samples `ids` (sorted)."""
    known = store.attributes()
    return sorted({x.feature for x in literals(store, ids) if x.feature in known and attribute_of(x.name) == x.feature})


def _each_value(feature: str, column: Sequence[str | None], values: Sequence[str]) -> list[Literal]:
    return [
        Literal(
            feature, f"{feature}={v}", f"{identifier(feature)} = {quote(v)}", np.array([x == v for x in column], dtype=bool)
        )
        for v in values
    ]  # fmt: skip


def quarters(feature: str, values: npt.NDArray[np.float64]) -> list[Literal]:
    """The quarters of numbers [n], NaN where missing; fewer than four where many are equal."""
    known = values[np.isfinite(values)]
    if not len(known):
        return []
    edges = sorted({float(f"{q:.4g}") for q in np.quantile(known, QUARTERS)})
    edges = [e for e in edges if known.min() <= e < known.max()]
    column = identifier(feature)
    found = []
    for low, high in zip([None, *edges], [*edges, None], strict=True):
        mask = np.isfinite(values)
        said, terms = feature, []
        if low is not None:
            mask &= values > low
            terms.append(f"{column} > {low!r}")
            said = f"{low:g} < {said}"
        if high is not None:
            mask &= values <= high
            terms.append(f"{column} <= {high!r}")
            said = f"{said} ≤ {high:g}"
        if terms and mask.any():
            found.append(Literal(feature, said, " AND ".join(terms), mask))
    return found
