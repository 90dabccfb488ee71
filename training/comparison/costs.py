"""What runs cost, and what that bought: quantities from the record, money from a rate card.

    currency: EUR
    cpu_hour: 0.05          # of one core
    gpu_hour: 2.40          # of one device, from the beginning of a run to its end
    kwh: 0.30               # of what was measured; leave it out where the hours include power
    gb_month: 0.02          # of what lies in the store, 10^9 bytes for a month
    data_hour: 90           # of speech collected and transcribed

A rate card is given to a question, or adopted for the store (`adopt`), as policies are. Money of a run is what it cost once;
what it keeps costs every month and stands apart.

Laws: runs within runs are counted once (`lineage.machine.meter`), so the costs of parts add up to those of the whole;
failed runs have cost, too; an artifact that several runs made is kept once, by the first. What could not be measured is
None, never zero, and money does not include it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from lineage.storage import artifacts
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from lineage.written import Written

By = Literal["kind", "job", "model"]
GIGABYTE = 1e9
JOULES = 3.6e6  # of a kilowatt-hour


class RateCard(Written):
    """Prices; see the head of this module. What is left out costs nothing."""

    KIND = "rate card"
    BEGIN = "currency: EUR"

    name: str = Field("rates", min_length=1, max_length=200, description="What people call it.")
    currency: str = Field(min_length=1, max_length=12, description="Of all prices, e.g. EUR.")
    cpu_hour: float = Field(0.0, ge=0, allow_inf_nan=False, description="An hour of one processor core.")
    gpu_hour: float = Field(0.0, ge=0, allow_inf_nan=False, description="An hour of one GPU.")
    kwh: float = Field(0.0, ge=0, allow_inf_nan=False, description="A kilowatt-hour.")
    gb_month: float = Field(0.0, ge=0, allow_inf_nan=False, description="10^9 bytes kept for a month.")
    data_hour: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="An hour of speech, collected and transcribed."
    )

    def money(self, cpu_s: float, gpu_s: float = 0.0, energy_j: float | None = None) -> float:
        """What so much work costs."""
        return (cpu_s * self.cpu_hour + gpu_s * self.gpu_hour) / 3600 + (energy_j or 0.0) / JOULES * self.kwh


@dataclass(frozen=True)
class Cost:
    """What one run cost, or several together (then `peak_bytes` is the largest); None: not measured, or no prices.

    `money` was spent once, `monthly` is spent on what is kept. `unmetered` runs have no energy on record.
    """

    what: str
    runs: int
    cpu_s: float
    gpu_s: float
    peak_bytes: int
    read_bytes: int | None
    written_bytes: int | None
    kept_bytes: int
    energy_j: float | None
    unmetered: int
    money: float | None
    monthly: float | None


def adopt(store: Store, rates: RateCard | None) -> str:
    """Let these prices hold from now on, or none; the id of the run that says so."""
    config = {"rates": None if rates is None else rates.model_dump(mode="json")}
    with store.run("rates", job=rates.name if rates else "none", config=config, package="training") as run:
        run.result = {"digest": rates.digest if rates else None}
    return run.id


def in_force(store: Store) -> RateCard | None:
    """The rate card that was adopted last, in the order of the log."""
    said = [m.run for m in store.manifests() if m.run.kind == "rates" and m.run.status == "completed"]
    fields = said[-1].config["rates"] if said else None
    return None if fields is None else RateCard.parse(fields, f"rate card of run {said[-1].id}")


def costs(store: Store, rates: RateCard | None = None) -> list[tuple[RunInfo, Cost]]:
    """Every run with its cost, oldest first; `rates` instead of those in force."""
    prices = rates or in_force(store)
    kept = _kept(store)
    return [(run, _of(run, kept.get(run.id, 0), prices)) for run in store.runs()]


def by(store: Store, what: By, rates: RateCard | None = None) -> list[Cost]:
    """Costs added up by kind of run, by job, or by model: trained, measured and attributed. Dearest first."""
    label = _labels(store)[what]
    groups: dict[str, list[Cost]] = {}
    for run, cost in costs(store, rates):
        groups.setdefault(label(run), []).append(cost)
    added = [total(parts, name) for name, parts in groups.items()]
    return sorted(added, key=lambda c: (-(c.money or 0.0), -c.cpu_s - c.gpu_s, c.what))


def total(parts: Iterable[Cost], what: str = "all") -> Cost:
    """Costs of several runs together."""
    given = list(parts)
    return Cost(
        what,
        sum(c.runs for c in given),
        sum(c.cpu_s for c in given),
        sum(c.gpu_s for c in given),
        max((c.peak_bytes for c in given), default=0),
        _sum(c.read_bytes for c in given),
        _sum(c.written_bytes for c in given),
        sum(c.kept_bytes for c in given),
        _sum(c.energy_j for c in given),
        sum(c.unmetered for c in given),
        _sum(c.money for c in given),
        _sum(c.monthly for c in given),
    )


def _of(run: RunInfo, kept: int, prices: RateCard | None) -> Cost:
    gpu_s = run.gpu_s or 0.0
    money = None if prices is None else prices.money(run.cpu_s, gpu_s, run.energy_j)
    monthly = None if prices is None else kept / GIGABYTE * prices.gb_month
    return Cost(
        run.id, 1, run.cpu_s, gpu_s, run.peak_bytes, run.read_bytes, run.written_bytes, kept, run.energy_j,
        int(run.energy_j is None), money, monthly,
    )  # fmt: skip


def _labels(store: Store) -> dict[str, Callable[[RunInfo], str]]:
    names = store.read("models", ["model_id", "any_value(name) AS name"], "true GROUP BY model_id").to_pylist()
    known = {m["model_id"]: f"{m['name'] or ''} {m['model_id'][:12]}".strip() for m in names}

    def model(run: RunInfo) -> str:
        said = [run.result.get("model_id"), *run.outputs, *run.inputs]
        return next((known[d] for d in said if d in known), "no model")

    return {"kind": lambda run: run.kind, "job": lambda run: run.job or run.kind, "model": model}


def _kept(store: Store) -> dict[str, int]:
    """Bytes that lie in the store now, by the run that put them there."""
    seen: set[str] = set()
    found: dict[str, int] = {}
    for m in store.manifests():
        size = sum(s.bytes for s in (*m.segments, *m.vault, *m.files) if s.path not in store.removed)
        for digest in m.artifacts:
            if digest not in seen:
                seen.add(digest)
                size += _size(artifacts.place(store.root, digest))
        found[m.run.id] = size
    return found


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return path.stat().st_size if path.exists() else 0


def _sum(values: Iterable[Any]) -> Any:
    known = [v for v in values if v is not None]
    return sum(known) if known else None
