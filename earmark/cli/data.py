"""Verbs that put data on the record: init, ingest, transform, set, split."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earmark.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from earmark.cli.output import print_json, print_rows, progress, say, short
from lineage.errors import EarmarkError
from lineage.selection import algebra
from lineage.store import Store

if TYPE_CHECKING:
    from lineage.derivation.transforms import Transform

SHOWN = 20  # complaints printed; all of them with --json


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    for verb in (init, ingest, transform, set_, split):
        app.command(verb.__name__.rstrip("_"))(verb)


def init(store: Annotated[Path, typer.Argument(help="A new or empty folder.")] = DEFAULT_STORE) -> None:
    """Make a new store."""
    Store.init(store)
    say(f"made a store in {store} — keep {store}/vault/key and {store}/vault/signing.key backed up and private")


def ingest(
    manifest: Annotated[
        Path,
        typer.Argument(
            help="JSON lines (NeMo, tarred too), CSV, Parquet with audio; a folder of Kaldi, LibriSpeech, Common Voice, "
            "lhotse, datasets, or audio with words beside it; or hf://owner/name."
        ),
    ],
    store: StoreOption = DEFAULT_STORE,
    name: Annotated[str | None, typer.Option(help="Name of the sample set; default: after the manifest.")] = None,
    strict: Annotated[bool, typer.Option(help="Refuse the whole batch if one row is refused.")] = False,
    copy: Annotated[bool, typer.Option(help="Keep the sound in the store instead of pointing at the files.")] = False,
    root: Annotated[list[Path] | None, typer.Option(help="A further folder that audio may lie in; repeatable.")] = None,
    source: Annotated[str | None, typer.Option(help="Source of rows that name none.")] = None,
    licence: Annotated[str | None, typer.Option(help="SPDX licence of rows that name none.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Put the recordings of a manifest on the record; what cannot go there is told in one line each."""
    from lineage.ingestion.ingest import BatchRefused
    from lineage.ingestion.ingest import ingest as run

    try:
        with progress(f"ingesting {manifest.name}") as report:
            done = run(
                Store.open(store), manifest, name=name, strict=strict, copy=copy, roots=root or (), source=source,
                licence=licence, progress=lambda n, total: report(n, total, ""),
            )  # fmt: skip
    except BatchRefused as error:
        _complain(error.complaints, as_json)
        raise
    if as_json:
        value = {"set": done.set.digest, "name": done.set.name, "run": done.run_id, "accepted": done.accepted}
        value |= {"same_sound": done.same_sound, "near": done.near}
        value |= {"new": done.new, "refused": done.refused, "complaints": done.complaints, "notes": done.notes}
        print_json(value)
        return
    _complain(done.complaints, as_json)
    for note in done.notes:
        say(f"note: {note}")
    refused = ", ".join(f"{n} {reason}" for reason, n in sorted(done.refused.items())) or "none"
    again = ", nothing has changed since it was ingested" if done.reused else f", {done.new} of them new"
    say(f"accepted {done.accepted}{again}; refused {sum(done.refused.values())} ({refused})")
    if done.same_sound or done.near:
        copies = f"{done.same_sound} have the sound of another and other words, {done.near} are near copies"
        say(f"duplicates: {copies}; which: earmark duplicates {done.set.name}")
    minutes = (done.set.duration_s or 0) / 60
    say(f"set {done.set.name}: {done.set.size} samples, {minutes:.1f} minutes, digest {short(done.set.digest)}")


def _complain(complaints: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        return
    for line in complaints[:SHOWN]:
        sys.stderr.write(f"{line}\n")
    if len(complaints) > SHOWN:
        sys.stderr.write(f"… and {len(complaints) - SHOWN} more; all of them with --json\n")


def transform(
    set_ref: Annotated[str | None, typer.Argument(metavar="SET", help="The set to make samples of.")] = None,
    name: Annotated[str | None, typer.Argument(help="Transform; all of them are listed if left out.")] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Argument(help="Its parameters: rate=16000, or a range to draw from: 'snr_db=[0, 20]'."),
    ] = None,
    to: Annotated[str | None, typer.Option(help="Name of the new set; default: SET+NAME.")] = None,
    store: StoreOption = DEFAULT_STORE,
    seed: Annotated[int, typer.Option(help="Seed of random choices.")] = 0,
    others: Annotated[str | None, typer.Option(help="Set that a mixing transform draws from.")] = None,
    size: Annotated[int | None, typer.Option(help="How many samples of one speaker a joining transform joins.")] = None,
    attribute: Annotated[list[str] | None, typer.Option(help="Attribute for every new sample: noise=hum.")] = None,
) -> None:
    """Make new samples out of a set's, on the record: resample, trim, concat, noise, reverb, tempo, codec, telephone …"""
    from lineage.derivation import transforms
    from lineage.derivation.derive import transform_set

    if set_ref is None or name is None:
        print_rows([row for t in transforms.transforms() for row in _described(t)])
        say(
            "Most numbers may be a range to draw from, 'snr_db=[0, 20]'; a name may be a list, 'codec=[\"mp3\", \"gsm\"]'."
        )
        return
    with progress(f"{name} on {set_ref}") as report:
        made = transform_set(
            Store.open(store), set_ref, name, to=to or f"{set_ref}+{name}", parameters=_pairs(parameters, json_values=True),
            seed=seed, others=others, size=size, attributes=_pairs(attribute),
            progress=lambda n, total: report(n, total, ""),
        )  # fmt: skip
    say(f"set {made.name}: {made.size} samples, {(made.duration_s or 0) / 60:.1f} minutes, digest {short(made.digest)}")


def _described(transform: Transform) -> list[dict[str, Any]]:
    """A row for what a transform does and one for each of its parameters."""
    rows = [{"transform": transform.name, "parameter": "", "default": "", "meaning": transform.doc}]
    for name, field in transform.parameters.model_fields.items():
        default = "required" if field.is_required() else "" if field.default is None else f"{field.default}"
        rows.append({"transform": "", "parameter": name, "default": default, "meaning": field.description or ""})
    return rows


def _pairs(given: list[str] | None, json_values: bool = False) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for item in given or ():
        name, sign, value = item.partition("=")
        if not sign or not name:
            raise EarmarkError(f"'{item}' is not NAME=VALUE — write for example rate=16000")
        pairs[name] = _value(value) if json_values else value
    return pairs


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def set_(
    name: Annotated[str, typer.Argument(help="Name of the new set.")],
    of: Annotated[list[str], typer.Option(help="A set to take samples from; repeatable, their union is taken.")],
    where: Annotated[str | None, typer.Option(help="SQL predicate over attributes, e.g. \"split = 'train'\".")] = None,
    intersect: Annotated[list[str] | None, typer.Option(help="Keep only what is in this set, too; repeatable.")] = None,
    minus: Annotated[list[str] | None, typer.Option(help="Take away what is in this set; repeatable.")] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Name a set computed from others: their union, intersection, difference, or the part that meets a predicate."""
    made = algebra.cut(
        Store.open(store), of, name=name, where=where, intersect=intersect or (), minus=minus or ()
    )  # fmt: skip
    say(f"set {made.name}: {made.size} samples, {(made.duration_s or 0) / 60:.1f} minutes, digest {short(made.digest)}")


def split(
    set_ref: Annotated[str, typer.Argument(metavar="SET", help="The set to cut up.")],
    shares: Annotated[str, typer.Option(help="Parts and their shares of the speakers.")] = (
        "train=0.8,development=0.1,test=0.1"
    ),
    seed: Annotated[int, typer.Option(help="Seed of who goes where.")] = 0,
    stratify: Annotated[
        str | None, typer.Option(help="Attribute of which every part gets its share of each value.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Beginning of the parts' names; default: that of the set.")] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Cut a set into parts by speaker, so that nobody is heard in two of them."""
    from lineage.selection.splits import split as cut

    parts = _pairs([part.strip() for part in shares.split(",")], json_values=True)
    for part, share in parts.items():
        if isinstance(share, bool) or not isinstance(share, int | float):
            raise EarmarkError(f"the share of '{part}' is {share!r} — write a number, for example train=0.8,test=0.2")
    for made in cut(Store.open(store), set_ref, parts, seed=seed, stratify=stratify, name=name).values():
        say(
            f"set {made.name}: {made.size} samples, {(made.duration_s or 0) / 60:.1f} minutes, digest {short(made.digest)}"
        )
