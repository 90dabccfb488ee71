"""Verbs that publish on a hub: publish model, publish dataset, publish space."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earmark.cli.evaluation import ModelArgument
from earmark.cli.options import DEFAULT_STORE, JsonOption, StoreOption, policy_in
from earmark.cli.output import print_json, progress, say, short
from lineage.errors import EarmarkError
from lineage.store import Store

if TYPE_CHECKING:
    from training.publishing.publish import Published

ToOption = Annotated[str, typer.Option("--to", help="The repository: owner/name.")]
RevisionOption = Annotated[str, typer.Option(help="Branch of the repository; made if it is not there.")]
LicenceOption = Annotated[str | None, typer.Option(help="SPDX; by default that of all recordings at once.")]
UseOption = Annotated[Path | None, typer.Option("--intended-use", help="What it is meant for: a Markdown file.")]
PolicyOption = Annotated[Path | None, typer.Option(help="What it has to meet (YAML), instead of the policy in force.")]
PrivateOption = Annotated[bool | None, typer.Option("--private/--public", help="Who sees a new repository.")]


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    group = typer.Typer(help="Publish a model, a data set or a demo on a hub.", no_args_is_help=True)
    group.command()(model)
    group.command()(dataset)
    group.command()(space)
    app.add_typer(group, name="publish")


def model(
    model: ModelArgument,
    to: ToOption,
    store: StoreOption = DEFAULT_STORE,
    private: PrivateOption = None,
    revision: RevisionOption = "main",
    licence: LicenceOption = None,
    intended_use: UseOption = None,
    policy: PolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish a model: weights, card, recipe, figures, and the evidence. The token is taken from HF_TOKEN."""
    from training.publishing.publish import publish_model

    done = publish_model(
        Store.open(store), model, to, private=private, branch=revision, licence=licence, use=_text(intended_use),
        policy=policy_in(policy),
    )  # fmt: skip
    _tell(done, as_json)


def dataset(
    ref: Annotated[str, typer.Argument(metavar="SET", help="The set: name or digest.")],
    to: ToOption,
    store: StoreOption = DEFAULT_STORE,
    private: PrivateOption = True,
    revision: RevisionOption = "main",
    licence: LicenceOption = None,
    intended_use: UseOption = None,
    policy: PolicyOption = None,
    forget: Annotated[bool, typer.Option("--forget", help="Take earlier commits of the branch away.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Publish a set with sound and words, for load_from_disk; again after an erasure, and what was erased is gone."""
    from training.publishing.publish import publish_set

    with progress(f"publishing {ref}") as report:
        done = publish_set(
            Store.open(store), ref, to, private=private, branch=revision, licence=licence, use=_text(intended_use),
            policy=policy_in(policy), forget=forget, progress=report,
        )  # fmt: skip
    _tell(done, as_json)


def space(
    model: Annotated[str, typer.Argument(help="A model that is published.")],
    to: ToOption,
    store: StoreOption = DEFAULT_STORE,
    private: PrivateOption = None,
    revision: RevisionOption = "main",
    policy: PolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish a demo (a Gradio Space) that transcribes from microphone or file with a published model."""
    from training.publishing.publish import publish_space

    done = publish_space(Store.open(store), model, to, private=private, branch=revision, policy=policy_in(policy))
    _tell(done, as_json)


def _text(path: Path | None) -> str | None:
    try:
        return None if path is None else path.read_text(encoding="utf-8")
    except OSError as error:
        raise EarmarkError(f"{path} cannot be read: {error.strerror} — give a Markdown file") from error
    except UnicodeDecodeError as error:
        raise EarmarkError(f"{path}: byte {error.start} is not UTF-8 — save it as UTF-8") from error


def _tell(done: Published, as_json: bool) -> None:
    for remark in done.remarks:
        sys.stderr.write(f"earmark: {remark}\n")
    pushed = done.pushed
    if as_json:
        value = {"repo": pushed.repo, "kind": pushed.kind, "branch": pushed.branch, "revision": pushed.commit}
        value |= {"url": pushed.url, "run": done.run_id, "export": done.export, "digest": done.digest}
        print_json({**value, "remarks": done.remarks})
        return
    say(f"{done.name}: {pushed.url}")
    say(f"  commit {pushed.commit}, {pushed.files} files, {pushed.bytes / 1e6:.1f} MB; export {short(done.digest)}")
