from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineage.machine import meter
from lineage.machine.meter import Meter
from lineage.storage.manifest import RunInfo
from lineage.store import Store


def work(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A processor package that counts its energy, as the kernel shows it."""
    monkeypatch.setattr(meter, "POWERCAP", tmp_path)
    monkeypatch.setattr(meter, "DEVICES", tmp_path / "none")
    for name, what, micro in (
        ("intel-rapl:0", "package-0", 7_000_000),
        ("intel-rapl:0:0", "core", 5_000_000),
        ("intel-rapl:1", "psys", 9_000_000),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(f"{what}\n")
        (tmp_path / name / "energy_uj").write_text(f"{micro}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("10000000\n")
    meter._energies.cache_clear()
    yield tmp_path / "intel-rapl:0" / "energy_uj"
    meter._energies.cache_clear()


def test_runs_within_runs_are_counted_once(store: Store) -> None:
    with store.run("policy"):  # what is done once in a process is done
        pass
    begun = time.process_time()
    with store.run("train") as outer:
        work(0.1)
        with store.run("features"):
            work(0.3)
            with store.run("ingest"):
                work(0.1)
        work(0.1)
    used = time.process_time() - begun
    by_kind = {r.kind: r.cpu_s for r in store.runs() if r.kind != "policy"}
    assert sum(by_kind.values()) <= used + 0.05
    for kind, seconds in {"train": 0.2, "features": 0.3, "ingest": 0.1}.items():
        assert seconds - 0.03 <= by_kind[kind] <= seconds + 0.15
    assert outer.meter.gross()["cpu_s"] >= 0.57  # type: ignore[operator]


def test_energy_goes_on_over_the_wrap_and_is_of_packages_alone(package: Path) -> None:
    metered = Meter()
    package.write_text("9000000\n")
    assert metered.gross()["energy_j"] == pytest.approx(2.0)
    package.write_text("1000000\n")  # it wraps at 10 J
    assert metered.gross()["energy_j"] == pytest.approx(4.0)
    metered.inner({"energy_j": 1.5, "read_bytes": None})
    assert metered.net()["energy_j"] == pytest.approx(2.5)


def test_what_cannot_be_measured_is_null(
    store: Store, tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package.unlink()
    meter._energies.cache_clear()
    monkeypatch.setattr(meter, "IO", tmp_path / "no such file")
    with store.run("ingest"):
        pass
    run = store.runs()[-1]
    assert (run.energy_j, run.read_bytes, run.written_bytes, run.gpu_s) == (None, None, None, 0.0)
    (row,) = store.read("runs", ["energy_j", "read_bytes", "cpu_s"]).to_pylist()
    assert row["energy_j"] is None
    assert row["read_bytes"] is None
    assert row["cpu_s"] == run.cpu_s


def test_runs_of_earlier_versions_are_read(store: Store) -> None:
    with store.run("ingest") as made:
        made.gpus = 2
    value = store.runs()[-1].to_json()
    assert value["gpu_s"] == pytest.approx(2 * value["wall_s"])
    for name in ("gpu_s", "read_bytes", "written_bytes", "energy_j"):
        del value[name]
    assert RunInfo.from_json(value).energy_j is None


def test_costs_in_sql_are_the_prices_times_the_quantities(store: Store) -> None:
    for kind in ("ingest", "train"):
        with store.run(kind) as made:
            made.cost |= {"wall_s": 1800.0, "cpu_s": 3600.0, "energy_j": 3.6e6}
            made.gpus = int(kind == "train")
    found = store.connect().sql("SELECT kind, money FROM costs(0.5, 2, 0.3)").fetchall()
    assert [(kind, pytest.approx(money)) for kind, money in found] == [("ingest", 0.8), ("train", 1.8)]
