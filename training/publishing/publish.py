"""Publishing: a model, a set or a demo in a repository of a hub, with the evidence beside it.

    publish_model   weights (whole, or adapters), README.md (the card), recipe.yaml, training.json, metrics.json,
                    lineage.json (sets, terms, where it stands in the log), and the proofs of `lineage.exports`
    publish_set     the set as a `datasets.Dataset`, README.md (its card), and the proofs
    publish_space   app.py, requirements.txt and README.md of a demo that transcribes with a published model

Each is two runs. The `export` lists what goes out and where to; it is on record before anybody can see a byte, so that
whatever becomes of the push, an erasure knows of the copy and marks it as owing a withdrawal. The `publish` is its outcome:
repository, branch and commit. Publishing again puts the state of today in place of what is there.

Laws: what policy forbids, or a model that consumed what was erased since, is not published, and that is on record; names of
speakers do not leave the store; the same record makes the same files but for the proofs, so bulk that is there already is
not sent again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import SpaceCardData

from lineage import exports
from lineage.errors import EarmarkError
from lineage.exports import proofs
from lineage.exports.check import listing
from lineage.exports.parcel import Parcel
from lineage.exports.share import add_verifier, close
from lineage.identity import uuid7
from lineage.machine.environment import package_versions
from lineage.people import spdx
from lineage.people.obligations import unfit
from lineage.people.policy import Policy, Verdict, enforce, verdict_on
from lineage.selection.sets import SampleSet, resolve_set
from lineage.store import Store
from lineage.subjects import Subject, without_folder
from training.models.recorded import Model, behind, pools_behind, resolve_model
from training.permission import on_pool
from training.progress import Progress, silent
from training.publishing import demo_app, hub, terms
from training.publishing.card import BASE, model_card
from training.publishing.datacard import data_card, withdrawn
from training.publishing.findings import Findings, findings, metrics_json, on_hub
from training.publishing.hub import MAIN, Pushed
from training.publishing.markdown import cell

ATTRIBUTES = "".join(
    f"*.{end} filter=lfs diff=lfs merge=lfs -text\n" for end in ("arrow", "bin", "model", "safetensors")
)
DEMONSTRATED = ("whisper", "ctc")
SETTINGS = (
    "set",
    "weights",
    "optimiser",
    "experiment",
    "depends",
)  # of a training's configuration; the recipe is apart


@dataclass(frozen=True)
class Published:
    """What was published where: runs and digest of the export, and remarks that its publisher should read."""

    name: str
    export: str
    run_id: str
    digest: str
    pushed: Pushed
    remarks: tuple[str, ...]


def publish_model(
    store: Store,
    ref: str,
    to: str,
    *,
    private: bool | None = None,
    branch: str = MAIN,
    licence: str | None = None,
    use: str | None = None,
    policy: Policy | None = None,
) -> Published:
    """Publish a model with its card.

    Args:
        store: where it is on record.
        ref: the model: name, id, or the beginning of an id.
        to: repository, `owner/name`.
        private: who may see a repository that is not there yet; None leaves it to the hub.
        branch: of the repository.
        licence: of the model, as SPDX; by default that of all its recordings at once.
        use: what the model is meant for, in Markdown.
        policy: that the sets behind it have to meet, instead of the one in force.

    Raises:
        PolicyRefused: the policy does not let a training set be used.
        EarmarkError: no such model, it consumed what was erased since, its files are gone, or the hub cannot be written to.
    """
    model = _publishable(store, ref)
    given = _spelt(licence)
    found = findings(store, model)
    remarks = []
    if not found.metrics:
        remarks.append("the model was not evaluated on the record; its card says so — run: earmark evaluate")
    if given is None and terms.joint(found.origins) is None:
        remarks.append("no licence is on record; the card says 'unknown' — give one with --licence")

    def write(parcel: Parcel) -> None:
        _weights(parcel, found)
        parcel.write("README.md", model_card(found, to, licence=given, use=use))
        if found.recipe:
            parcel.write("recipe.yaml", yaml.safe_dump(found.recipe, sort_keys=False, allow_unicode=True))
        parcel.write_json("training.json", _training(found))
        parcel.write("metrics.json", metrics_json(found))
        parcel.write_json("lineage.json", _statement(parcel, found))

    subject = store.subjects.find(model.model_id)
    return _publish(
        store, subject, "model", to, write, _verdicts(store, model, policy), remarks, private=private, branch=branch
    )


def publish_set(
    store: Store,
    ref: str,
    to: str,
    *,
    private: bool | None = True,
    branch: str = MAIN,
    licence: str | None = None,
    use: str | None = None,
    policy: Policy | None = None,
    forget: bool = False,
    progress: Progress = silent,
) -> Published:
    """Publish the samples of a set with sound and words; arguments as of `publish_model`.

    Speakers go by a keyed hash. Samples that were erased are left out, and the card says how many were withdrawn since the
    set was first published there. `forget` takes earlier commits of the branch away.
    """
    data = resolve_set(store, ref)
    given = _spelt(licence)
    place = hub.address(to, "dataset")
    earlier = [r.config["set"] for r in store.runs() if r.kind == "export" and r.config.get("to") == place]
    gone = withdrawn(store, data.digest, earlier)
    remarks = []
    if given is None and terms.joint(terms.behind_set(store, data.digest)) is None:
        remarks.append("no licence is on record; the card says 'unknown' — give one with --licence")
    if gone.of_all and earlier and not forget:
        remarks.append("earlier commits may still hold what was erased since — take them away with --forget")

    def write(parcel: Parcel) -> None:
        exports.find("datasets").write(parcel)
        parcel.write("README.md", data_card(store, data, to, gone=gone, licence=given, use=use))

    return _publish(
        store, store.subjects.find(data.digest), "dataset", to, write, [verdict_on(store, data.digest, policy)], remarks,
        private=private, branch=branch, forget=forget, progress=progress,
    )  # fmt: skip


def publish_space(
    store: Store, ref: str, to: str, *, private: bool | None = None, branch: str = MAIN, policy: Policy | None = None
) -> Published:
    """Publish a demo that transcribes from microphone or file with a model that was published before.

    Raises:
        EarmarkError: the model is not published, or there is no demo of its family.
    """
    model = _publishable(store, ref)
    found = findings(store, model)
    if model.family not in DEMONSTRATED:
        raise EarmarkError(f"there is no demo of {model.family} models — there are of {' and '.join(DEMONSTRATED)}")
    home = _home(store, model)
    base = found.base if found.method == "lora" else home
    if not on_hub(base):
        raise EarmarkError(f"the adapters of {model.name} stand on {base}, which no hub has — a demo cannot load them")

    def write(parcel: Parcel) -> None:
        parcel.write("app.py", app(home, base, found.recipe))
        parcel.write("requirements.txt", _requirements(adapters=base != home))
        parcel.write("README.md", _space_card(found, home))

    subject = store.subjects.find(model.model_id)
    return _publish(
        store, subject, "space", to, write, _verdicts(store, model, policy), [], private=private, branch=branch
    )


# -- what all have in common ---------------------------------------------------------------------------------------------


def _publish(
    store: Store,
    subject: Subject,
    kind: str,
    to: str,
    write: Callable[[Parcel], None],
    verdicts: list[Verdict | None],
    remarks: list[str],
    *,
    private: bool | None,
    branch: str,
    forget: bool = False,
    progress: Progress = silent,
) -> Published:
    place = hub.address(to, kind)
    hub.token()  # that there is none is known before the work
    samples = kind == "dataset"
    config = {
        "format": f"hub {kind}",
        "model": None if samples else subject.digest,
        "set": subject.digest if samples else subject.facts["set_digest"],
        "samples": samples,
        "personal": samples,
        "to": place,
        "branch": branch,
    }
    asked = {**config, "private": private, "forget": forget}
    with store.run("publish", job=place, config=asked, package="training") as told, _staging(store) as folder:
        with store.run(
            "export", job=f"hub {kind}", config=config, inputs=[subject.digest], parents=[told.id], package="training"
        ) as run:
            for verdict in verdicts:
                enforce(run, verdict)
            parcel = Parcel(store, run, subject, folder, False, lambda n, all: progress(n, all, ""), public=True)
            write(parcel)
            parcel.write(".gitattributes", ATTRIBUTES)
            if kind != "space":
                add_verifier(parcel)
            files = close(parcel)
        if kind != "space":
            proofs.write(parcel, files)
        told.inputs.append(run.outputs[-1])
        pushed = hub.push(
            folder, to, kind=kind, private=private, branch=branch, forget=forget,
            message=f"{subject.kind} {subject.digest}",
        )  # fmt: skip
        told.result = {"repo": to, "kind": kind, "branch": branch, "revision": pushed.commit, "url": pushed.url,
                       "files": pushed.files, "bytes": pushed.bytes, "digest": run.outputs[-1]}  # fmt: skip
    name = without_folder(subject.name or subject.digest)
    return Published(name, run.id, told.id, run.outputs[-1], pushed, tuple(remarks))


@contextmanager
def _staging(store: Store) -> Iterator[Path]:
    """A folder within the store, so that what a killed writer leaves in it goes with the next erasure."""
    folder = store.root / "running" / f".{uuid7()}.tmp"
    folder.mkdir(parents=True)
    try:
        yield folder
    except OSError as error:
        raise EarmarkError(f"cannot write {folder}: {error.strerror or error} — free some space") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _publishable(store: Store, ref: str) -> Model:
    model = resolve_model(store, ref)
    why = unfit(store, model.model_id)
    if why is not None:
        raise EarmarkError(f"model {model.name} is not to be published: {why} — publish its successor")
    return model


def _verdicts(store: Store, model: Model, policy: Policy | None) -> list[Verdict | None]:
    """How policy judges each set that the model, or one that it stands on, was trained on or had mixed in."""
    chain = behind(store, model)
    sets = dict.fromkeys(m.set_digest for m in chain if m.set_digest is not None)
    return [
        *(verdict_on(store, s, policy) for s in sets),
        *(on_pool(store, p, policy) for p in pools_behind(store, chain)),
    ]


def _spelt(licence: str | None) -> str | None:
    return None if licence is None else str(spdx.parse(licence))


def _home(store: Store, model: Model) -> str:
    """The repository in which a model was published last."""
    for run in reversed(store.runs()):
        if (run.kind, run.status) != ("publish", "completed"):
            continue
        if (run.config["format"], run.config["model"]) == ("hub model", model.model_id):
            return str(run.result["repo"])
    raise EarmarkError(
        f"model {model.name} is not published yet — run: earmark publish model {model.name} --to owner/name"
    )


# -- a model's files -----------------------------------------------------------------------------------------------------


def _weights(parcel: Parcel, found: Findings) -> None:
    """The files of the checkpoint; for adapters on a base that no hub has, the base's as well, if the store has them."""
    store, folder = parcel.store, parcel.folder
    if not found.model.artifact:
        raise EarmarkError(
            f"the files of model {found.model.name} were not kept in the store — train it with them kept"
        )
    shutil.copytree(store.artifact(found.model.artifact), folder, dirs_exist_ok=True)
    for path in folder.rglob("*.json"):
        _without_places(path)
    if found.method != "lora" or on_hub(found.base):
        return
    noted = found.opens["base"]
    if noted["artifact"] is None:
        raise EarmarkError(
            f"the adapters of {found.model.name} stand on {found.base}, which no hub has and the store has no "
            "copy of — publish that base and train from there"
        )
    shutil.copytree(store.artifact(noted["artifact"]), folder / BASE)
    for path in (folder / BASE).rglob("*.json"):
        _without_places(path)


PLACES = ("name_or_path", "_name_or_path", "base_model_name_or_path")  # where checkpoints note folders of this machine


def _without_places(path: Path) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    held = {n: v for n, v in value.items() if n in PLACES and isinstance(v, str)} if isinstance(value, dict) else {}
    plain = {n: without_folder(v) for n, v in held.items()}
    if plain != held:
        path.write_text(json.dumps(value | plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _training(found: Findings) -> dict[str, Any]:
    """What the weights depend on besides the recipe."""
    run = found.run
    told = {name: run.config[name] for name in SETTINGS if name in run.config}
    return {
        "run": run.id,
        **told,
        "code": run.code_version,
        "environment": run.environment,
        "seed": run.seed,
        "cost": {"wall_s": run.wall_s, "cpu_s": run.cpu_s, "peak_bytes": run.peak_bytes},
    }


def _statement(parcel: Parcel, found: Findings) -> dict[str, Any]:
    """What the model is made of, for programs; the proofs show that the record says so."""
    model = found.model
    base = found.opens.get("base", {})
    return {
        "format": "earmark.lineage.v1",
        "model": {
            "id": model.model_id,
            "name": found.name,
            "family": model.family,
            "run": model.run_id,
        },
        "base": {"name": found.base, "digest": base.get("digest")},
        "files": listing(parcel.folder),
        "training_set": _told(found.sets[model.set_digest], found) if model.set_digest is not None else None,
        "evaluation_sets": [_told(s, found) for s in found.tested],
        "sources": [o.__dict__ for o in found.origins],
        "licence": terms.joint(found.origins),
        "log": {"position": found.position, "root": found.root},
    }


def _told(data: SampleSet, found: Findings) -> dict[str, Any]:
    facts = {"digest": data.digest, "name": data.name, "samples": data.size, "duration_s": data.duration_s}
    return {**facts, "words": data.words, "speakers": found.speakers[data.digest]}


# -- a demo's files ------------------------------------------------------------------------------------------------------


def app(model: str, base: str, recipe: dict[str, Any]) -> str:
    """The source of a demo of the model in the repository `model`; see `training.publishing.demo_app`."""
    prompt = {n: recipe[n] for n in ("language", "task") if recipe.get(n) is not None and recipe[n] != "per-sample"}
    text = Path(demo_app.__file__).read_text(encoding="utf-8")
    for name, value in {"MODEL": model, "BASE": base, "PROMPT: dict[str, str]": prompt}.items():
        start = text.index(f"\n{name} = ") + 1
        line = text[start : text.index("\n", start)]
        remark = line[line.index("  #") :] if "  #" in line else ""
        text = text.replace(line, f"{name} = {json.dumps(value)}{remark}", 1)
    return text


def _requirements(*, adapters: bool) -> str:
    wanted = ("numpy", "soxr", "torch", "transformers", *(("peft",) if adapters else ()))
    versions = package_versions(*wanted)
    return "".join(f"{name}>={versions[name].partition('+')[0]}\n" for name in wanted)


def _space_card(found: Findings, home: str) -> str:
    data = SpaceCardData(
        title=f"{found.name} listens", sdk="gradio", app_file="app.py", models=[home], pinned=False, emoji="👂"
    )
    return (
        f"---\n{data.to_yaml()}\n---\n# {cell(found.name)}\n\nTranscribes speech from microphone or file with "
        f"`{home}`, whose card says what it was trained on and whom it serves how well. "
        "Of a private model, give the Space a secret `HF_TOKEN` that may read it.\n"
    )
