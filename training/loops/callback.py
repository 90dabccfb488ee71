"""Anybody's `Trainer` script on the record, by one line.

    Trainer(…, callbacks=[EarmarkCallback("my-store")])

Every call of `train` becomes a run: the set that it was to consume, each exposure at the moment when its batch is trained on,
arguments, model configuration, script, environment, seed and cost, and at its end the model under the digest of its weights.
An exception makes the run fail and Ctrl-C aborts it, on record; either way none of its rows is kept. Nothing that the script
computes changes: the ids travel beside the batch and are taken off before the loss is computed.

The rows of the training data say which sample they are in the column `sample_id` (see `lineage.ingestion.identified`).
`remove_unused_columns` may be left on. Evaluation is no exposure. Each checkpoint that the script saves carries the exposures
until then, so a run that resumes from one has them all, also those of a run that was killed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from lineage.errors import EarmarkError
from lineage.ingestion.identified import COLUMN, columns, identify
from lineage.store import Store
from training.loops.exposures import Carrying, Exposures, ids_in
from training.loops.keep import keep_model
from training.loops.script import Session, default_name, on_record, plain
from training.progress import Progress, silent

CARRIED = "earmark-exposures.parquet"  # in each checkpoint


class Follower(TrainerCallback):  # type: ignore[misc]
    """Notes how much a run plans (`lineage.selection.consumed` holds it against what comes) and says how far it is."""

    def __init__(self, exposures: Exposures, progress: Progress = silent) -> None:
        self._exposures = exposures
        self._progress = progress

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note what is planned."""
        passes = None if args.max_steps > 0 else args.num_train_epochs
        self._exposures.run.result["planned"] = {"epochs": passes, "steps": state.max_steps}

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Say how far the run is."""
        self._progress(state.global_step, state.max_steps, "training")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write down the rest."""
        self._exposures.flush()


class EarmarkCallback(TrainerCallback):  # type: ignore[misc]
    """Puts every `train` of the trainer that it is given to on the record of `store`.

    Args:
        store: the store or its folder.
        name: of job, set and model (default: the script's name).
        column: where rows say which sample they are.
        progress: told of steps.

    Raises:
        EarmarkError: there is no store.
    """

    def __init__(
        self, store: Store | str | Path, *, name: str | None = None, column: str = COLUMN, progress: Progress = silent
    ) -> None:
        self._store = store if isinstance(store, Store) else Store.open(store)
        self._name = name
        self._column = column
        self._progress = progress
        self._session: Session | None = None
        self.run_id: str | None = None  # of the last run

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Attach to the trainer. Callbacks are not told whose they are, but the trainer stands in the frame that makes it."""
        frame = inspect.currentframe()
        while frame is not None:
            owner = frame.f_locals.get("self")
            if isinstance(owner, Trainer) and owner.args is args:
                self.attach(owner)
                return
            frame = frame.f_back

    def attach(self, trainer: Trainer) -> None:
        """Record what `trainer` trains from now on; needed only for a trainer that was made without this callback."""
        train = trainer.train

        @functools.wraps(train)
        def recorded(*given: Any, **named: Any) -> Any:
            asked = given[0] if given else named.get("resume_from_checkpoint")
            checkpoint = get_last_checkpoint(trainer.args.output_dir) if asked is True else asked
            with self._recording(trainer, Path(checkpoint) if checkpoint else None):
                return train(*given, **named)

        trainer.train = recorded
        if self not in trainer.callback_handler.callbacks:
            trainer.add_callback(self)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Refuse to look on without recording."""
        if self._session is None:
            raise EarmarkError(
                "EarmarkCallback was added after the trainer was made — give it to Trainer(callbacks=[…]), or attach(trainer)"
            )

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Let the checkpoint carry the exposures until now."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        rows = None if self._session is None else self._session.so_far()
        if rows is not None and folder.is_dir():
            pq.write_table(rows.replace_schema_metadata({"earmark.run": self.run_id or ""}), folder / CARRIED)

    @contextmanager
    def _recording(self, trainer: Trainer, checkpoint: Path | None) -> Iterator[None]:
        _check(trainer.args)
        name, seed = self._name or default_name(), trainer.args.seed
        ids = None
        if hasattr(trainer.train_dataset, "__len__") and columns(trainer.train_dataset):
            trainer.train_dataset, ids = identify(self._store, trainer.train_dataset, name=name, column=self._column)
        with on_record(self._store, name, ids, config=_config(trainer), seed=seed, remember=True) as session:
            self._session, self.run_id = session, session.run.id
            follower = Follower(session.exposures, self._progress)
            trainer.add_callback(follower)
            try:
                if checkpoint is not None:
                    _go_on(session, checkpoint)
                with _tapped(trainer, session.exposures, self._column):
                    yield
            finally:
                self._session = None
                trainer.remove_callback(follower)
            run = session.run
            run.result["steps"] = trainer.state.global_step
            run.result["losses"] = [float(said["loss"]) for said in trainer.state.log_history if "loss" in said]
            keep_model(
                run,
                trainer.model,
                name=name,
                set_digest=session.settle(),
                seed=seed,
                processor=trainer.processing_class,
            )


def _go_on(session: Session, checkpoint: Path) -> None:
    """Record what was consumed until `checkpoint` by the run that made it."""
    step = TrainerState.load_from_json(str(checkpoint / "trainer_state.json")).global_step
    run, carried = session.run, checkpoint / CARRIED
    if not carried.exists():
        run.result["resumed"] = [{"run": None, "step": step}]
        run.result["warnings"] = [
            f"{checkpoint.name} was made off the record: what its {step} steps consumed is unknown"
        ]
        return
    rows = pq.read_table(carried)
    before = rows.schema.metadata[b"earmark.run"].decode()
    session.recall(rows.replace_schema_metadata(None))
    run.result["resumed"] = [{"run": before, "step": step}]


def _check(args: TrainingArguments) -> None:
    """Refuse what would not be recorded truly."""
    if args.world_size > 1:
        raise EarmarkError(
            f"this run has {args.world_size} processes, and each sees its own share of the samples — record runs of one process"
        )
    if args.auto_find_batch_size:
        raise EarmarkError(
            "auto_find_batch_size starts over where memory is short — set it to False and give per_device_train_batch_size"
        )


def _config(trainer: Trainer) -> dict[str, Any]:
    config = getattr(trainer.model, "config", None)
    return {
        "trainer": type(trainer).__name__,
        "arguments": plain(trainer.args.to_dict()),
        "model": {"class": type(trainer.model).__name__, **(plain(config.to_diff_dict()) if config else {})},
    }


@contextmanager
def _tapped(trainer: Trainer, exposures: Exposures, column: str) -> Iterator[None]:
    """Within, training batches carry the ids of their samples, and are noted when they are trained on.

    Only loaders of training data are touched, so what evaluates never sees an id.
    """
    loader: Callable[[], Any] = trainer.get_train_dataloader
    step: Callable[..., Any] = trainer.training_step

    def get_train_dataloader() -> Any:
        trainer._set_signature_columns_if_needed()
        collate, known = trainer.data_collator, trainer._signature_columns
        trainer.data_collator, trainer._signature_columns = Carrying(collate, column), [*known, column]
        try:
            return loader()
        finally:
            trainer.data_collator, trainer._signature_columns = collate, known

    @functools.wraps(step)
    def training_step(model: Any, inputs: Any, *given: Any, **named: Any) -> Any:
        ids = ids_in(inputs)
        if ids is None:
            raise EarmarkError(
                "a batch was trained on that carries no sample ids — let get_train_dataloader use self.data_collator"
            )
        exposures.consumed(trainer.state.global_step, int(trainer.state.epoch or 0), ids)
        return step(model, inputs, *given, **named)

    trainer.get_train_dataloader, trainer.training_step = get_train_dataloader, training_step
    try:
        yield
    finally:
        del trainer.get_train_dataloader, trainer.training_step
