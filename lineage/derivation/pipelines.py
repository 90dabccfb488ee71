"""`datasets` pipelines on the record: the methods that scripts call anyway, on a data set that is tracked.

    data = track(store, dataset, name="digits")                  # rows without a sample id are ingested
    data = data.cast_column("audio", Audio(sampling_rate=16_000)) # resampled, and on record as that
    data = data.map(clean).filter(short)                          # samples that change have children
    parts = data.train_test_split(0.2, seed=1)
    Trainer(…, train_dataset=parts["train"].dataset, callbacks=[EarmarkCallback(store)])

Every call is a run of kind 'transform': its arguments, the digest of the function's source, the versions of the packages
that it may use, the set that went in and the set that came out. Each row keeps the id of its sample in the column
`sample_id`. Where sound or words of a row change, it becomes another sample, with an edge to the one that it was; where
neither does, for instance when features are computed, it stays what it is. `sample_id` itself stays when columns are removed.

A function that is called with batches has to keep the rows in their order, or to give each the `sample_id` of its parent: that
nobody can check. `datasets` decodes no audio without a further package, so sound is carried as bytes: `heard` decodes a
cell, `carried` makes one.
"""

from __future__ import annotations

import functools
import inspect
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rfc8785

from lineage import identity
from lineage.derivation import derive, transforms
from lineage.errors import EarmarkError
from lineage.ids import id_array
from lineage.ingestion.identified import COLUMN, identify, place_of, rows, sample_ids, set_of, undecoded
from lineage.machine import environment
from lineage.manifests.columns import AUDIO, TEXT, canonical
from lineage.manifests.entries import transcript
from lineage.recorder import NewSample, Recorder, described
from lineage.runs import Run
from lineage.selection.sets import SampleSet, create_set
from lineage.sound.audio import Waveform, check_sound, encode, quantise, read_audio
from lineage.store import Store

if TYPE_CHECKING:
    from datasets import Dataset

PACKAGES = ("datasets", "librosa", "numpy", "scipy", "soundfile", "soxr", "tokenizers", "torch", "transformers")
BATCH = 256  # rows whose sound is looked at together


class Tracked:
    """A `datasets.Dataset` whose rows are samples of `store`; immutable, like that. `dataset` is for the trainer."""

    def __init__(self, store: Store, dataset: Dataset, name: str, made: SampleSet) -> None:
        self.store = store
        self.dataset = dataset
        self.name = name
        self.set = made

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Any) -> Any:
        return self.dataset[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.dataset)

    @property
    def column_names(self) -> list[str]:
        """Of the data set."""
        return list(self.dataset.column_names)

    @property
    def ids(self) -> list[uuid.UUID]:
        """The sample of each row."""
        return sample_ids(self.dataset) or []

    # -- what changes rows -------------------------------------------------------------------------------------------

    def map(self, function: Callable[..., Any], **arguments: Any) -> Tracked:
        """`Dataset.map`. Rows whose sound or words change are new samples.

        Raises:
            EarmarkError: a row does not say which sample it was, or what it became cannot go on the record.
        """
        removed = arguments.get("remove_columns") or ()
        kept = [c for c in ([removed] if isinstance(removed, str) else removed) if c != COLUMN]
        mapped = self.dataset.map(function, **{**arguments, "remove_columns": kept or None})
        if COLUMN not in mapped.column_names:
            raise EarmarkError(
                f"what map() gave has no '{COLUMN}' — let the function give each row the sample_id of the row that it came from"
            )
        how = _how("map", arguments, function)
        with self._run(how) as run:
            ids = self._children(run, mapped, how)
            made = self._set(run, ids)
        if ids != sample_ids(mapped):
            mapped = mapped.remove_columns(COLUMN).add_column(COLUMN, [str(i) for i in ids])
        return Tracked(self.store, mapped, self.name, made)

    def cast_column(self, column: str, feature: Any) -> Tracked:
        """`Dataset.cast_column`. An `Audio` with a sampling rate resamples what has another one: new samples."""
        rate = getattr(feature, "sampling_rate", None)
        if canonical(column) != AUDIO or rate is None:
            return self._chosen(self.dataset.cast_column(column, feature), _how("cast_column", {"column": column}))
        how = _how("cast_column", {"column": column, "sampling_rate": rate})
        with self._run(how) as run:
            before = self.ids
            distinct = list(dict.fromkeys(before))
            children = derive.apply(run, "resample", distinct, parameters={"rate": rate})
            became = dict(zip(distinct, children.ids, strict=True))
            made = self._set(run, [became[i] for i in before], children.samples)

        def resampled(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
            ids = [became[uuid.UUID(i)] for i in batch[COLUMN]]
            cells = {
                i: {"bytes": encode(w), "path": None} for i, w in self.store.vault.waveforms(list(dict.fromkeys(ids)))
            }
            return {column: [cells[i] for i in ids], COLUMN: [str(i) for i in ids]}

        # its fingerprint is the set's, or `datasets` would pickle the store to find one
        data = self.dataset.map(
            resampled, batched=True, batch_size=BATCH, load_from_cache_file=False, new_fingerprint=made.digest[:16]
        )
        return Tracked(self.store, data, self.name, made)

    # -- what chooses rows -------------------------------------------------------------------------------------------

    def filter(self, function: Callable[..., Any], **arguments: Any) -> Tracked:
        """`Dataset.filter`."""
        return self._chosen(self.dataset.filter(function, **arguments), _how("filter", arguments, function))

    def select(self, indices: Any, **arguments: Any) -> Tracked:
        """`Dataset.select`; which rows is told by the set that comes out."""
        return self._chosen(self.dataset.select(indices, **arguments), _how("select", arguments))

    def shuffle(self, seed: int | None = None, **arguments: Any) -> Tracked:
        """`Dataset.shuffle`. The set is the same."""
        return self._chosen(self.dataset.shuffle(seed=seed, **arguments), _how("shuffle", {**arguments, "seed": seed}))

    def train_test_split(self, test_size: float | int | None = None, **arguments: Any) -> dict[str, Tracked]:
        """`Dataset.train_test_split`: 'train' and 'test', on record as `NAME/train` and `NAME/test`."""
        parts = self.dataset.train_test_split(test_size, **arguments)
        how = _how("train_test_split", {**arguments, "test_size": test_size})
        return {part: self._chosen(data, how, f"{self.name}/{part}") for part, data in parts.items()}

    def remove_columns(self, names: str | Sequence[str]) -> Tracked:
        """`Dataset.remove_columns`, but `sample_id` stays. Samples do not change, so nothing is recorded."""
        gone = [n for n in ([names] if isinstance(names, str) else names) if n != COLUMN]
        return Tracked(self.store, self.dataset.remove_columns(gone), self.name, self.set)

    def rename_column(self, old: str, new: str) -> Tracked:
        """`Dataset.rename_column`. Samples do not change, so nothing is recorded."""
        if COLUMN in (old, new):
            raise EarmarkError(f"'{COLUMN}' says which sample a row is — keep its name")
        return Tracked(self.store, self.dataset.rename_column(old, new), self.name, self.set)

    # -- on the record -----------------------------------------------------------------------------------------------

    def _run(self, how: Mapping[str, Any], name: str | None = None) -> Any:
        config = {"name": how["name"], "parameters": how["said"], "transform": how["transform_id"]}
        return self.store.run("transform", job=name or self.name, config=config, inputs=[self.set.digest])

    def _chosen(self, data: Dataset, how: Mapping[str, Any], name: str | None = None) -> Tracked:
        if not len(data):
            raise EarmarkError(f"{how['name']}() leaves no row of '{self.name}' — check its condition")
        with self._run(how, name) as run:
            made = self._set(run, sample_ids(data) or [], name=name)
        return Tracked(self.store, data, name or self.name, made)

    def _set(self, run: Run, ids: Sequence[uuid.UUID], samples: Any = None, name: str | None = None) -> SampleSet:
        return create_set(run, ids, name=name or self.name, parents=[self.set.digest], samples=samples)

    def _children(self, run: Run, mapped: Dataset, how: Mapping[str, Any]) -> list[uuid.UUID]:
        """The sample that each row of `mapped` is now; those that are new are recorded."""
        before = {i: n for n, i in enumerate(self.ids)}
        parents = sample_ids(mapped) or []
        unknown = next((i for i in parents if i not in before), None)
        if unknown is not None:
            raise EarmarkError(f"map() gave a row the sample_id {unknown}, which no row had before — keep the ids")
        heard, said = _named(mapped, AUDIO), _named(mapped, TEXT)
        had = [c for c in (_named(self.dataset, AUDIO), _named(self.dataset, TEXT)) if c is not None]
        present = [c for c in (heard, said) if c is not None]
        if not present:
            return parents
        ids: list[uuid.UUID] = []
        with Recorder(run) as recorder:
            old_rows, new_rows = self.dataset.select_columns([*had, COLUMN]), mapped.select_columns(present)
            for start in range(0, len(parents), BATCH):
                batch = parents[start : start + BATCH]
                old = dict(zip(batch, rows(old_rows.select([before[i] for i in batch])), strict=True))
                new = list(rows(new_rows.select(range(start, start + len(batch)))))
                ids += self._batch(recorder, how, batch, old, new)
            recorder.flush()
        return ids

    def _batch(
        self,
        recorder: Recorder,
        how: Mapping[str, Any],
        parents: Sequence[uuid.UUID],
        old: Mapping[uuid.UUID, Mapping[str, Any]],
        new: Sequence[Mapping[str, Any]],
    ) -> list[uuid.UUID]:
        changed = [i for i, (p, row) in enumerate(zip(parents, new, strict=True)) if _differ(old[p], row)]
        wanted = list(dict.fromkeys(parents[i] for i in changed))
        if not wanted:
            return list(parents)
        facts = described(self.store, id_array(wanted))
        words = self.store.vault.transcripts(wanted)
        sounds = dict(self.store.vault.waveforms(wanted))
        ids = list(parents)
        for i in changed:
            parent, row = parents[i], new[i]
            try:
                child = _child(facts[parent], sounds[parent], words.get(parent), row, old[parent])
            except EarmarkError as error:
                raise EarmarkError(f"what map() made of sample {parent} cannot go on the record: {error}") from error
            ids[i] = child.id
            if child.id != parent:
                place = transforms.Placement(0.0, 0.0, child.duration_s)
                recorder.use({k: v for k, v in how.items() if k != "said"})
                recorder.add(child, [derive.edge(child.id, parent, how["transform_id"], facts[parent]["kind"], place)])
        return ids


def track(store: Store, dataset: Dataset, *, name: str) -> Tracked:
    """Follow what becomes of a data set; its samples are the set `name`.

    Rows that say in `sample_id` which sample they are have to be on record; others are ingested by their sound and words.

    Raises:
        EarmarkError: a row is neither, or is refused by the rules of ingestion.
    """
    if not hasattr(dataset, "select_columns") or not hasattr(dataset, "cast_column") or isinstance(dataset, dict):
        raise EarmarkError(
            "only a datasets.Dataset can be tracked — of a DatasetDict track each split, under its own name"
        )
    data, ids = identify(store, undecoded(dataset), name=name)
    return Tracked(store, data, name, set_of(store, ids, name))


def concatenate(parts: Sequence[Tracked], *, name: str) -> Tracked:
    """`datasets.concatenate_datasets`, recorded as the union of the sets."""
    from datasets import concatenate_datasets

    if not parts:
        raise EarmarkError("there is nothing to concatenate — give tracked data sets")
    store, how = parts[0].store, _how("concatenate", {})
    if any(p.store.root != store.root for p in parts):
        raise EarmarkError("the data sets are of several stores — track them in one")
    data = concatenate_datasets([p.dataset for p in parts])
    digests = list(dict.fromkeys(p.set.digest for p in parts))
    config = {"name": how["name"], "parameters": how["said"], "transform": how["transform_id"]}
    with store.run("transform", job=name, config=config, inputs=digests) as run:
        made = create_set(run, sample_ids(data) or [], name=name, parents=digests)
    return Tracked(store, data, name, made)


def heard(cell: Any) -> Waveform:
    """The sound in a cell of a column of audio.

    Raises:
        AudioRefused: it is not a whole, audible clip.
    """
    path, sound = place_of(cell)
    return read_audio(sound() if sound else str(path), name=path)


def carried(wave: Waveform) -> dict[str, Any]:
    """A cell for a column of audio that holds this sound, rounded to 16 bits."""
    return {"bytes": encode(quantise(wave)), "path": None}


# -- how a row becomes another sample ------------------------------------------------------------------------------------


def _named(data: Dataset, meaning: str) -> str | None:
    return next((c for c in data.column_names if canonical(c) == meaning), None)


def _cell(row: Mapping[str, Any], meaning: str) -> Any:
    return next((v for c, v in row.items() if canonical(c) == meaning), None)


def _bytes(cell: Any) -> bytes | str | None:
    path, sound = place_of(cell)
    return sound() if sound else path


def _differ(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    sound, words = _cell(new, AUDIO), _cell(new, TEXT)
    return (sound is not None and _bytes(sound) != _bytes(_cell(old, AUDIO))) or (
        words is not None and words != _cell(old, TEXT)
    )


def _child(
    facts: Mapping[str, Any], sound: Waveform, words: str | None, row: Mapping[str, Any], old: Mapping[str, Any]
) -> NewSample:
    """The sample that a row is now; what the row does not say is as its parent has it."""
    cell, said = _cell(row, AUDIO), _cell(row, TEXT)
    wave = sound if cell is None or _bytes(cell) == _bytes(_cell(old, AUDIO)) else quantise(heard(cell))
    check_sound(wave, "the sound")
    text = words if said is None or said == _cell(old, TEXT) else transcript(said)
    return derive.heir([facts], [facts], wave, text)


def _how(name: str, arguments: Mapping[str, Any], function: Callable[..., Any] | None = None) -> dict[str, Any]:
    """A call as a row of `transforms`; `said` are its parameters once more, as JSON."""
    told = {k: v for k, v in arguments.items() if isinstance(v, (bool, int, float)) or v is None}
    told |= {k: v for k, v in arguments.items() if k in ("column", "stratify_by_column")}
    others = sorted(arguments.keys() - told.keys() - {"remove_columns", "cache_file_name", "desc"})
    said: dict[str, Any] = {"arguments": told, "digests": {k: _digest(arguments[k]) for k in others}}
    code = transforms.code_version(Path(__file__))
    if function is not None:
        said["function"] = getattr(function, "__qualname__", type(function).__name__)
        code = _digest(function)
    packages = environment.package_versions(*PACKAGES)
    return {
        "transform_id": identity.transform_id(f"datasets.{name}", said, code, packages),
        "name": f"datasets.{name}",
        "parameters": rfc8785.dumps(said).decode(),
        "code_version": code,
        "packages": rfc8785.dumps(packages).decode(),
        "said": said,
    }


def _digest(value: Any) -> str:
    """Digest of an argument: of a function the source and what it closes over, of values their JSON.

    What has neither is told by the name of its type, and two of one type are then not told apart.
    """
    if isinstance(value, functools.partial):
        return identity.digest_of([_digest(value.func), _digest(list(value.args)), _digest(value.keywords)])
    if callable(value):
        code = value if inspect.isroutine(value) or inspect.isclass(value) else type(value)
        try:
            source = inspect.getsource(code)
        except (OSError, TypeError):
            source = f"{code.__module__}.{code.__qualname__}"
        bound = (
            {n: _json(v) for n, v in inspect.getclosurevars(code).nonlocals.items()} if inspect.isfunction(code) else {}
        )
        return identity.digest_of({"source": inspect.cleandoc(source), "bound": bound})
    return identity.digest_of(_json(value))


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _json(v) for k, v in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple, range)):
        return [_json(v) for v in value]
    if isinstance(value, (str, bool, float)) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else str(value)
    return _digest(value) if callable(value) else type(value).__qualname__
