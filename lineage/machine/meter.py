"""What a stretch of work costs: processor seconds, bytes read and written, energy; each None where it cannot be measured.

A run is metered from its beginning to its end. Runs stand in one another (a training computes features, which is a run), so
each has what was metered within it less what its inner runs had: summed over runs, nothing is counted twice.

- processor: seconds of this process and of its children, all threads together;
- bytes: what the process had fetched from and sent to storage (Linux, `/proc/self/io`), not what caches answered;
- energy: joules of the processor packages (RAPL, `/sys/class/powercap`, where it may be read) and of NVIDIA's devices (NVML),
  of the whole machine while the work ran, that of other processes among it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
IO = Path("/proc/self/io")
DEVICES = Path("/proc/driver/nvidia/gpus")

Reading = dict[str, float | None]


class Meter:
    """Begins to count when it is made. `inner` has another meter's reading stand apart."""

    def __init__(self) -> None:
        self._begun = _counters()
        self._energy = {name: read() for name, (read, _) in _energies().items()}
        self._inner: dict[str, float] = {}

    def gross(self) -> Reading:
        """Everything since the beginning: `cpu_s`, `read_bytes`, `written_bytes`, `energy_j`."""
        now = _counters()
        used: Reading = {}
        for name, value in now.items():
            before = self._begun[name]
            used[name] = None if value is None or before is None else value - before
        used["energy_j"] = self._joules()
        return used

    def net(self) -> Reading:
        """The same, less what inner meters read."""
        return {
            name: None if value is None else max(0.0, value - self._inner.get(name, 0.0))
            for name, value in self.gross().items()
        }

    def inner(self, reading: Reading) -> None:
        """Let what another meter read within this one stand apart."""
        for name, value in reading.items():
            self._inner[name] = self._inner.get(name, 0.0) + (value or 0.0)

    def _joules(self) -> float | None:
        spent = []
        for name, (read, wraps_at) in _energies().items():
            now, before = read(), self._energy.get(name)
            if now is not None and before is not None:
                spent.append(now - before + (wraps_at if now < before else 0.0))
        return sum(spent) if spent else None


def _counters() -> Reading:
    counted: Reading = {"cpu_s": sum(os.times()[:4]), "read_bytes": None, "written_bytes": None}
    with suppress(OSError, ValueError):
        lines = dict(line.split(": ", 1) for line in IO.read_text().splitlines())
        with suppress(KeyError):
            counted |= {"read_bytes": int(lines["read_bytes"]), "written_bytes": int(lines["write_bytes"])}
    return counted


@cache
def _energies() -> dict[str, tuple[Callable[[], float | None], float]]:
    """Counters of energy by name: what reads one in joules, and at what it begins again from zero."""
    found: dict[str, tuple[Callable[[], float | None], float]] = {}
    for zone in sorted(POWERCAP.glob("*-rapl:[0-9]*")):
        if not _text(zone / "name").startswith("package"):  # a part of one, or the whole board, which would count twice
            continue
        wraps = _number(zone / "max_energy_range_uj")
        if _number(zone / "energy_uj") is not None:  # often for root alone
            found[zone.name] = (partial(_joules, zone / "energy_uj"), (wraps or 0.0) / 1e6)
    if DEVICES.is_dir():
        found |= {f"gpu {i}": (read, 0.0) for i, read in enumerate(_devices())}
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(path: Path) -> float | None:
    try:
        return float(_text(path))
    except ValueError:
        return None


def _joules(path: Path) -> float | None:
    micro = _number(path)
    return None if micro is None else micro / 1e6


def _devices() -> list[Callable[[], float | None]]:
    """For each NVIDIA device what reads its energy since the driver started, in joules; none without NVML."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        count = ctypes.c_uint()
        if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return []
        handles = [ctypes.c_void_p() for _ in range(count.value)]
        known = [h for i, h in enumerate(handles) if nvml.nvmlDeviceGetHandleByIndex_v2(i, ctypes.byref(h)) == 0]
    except (OSError, AttributeError):
        return []

    def read(handle: ctypes.c_void_p) -> float | None:
        milli = ctypes.c_ulonglong()
        failed = nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(milli))
        return None if failed else milli.value / 1e3

    return [partial(read, h) for h in known]
