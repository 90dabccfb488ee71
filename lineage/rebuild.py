"""Building an environment again: the requirements of a run, and a Dockerfile around them.

`Dockerfile` at the top of the project is `dockerfile()`, which installs the versions that the tests passed with. That of a run
(`dockerfile_of`) has the run's own list of packages in it, so that this one file beside a checkout of the code is enough.

PyTorch comes first and by itself, in pip's words, because where its builds lie depends on the machine: give the build argument
`TORCH` another index for a CPU build. The image runs as a user without rights, and knows its own name (`EARMARK_IMAGE`, a build
argument), which a process in a container could not find out.
"""

from __future__ import annotations

import re

from lineage.errors import EarmarkError, UnknownName
from lineage.machine.environment import IMAGE, locked
from lineage.storage.manifest import RunInfo
from lineage.store import Store

PYTHON = "3.11"
TORCH = "torch==2.13.0"
PIP = "pip install --no-cache-dir --disable-pip-version-check"
OURS = ("earmark",)
VERSION = re.compile(r"\d+\.\d+(\.\d+)?")
LINE = re.compile(r"(# )?[a-z0-9][a-z0-9-]*==[A-Za-z0-9.!+_-]+")

DOCKERFILE = """\
# syntax=docker/dockerfile:1
{head}
ARG PYTHON={python}
FROM python:${{PYTHON}}-slim

# Pip's words for installing PyTorch; for the CPU build, add the index that pytorch.org names for it:
#   --build-arg TORCH="{torch} --index-url <CPU index>"
ARG TORCH="{torch}"
RUN {pip} ${{TORCH}}

WORKDIR /opt/earmark
{install}
RUN useradd --create-home --uid 10001 earmark
ARG {image}=""
ENV {image}=${{{image}}} \\
    OMP_NUM_THREADS=1 \\
    PYTHONDONTWRITEBYTECODE=1 \\
    EARMARK_STORE=/store
RUN mkdir /store && chown earmark /store
USER earmark
WORKDIR /store
VOLUME /store
ENTRYPOINT ["earmark"]
CMD ["--help"]
"""

FROM_CONSTRAINTS = """\
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY lineage lineage
COPY training training
COPY influence influence
COPY dashboard dashboard
COPY earmark earmark
ARG EXTRAS=all
RUN {pip} --constraint constraints.txt ".[${{EXTRAS}}]"
"""

FROM_LOCK = """\
COPY <<"REQUIREMENTS" requirements.lock
{lock}REQUIREMENTS
RUN {pip} --no-deps --requirement requirements.lock
COPY . .
RUN {pip} --no-deps .
"""


def dockerfile() -> str:
    """The project's own Dockerfile: the versions of `constraints.txt`."""
    head = (
        "# Earmark with the versions that the tests passed with. Written by `make docs` from lineage/rebuild.py.\n"
        "#   docker build --tag earmark .  &&  docker run --volume my-store:/store earmark init /store"
    )
    return _filled(head, PYTHON, TORCH, FROM_CONSTRAINTS.format(pip=PIP))


def packages_of(store: Store, run: RunInfo) -> dict[str, str] | None:
    """Versions of all packages that were installed for a run, by name; None where only some were noted.

    Runs other than trainings name the list by its digest without keeping it; some training mostly did.
    """
    text = lock_of(store, run)
    return None if text is None else locked(text)


def lock_of(store: Store, run: RunInfo) -> str | None:
    """What `environment.lock` gave for a run; None where it was not kept."""
    try:
        return store.artifact(run.environment["installed"]).read_text()
    except (KeyError, UnknownName):
        return None


def requirements(store: Store, run: RunInfo) -> str:
    """The packages of a run as pip's requirements, one a line; without Earmark, which comes from the checkout.

    Raises:
        EarmarkError: the whole list was not kept, or it is not one.
    """
    text = lock_of(store, run)
    if text is None:
        raise EarmarkError(
            f"run {run.id} noted only some of its packages — name a training run; they keep the whole list"
        )
    lines = text.splitlines()
    odd = next((line for line in lines if not LINE.fullmatch(line)), None)
    if odd is not None:
        raise EarmarkError(f"the packages of run {run.id} have a line {odd[:60]!r} that is none — run: earmark verify")
    ours = tuple(f"{name}==" for name in OURS)
    return "".join(f"{line}\n" for line in lines if not line.removeprefix("# ").startswith(ours))


def dockerfile_of(store: Store, run: RunInfo) -> str:
    """A Dockerfile that builds the environment of a run again.

    Raises:
        EarmarkError: see `requirements`.
    """
    lines = requirements(store, run).splitlines()
    torch = next((line for line in lines if line.startswith("torch==")), TORCH)
    rest = "".join(f"{line}\n" for line in lines if line != torch)
    told = run.environment
    python = told["python"] if VERSION.fullmatch(told["python"]) else PYTHON
    code = told.get("code")
    where = (
        f"commit {code['commit']}{', edited since' if code['dirty'] else ''}" if code else f"code {run.code_version}"
    )
    head = (
        f"# The environment of run {run.id} ({told.get('system', told['platform'])}, {told['machine']}).\n"
        f"# Build it in a checkout of the code: {where}."
    )
    return _filled(head, python, torch, FROM_LOCK.format(lock=rest, pip=PIP))


def _filled(head: str, python: str, torch: str, install: str) -> str:
    return DOCKERFILE.format(head=head, python=python, torch=torch, pip=PIP, install=install, image=IMAGE)
