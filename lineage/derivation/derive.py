"""Derivation: transforms applied to samples, on the record.

Every child is a sample like any other. Its sound is rounded to 16-bit PCM before it is hashed, and kept as FLAC in the
vault; edges say which parents it has, where they lie in it, how loud and under which seed. It inherits the union of its
parents' recordings (`root_ids`) and of their licences, and what all parents agree on: speaker, source, attributes. A noise
that is laid under it counts for recordings and licence only.

Laws: the same parents, parameters and seed make the same `sample_id`, in whatever order, batch or thread; a transform
that changes nothing gives the parent itself, without an edge. A batch holds the sound of a bounded number of samples, so
the size of a set does not matter. The children of one run are read by the next, not by the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from lineage.derivation import transforms
from lineage.derivation.chance import Draw, is_drawn, settle
from lineage.derivation.transforms import Parent, Result, Transform
from lineage.errors import EarmarkError
from lineage.identity import audio_digest, digest_of, sample_id
from lineage.ids import id_array
from lineage.machine.pool import in_order
from lineage.manifests.entries import transcript
from lineage.people import spdx
from lineage.recorder import NewSample, Recorder, described
from lineage.runs import Run
from lineage.selection.sets import SampleSet, create_set, members, resolve_set
from lineage.sound.audio import AudioRefused, Waveform, check_sound, encode, quantise
from lineage.sound.facts import listen
from lineage.store import Store

FACTS = 20_000  # jobs whose parents are looked up at a time
SOUND_BYTES = 128 << 20  # decoded sound in memory at a time
SOUND_JOBS = 512

Progress = Callable[[int, int], None]
Facts = dict[uuid.UUID, dict[str, Any]]


@dataclass(frozen=True)
class Job:
    """One child to be made.

    `part` (start and end in seconds) and `text` are for transforms that cut: what the part says. Elsewhere the child says
    what its parents say, one after the other.
    """

    parents: tuple[uuid.UUID, ...]
    part: tuple[float, float] | None = None
    text: str | None = None
    bed: uuid.UUID | None = None  # the noise it is mixed with; drawn by `apply`

    @property
    def samples(self) -> tuple[uuid.UUID, ...]:
        """All samples whose sound is needed."""
        return self.parents if self.bed is None else (*self.parents, self.bed)


@dataclass(frozen=True)
class Children:
    """What `apply` made: the child of each item in order, and `sample_id`, `duration_s`, `words` for `create_set`."""

    ids: list[uuid.UUID]
    samples: pa.Table
    new: int


@dataclass(frozen=True)
class _Recipe:
    kind: Transform
    parameters: Mapping[str, Any]
    seed: int
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class _Stock:
    """What is known of the parents in one batch: public rows, sound, words."""

    facts: Facts
    sounds: Mapping[uuid.UUID, Waveform]
    words: Mapping[uuid.UUID, str]


@dataclass(frozen=True)
class _Child:
    id: uuid.UUID
    sample: NewSample
    result: Result


def apply(
    run: Run,
    name: str,
    items: Iterable[uuid.UUID | Sequence[uuid.UUID] | Job],
    *,
    parameters: Mapping[str, Any] | None = None,
    seed: int = 0,
    others: Iterable[uuid.UUID] = (),
    attributes: Mapping[str, str] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Children:
    """Make one child of each item: a sample, a sequence of samples to join, or a `Job`.

    `others` is the pool that a mixing transform draws from; `attributes` are given to every child and win over inherited
    ones. `progress` is told (done, of how many).

    Raises:
        EarmarkError: no such transform, sample or parameter, or a sample that the transform cannot be applied to; the
            run should not go on, for a set with holes is not the set that was asked for.
    """
    kind = transforms.find(name)
    checked = kind.check(parameters or {})
    if not 0 <= seed < 1 << 63:
        raise EarmarkError(f"seed {seed} is out of range — give a number from 0 to 2^63 − 1")
    recipe = _Recipe(kind, checked, seed, attributes or {})
    jobs = _jobs(kind, items, seed, sorted(set(others)))
    how = transforms.row(name, checked)
    # Those of one noise come together, so that it is decoded once; the order has no effect on what is made.
    distinct = sorted(dict.fromkeys(jobs), key=lambda job: job.bed or uuid.UUID(int=0))
    made: dict[Job, uuid.UUID] = {}
    with Recorder(run) as recorder:
        recorder.use(how)
        for batch, facts in _batches(run.store, distinct):
            needed = list(dict.fromkeys(s for job in batch for s in job.samples))
            sounds = dict(run.store.vault.waveforms(needed))
            stock = _Stock(facts, sounds, run.store.vault.transcripts(needed))
            for job, child in in_order(partial(_child, recipe, stock), batch, workers):
                made[job] = child.id
                if child.id not in job.parents:  # else nothing was changed
                    recorder.add(child.sample, _edges(recipe, how["transform_id"], job, child, facts))
            if progress:
                progress(len(made), len(distinct))
        samples = recorder.totals()
    return Children([made[job] for job in jobs], samples, recorder.new)


def transform_set(
    store: Store,
    ref: str,
    name: str,
    *,
    to: str,
    parameters: Mapping[str, Any] | None = None,
    seed: int = 0,
    others: str | None = None,
    attributes: Mapping[str, str] | None = None,
    size: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> SampleSet:
    """Apply a transform to every sample of a set; the children are the set `to`.

    `others` names the set that a mixing transform draws from. A joining transform joins `size` samples of one speaker at
    a time (see `strings`). Done before with all the same, nothing is done again.
    """
    kind = transforms.find(name)
    checked = kind.check(parameters or {})
    if kind.cuts:
        raise EarmarkError(f"{name} needs the start, end and words of each part — list them in a manifest with offset")
    if kind.mixes and others is None:
        raise EarmarkError(f"{name} mixes in other samples — name the set to draw them from")
    if kind.joins and (size or 0) < 2:
        raise EarmarkError(f"{name} joins samples — say how many at a time (size, 2 or more)")
    base = resolve_set(store, ref)
    pool = resolve_set(store, others) if others is not None else None
    config = {
        "transform": transforms.row(name, checked)["transform_id"],
        "name": name,
        "parameters": checked,
        "set": base.digest,
        "others": pool.digest if pool else None,
        "seed": seed,
        "attributes": dict(attributes or {}),
        "size": size if kind.joins else None,
        "to": to,
    }
    key = digest_of({"job": "transform", **config})
    before = store.find_run(key)
    if before is not None:
        return resolve_set(store, before.outputs[0])
    ids: list[uuid.UUID] = members(store, base.digest).to_pylist()
    items: Iterable[uuid.UUID | Sequence[uuid.UUID]] = strings(store, ids, size, seed) if kind.joins and size else ids
    inputs = [s.digest for s in (base, pool) if s]
    with store.run("transform", job=to, config=config, key=key, inputs=inputs, seed=seed) as run:
        children = apply(
            run,
            name,
            items,
            parameters=checked,
            seed=seed,
            others=members(store, pool.digest).to_pylist() if pool else (),
            attributes=attributes,
            workers=workers,
            progress=progress,
        )
        run.result = {"children": len(children.ids), "new": children.new}
        return create_set(run, children.ids, name=to, parents=inputs, samples=children.samples)


def strings(store: Store, ids: Sequence[uuid.UUID], size: int, seed: int = 0) -> list[tuple[uuid.UUID, ...]]:
    """Groups of `size` samples of one speaker each, every sample in one group at most, shuffled by `seed`.

    Samples without a speaker are left out, and the rest of a speaker that fills no group.
    """
    by_speaker: dict[uuid.UUID, list[uuid.UUID]] = {}
    for start in range(0, len(ids), FACTS):
        for sample, facts in described(store, id_array(ids[start : start + FACTS])).items():
            if facts["speaker_key"] is not None:
                by_speaker.setdefault(facts["speaker_key"], []).append(sample)
    draw = Draw(seed, ())
    groups = []
    for speaker in sorted(by_speaker):
        shuffled = sorted(by_speaker[speaker], key=lambda s: (draw.unit(s.bytes), s))
        groups += [tuple(shuffled[i : i + size]) for i in range(0, len(shuffled) - size + 1, size)]
    return groups


def joint_licence(licences: Iterable[str | None]) -> str | None:
    """The terms of a whole whose parts have these licences: all of them at once, as an SPDX expression."""
    return spdx.joint(licences)


def inherited(parents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a child has from rows of `samples` of its parents: kind, and where all agree speaker, source, attributes."""
    maps = [dict(p["attributes"] or ()) for p in parents]

    def shared(name: str) -> Any:
        values = {p[name] for p in parents}
        return values.pop() if len(values) == 1 else None

    return {
        "kind": "speech" if any(p["kind"] == "speech" for p in parents) else "noise",
        "speaker_key": shared("speaker_key"),
        "source": shared("source"),
        "attributes": {k: v for k, v in maps[0].items() if all(m.get(k) == v for m in maps)},
    }


def heir(
    parents: Sequence[Mapping[str, Any]],
    every: Sequence[Mapping[str, Any]],
    wave: Waveform,
    text: str | None,
    attributes: Mapping[str, str] | None = None,
) -> NewSample:
    """The sample of this sound and these words, made of samples whose rows are `every`.

    `parents` are those of them that it speaks for: all but a noise beneath. `attributes` win over inherited ones.
    """
    given, digest = inherited(parents), audio_digest(wave.pcm, wave.rate)
    return NewSample(
        sample_id(digest, text),
        digest,
        given["kind"],
        wave.duration_s,
        wave.rate,
        wave.channels,
        transcript=text,
        speaker_key=given["speaker_key"],
        source=given["source"],
        licence=joint_licence(p["licence"] for p in every),
        roots=tuple(sorted({root for p in every for root in p["root_ids"] or (p["sample_id"],)})),
        attributes={**given["attributes"], **(attributes or {})},
        clip=encode(wave),
        facts=listen(wave),
    )


def edge(child: uuid.UUID, parent: uuid.UUID, how: str, role: str, place: transforms.Placement) -> dict[str, Any]:
    """A row of `edges` for an only parent of a transform without chance."""
    return {"child_id": child, "parent_id": parent, "transform_id": how, "role": role, "position": 0, **place._asdict()}


def _jobs(
    kind: Transform, items: Iterable[uuid.UUID | Sequence[uuid.UUID] | Job], seed: int, pool: list[uuid.UUID]
) -> list[Job]:
    if kind.mixes and not pool:
        raise EarmarkError(f"{kind.name} mixes in other samples, and there are none — give a set of them")
    jobs = []
    for item in items:
        job = item if isinstance(item, Job) else Job((item,) if isinstance(item, uuid.UUID) else tuple(item))
        if not job.parents or (len(job.parents) > 1 and not kind.joins):
            raise EarmarkError(f"{kind.name} takes {'some samples' if kind.joins else 'one sample'} for each child")
        if kind.cuts != (job.part is not None):
            raise EarmarkError(f"{kind.name} {'needs the part to cut' if kind.cuts else 'takes no part'}")
        if kind.mixes:
            job = Job(job.parents, None, job.text, Draw(seed, job.parents).choose(pool))
        jobs.append(job)
    return jobs


def _batches(store: Store, jobs: list[Job]) -> Iterator[tuple[list[Job], Facts]]:
    """Jobs whose parents' sound fits into memory together, and the public rows of the parents."""
    for start in range(0, len(jobs), FACTS):
        stretch = jobs[start : start + FACTS]
        wanted = list(dict.fromkeys(s for job in stretch for s in job.samples))
        facts = described(store, id_array(wanted))
        for sample in wanted:
            if sample not in facts:
                raise EarmarkError(f"sample {sample} is not on record — give samples of this store")
        batch: list[Job] = []
        loaded: set[uuid.UUID] = set()
        size = 0
        for job in stretch:
            fresh = set(job.samples) - loaded
            more = sum(_bytes(facts[s]) for s in fresh)
            if batch and (len(batch) == SOUND_JOBS or size + more > SOUND_BYTES):
                yield batch, facts
                batch, loaded, size = [], set(), 0
                fresh = set(job.samples)
                more = sum(_bytes(facts[s]) for s in fresh)
            batch.append(job)
            loaded |= fresh
            size += more
        yield batch, facts


def _bytes(facts: Mapping[str, Any]) -> int:
    return int(facts["duration_s"] * facts["sample_rate"] * facts["channels"] * 4)


def _child(recipe: _Recipe, stock: _Stock, job: Job) -> _Child:
    kind, facts, words = recipe.kind, stock.facts, stock.words
    parents = [Parent(s, stock.sounds[s], dict(facts[s]["attributes"] or ()), job.part) for s in job.samples]
    main = [facts[s] for s in job.parents]
    try:
        draw = Draw(recipe.seed, job.samples)
        result = kind.make(parents, draw, **settle(recipe.parameters, draw))
        wave = quantise(result.wave)
        check_sound(wave, "the child")
        said = [words[s] for s in job.parents if s in words]
        text = transcript(job.text) if job.text is not None else None if kind.cuts else " ".join(said) or None
        if kind.cuts and text is None and any(p["kind"] == "speech" for p in main):
            raise EarmarkError("a part needs its own words — give its text")
    except AudioRefused as error:
        raise EarmarkError(f"{kind.name} of sample {job.parents[0]}: {error.problem} — leave the sample out") from error
    except EarmarkError as error:
        raise EarmarkError(f"{kind.name} of sample {job.parents[0]}: {error}") from error
    sample = heir(main, [facts[s] for s in job.samples], wave, text, {**result.attributes, **recipe.attributes})
    return _Child(sample.id, sample, result)


def _edges(recipe: _Recipe, how: str, job: Job, child: _Child, facts: Facts) -> list[dict[str, Any]]:
    rows = []
    seed = recipe.seed if recipe.kind.draws or is_drawn(recipe.parameters) else None
    for position, (parent, place) in enumerate(zip(job.samples, child.result.placements, strict=True)):
        role = "noise" if position == len(job.parents) else facts[parent]["kind"]
        row = edge(child.id, parent, how, role, place)
        rows.append({**row, "position": position, "seed": seed})
    return rows
