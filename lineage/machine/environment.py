"""What a result depends on besides data and configuration: the machine, the packages, the threads, the code.

`code_version` digests a package's own source files rather than asking git, so it is the same for a clone and an installed
wheel and changes with every edit that could change a result. The commit that git tells is noted beside it.

Every run notes `capture()`, which is small: of the packages it names those that do the arithmetic, and all of them by the
digest of `lock()`, the text that installs them again. That text is an artifact, kept once for all the runs that share it.

Law: nothing here tells whose machine it is: no name of host or user, no path, no address.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import resource
import subprocess
import sys
import sysconfig
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from lineage.machine.pool import default_workers

PACKAGES = (
    "accelerate", "datasets", "duckdb", "earmark", "jiwer", "numpy", "peft", "pyarrow", "safetensors", "scikit-learn",
    "scipy", "soundfile", "soxr", "tokenizers", "torch", "transformers",
)  # fmt: skip

ARITHMETIC = r"sse4_[12]|avx.*|fma|f16c|amx_.*|asimd.*|sve.*|bf16|i8mm"  # features of processors that kernels choose by
IMAGE = "EARMARK_IMAGE"  # environment variable that names the image of a container, which cannot know it otherwise


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
def lock() -> str:
    """All installed distributions as pip's requirements, one a line, sorted: `name==version`.

    What did not come from an index (a checkout, an archive) pip cannot find by name: those are comments.
    """
    found: dict[str, str] = {}
    # the first of a name is the one that is imported; what packages bring along inside themselves is theirs
    for distribution in metadata.distributions(path=[place for place in sys.path if not _within_a_package(place)]):
        told = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
        head = told.partition("\n\n")[0]  # read so because parsing it as a message takes seven times as long
        name, version = (re.search(rf"^{field}: *(\S+)", head, re.MULTILINE) for field in ("Name", "Version"))
        if name and version:
            known = re.sub(r"[-_.]+", "-", name[1]).lower()
            away = distribution.read_text("direct_url.json") is not None
            found.setdefault(known, f"{'# ' if away else ''}{known}=={version[1]}\n")
    return "".join(found[name] for name in sorted(found))


def _within_a_package(place: str) -> bool:
    installed = (Path(sysconfig.get_path(name)) for name in ("purelib", "platlib"))
    return any(root in Path(place).parents for root in installed)


def locked(text: str) -> dict[str, str]:
    """Versions by name, from what `lock` gave."""
    pairs = (line.removeprefix("# ").split("==", 1) for line in text.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


@cache
def commit() -> dict[str, Any] | None:
    """The git commit of the checkout that this code runs from, and whether it was edited since; None without a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        told = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"^# branch\.oid ([0-9a-f]{40,64})$", told, re.MULTILINE)
    return {"commit": found[1], "dirty": any(not line.startswith("#") for line in told.splitlines())} if found else None


@cache
def _cpu() -> tuple[str, list[str]]:
    """Name of the processor, and which of its features arithmetic is written for."""
    model, flags = "", ""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and not model:
                model = value.strip()
            elif name.strip() in ("flags", "Features") and not flags:
                flags = value
    model = model or platform.processor() or platform.machine()
    return model, sorted(f for f in flags.split() if re.fullmatch(ARITHMETIC, f))


@cache
def _system() -> str:
    """Name and version of the operating system, e.g. 'debian 12'."""
    try:
        told = platform.freedesktop_os_release()
    except OSError:
        return f"{platform.system()} {platform.mac_ver()[0]}".strip()
    return f"{told['ID']} {told.get('VERSION_ID', '')}".strip()


@cache
def _container() -> dict[str, str] | None:
    """What sort of container this is, and its image where it is told; None outside of one."""
    kind = os.environ.get("container", "")  # noqa: SIM112 podman, systemd-nspawn and lxc set it so
    podman = Path("/run/.containerenv")
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        kind = "kubernetes"
    elif podman.exists():
        kind = "podman"
    elif Path("/.dockerenv").exists():
        kind = "docker"
    elif not kind:
        with suppress(OSError):
            found = re.search(
                r"/(docker|kubepods|containerd|lxc)\b", Path("/proc/1/cgroup").read_text(errors="replace")
            )
            kind = found[1] if found else ""
    image = os.environ.get(IMAGE, "")
    if not image:
        with suppress(OSError):
            found = re.search(r'^imageid="?([0-9a-f]{12,64})', podman.read_text(errors="replace"), re.MULTILINE)
            image = found[1] if found else ""
    if not kind and not image:
        return None
    return {"kind": re.sub(r"[^a-z0-9-]", "", kind.lower()) or "unknown"} | ({"image": image} if image else {})


@cache
def _gpus() -> dict[str, Any]:
    """Version of NVIDIA's driver and the names of its devices, without starting CUDA; empty where there is none."""
    try:
        told = Path("/proc/driver/nvidia/version").read_text(errors="replace")
        devices = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
        names = [re.search(r"^Model:\s*(.+)$", d.read_text(errors="replace"), re.MULTILINE) for d in devices]
    except OSError:
        return {}
    found = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", told)
    return {"gpus": [name[1].strip() for name in names if name], "gpu_driver": found[1] if found else None}


def _torch() -> dict[str, Any]:
    """What torch computes with, where it is loaded: instructions of the processor, version of CUDA."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "version"):
        return {}
    capability = torch.backends.cpu.get_cpu_capability()
    return {"capability": capability} | ({"cuda": torch.version.cuda} if torch.version.cuda else {})


def threads() -> int:
    """Arithmetic threads of this process: torch's count where torch is loaded, else what it would take."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def capture() -> dict[str, Any]:
    """The environment as JSON; what is not known is left out."""
    model, features = _cpu()
    told: dict[str, Any] = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.system(),
        "system": _system(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "machine": platform.machine(),
        "cpu": model,
        "cpu_features": features,
        "cores": default_workers(),
        "packages": package_versions(*PACKAGES),
        "installed": hashlib.sha256(lock().encode()).hexdigest(),
        "container": _container(),
        "code": commit(),
        **_gpus(),
        **_torch(),
    }
    return {name: value for name, value in told.items() if value is not None} | {"threads": threads()}


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
