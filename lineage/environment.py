"""What a result depends on besides data and configuration: the machine, the packages, the threads, the code.

`code_version` digests a package's own source files rather than asking git, so it is the same for a clone and an installed
wheel and changes with every edit that could change a result.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import resource
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "accelerate", "datasets", "duckdb", "earmark", "jiwer", "numpy", "peft", "pyarrow", "safetensors", "scikit-learn",
    "scipy", "soundfile", "soxr", "tokenizers", "torch", "transformers",
)  # fmt: skip


@cache
def package_versions(*names: str) -> dict[str, str]:
    """Versions of those of the packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def code_version(package: str) -> str:
    """`<version>+<12 hex digits of the digest of the package's source files>`, e.g. `0.1.0+3f2a9c1e07bd`."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"{package} is not a package")
    root = Path(next(iter(spec.submodule_search_locations)))
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\x00" + path.read_bytes() + b"\x00")
    return f"{package_versions('earmark').get('earmark', '0')}+{digest.hexdigest()[:12]}"


@cache
def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def threads() -> int:
    """Arithmetic threads of this process: torch's count where torch is loaded, else what it would take."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def capture() -> dict[str, Any]:
    """The environment as JSON: Python, platform, CPU, packages, threads."""
    return {
        "python": platform.python_version(),
        "platform": platform.system(),
        "machine": platform.machine(),
        "cpu": _cpu(),
        "packages": package_versions(*PACKAGES),
        "threads": threads(),
    }


def peak_bytes() -> int:
    """Peak resident memory of this process in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


@cache
def script() -> dict[str, Any] | None:
    """The script that this process runs: its path below its repository (else its name), SHA-256, and the repository's commit.

    None where there is no file, as in a notebook. Folders above the repository are not told: they name people.
    """
    name = getattr(sys.modules.get("__main__"), "__file__", None)
    path = Path(name).resolve() if name else None
    if path is None or not path.is_file():
        return None
    found = {"path": path.name, "digest": hashlib.sha256(path.read_bytes()).hexdigest(), "commit": None}
    root = next((folder for folder in path.parents if (folder / ".git").exists()), None)
    if root is not None:
        found["path"] = path.relative_to(root).as_posix()
        try:
            git = ["git", "-C", str(root), "rev-parse", "--verify", "HEAD"]
            asked = subprocess.run(git, capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.SubprocessError):  # no git on this machine: the digest still tells
            return found
        found["commit"] = asked.stdout.strip() or None
    return found
