"""A recipe is a whole training experiment as one YAML file: base, data, method, optimiser, schedule, seeds.

Every value that can change the weights stands here or in the environment, nowhere else, so a recipe's digest names the
experiment.

    name: six-accents
    base: earmark:whisper-tiny
    train: demo-train
    evaluate: [demo-test]
    epochs: 6
    learning_rate: 1e-3

Laws: `Recipe.parse(recipe.model_dump()) == recipe`; equal recipes have equal digests whatever the order of their fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lineage.errors import EarmarkError
from lineage.written import Written
from training.data.augment import Augmentation
from training.data.specaugment import SpecAugment
from training.normalise import NAMES as NORMALISERS

# What a recipe is called, what is measured afterwards and how often it is saved leave the weights as they are.
NOT_IN_WEIGHTS = ("name", "evaluate", "checkpoints", "save_steps", "save_seconds")
SCHEDULES = {"constant": "constant_with_warmup"}  # where the name of `transformers` is another


class Lora(BaseModel):
    """Low-rank adapters beside frozen weights (Hu et al., arXiv 2106.09685)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    rank: int = Field(8, ge=1, le=4096, description="Rank of the two factors.")
    alpha: float = Field(16.0, gt=0, description="Scale: the product of the factors counts alpha / rank.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on the adapters' input.")
    targets: tuple[str, ...] = Field(
        (), description="Endings of module names to adapt; empty: all that the family names."
    )


class Replay(BaseModel):
    """Experience replay: old samples mixed into the new (see `training.data.rehearsal`)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    sets: tuple[str, ...] = Field(min_length=1, max_length=100, description="Old sets to draw from: names or digests.")
    share: float = Field(gt=0, lt=1, description="Share of the training set that is replayed.")
    stratify: str | None = Field(
        None, min_length=1, description="'speaker' or an attribute: drawn in proportion from each of its values."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of the draw; the same for all seeds of the training.")


class Ewc(BaseModel):
    """Elastic weight consolidation: weights that an old set hangs on are held (see `training.models.ewc`)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    set: str = Field(min_length=1, description="Old set that must not be forgotten: name or digest.")
    strength: float = Field(ge=0, description="How much the old set counts; 1: a token of it as much as a new one.")
    samples: int = Field(200, ge=1, le=1_000_000, description="Utterances of it that are looked at; all if fewer.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of the choice of utterances.")


class Recipe(Written):
    """One training experiment. Sets are named by name or digest; quantities are per optimiser step unless said otherwise."""

    KIND: ClassVar[str] = "recipe"
    BEGIN: ClassVar[str] = "base: earmark:whisper-tiny"

    name: str = Field(min_length=1, max_length=200, description="What people call the model.")
    family: str = Field("whisper", description="Model family.")
    base: str = Field(
        min_length=1,
        description="'earmark:NAME' (packaged), 'model:NAME' (on record), a local folder, or a hub id 'owner/name'.",
    )
    train: str = Field(min_length=1, description="Training set: name or digest.")
    evaluate: tuple[str, ...] = Field((), description="Sets to evaluate on after training.")
    replay: Replay | None = Field(None, description="Old samples to mix into the training set.")
    ewc: Ewc | None = Field(None, description="Elastic weight consolidation: what must not be forgotten.")

    method: Literal["full", "lora"] = Field("full", description="Train all weights, or low-rank adapters.")
    lora: Lora | None = Field(None, description="Adapters, with method: lora.")
    language: str | None = Field(
        None,
        description="Language of the transcripts, e.g. 'en'; 'per-sample': the attribute 'language' of each sample.",
    )
    task: Literal["transcribe", "translate"] | None = Field(None, description="Task token of multilingual bases.")
    transcripts: str = Field("none", description="Normaliser applied to transcripts before training.")

    epochs: int = Field(ge=1, le=100_000, description="Passes over the set.")
    steps: int | None = Field(
        None, ge=1, le=2**31 - 1, description="Optimiser steps to take instead of whole passes; null: all of 'epochs'."
    )
    batch_size: int = Field(16, ge=1, le=65_536, description="Utterances per forward pass.")
    gradient_accumulation: int = Field(1, ge=1, le=65_536, description="Forward passes per optimiser step.")
    learning_rate: float = Field(gt=0, le=10, description="Peak learning rate of AdamW.")
    schedule: Literal["linear", "cosine", "cosine_with_min_lr", "polynomial", "inverse_sqrt", "constant"] = Field(
        "linear", description="Learning rate after warm-up."
    )
    min_lr_rate: float | None = Field(
        None, ge=0, lt=1, description="Share of the peak at which cosine_with_min_lr and polynomial end."
    )
    power: float | None = Field(None, gt=0, le=100, description="Exponent of polynomial; null: 1.")
    warmup: float = Field(0.1, ge=0, description="Warm-up: share of all steps if below 1, else steps.")
    weight_decay: float = Field(0.0, ge=0, lt=1, description="Decoupled weight decay; none on biases and norms.")
    max_grad_norm: float = Field(1.0, ge=0, description="Clip the gradient's norm to this; 0: do not clip.")
    dropout: float | None = Field(None, ge=0, lt=1, description="Dropout while training; null: the base's own.")
    augment: tuple[Augmentation, ...] = Field(
        (), max_length=100, description="Transforms of the waveform, drawn anew at each exposure."
    )
    spec_augment: SpecAugment | None = Field(None, description="Masks on spectrograms, drawn anew at each exposure.")

    development: str | None = Field(None, description="Set whose WER is measured during training: name or digest.")
    evaluate_every: int = Field(0, ge=0, description="Steps between these measurements; 0: after every epoch.")
    patience: int | None = Field(
        None, ge=1, description="Stop after so many measurements in a row without a better WER; null: never."
    )
    keep: Literal["last", "best"] = Field("last", description="Weights to keep: the last, or those of the best WER.")

    seed: int = Field(0, ge=0, lt=2**32, description="Data order, dropout and adapters all follow from it.")
    threads: int = Field(1, ge=1, le=1024, description="Arithmetic threads; the weights depend on their number.")
    device: Literal["cpu", "cuda", "auto"] = Field("cpu", description="Where to train; auto: cuda where there is one.")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16 (autocast) needs a GPU that has it.")
    attention: Literal["eager", "sdpa"] = Field(
        "eager", description="Attention code; eager can be differentiated twice, sdpa is faster for large models."
    )
    checkpoints: int = Field(
        0, ge=0, le=10_000, description="Evenly spaced checkpoints, with optimiser state, to keep."
    )
    save_seconds: float = Field(
        60.0, ge=0, description="Seconds between states from which a killed run goes on; 0: not by the clock."
    )
    save_steps: int = Field(0, ge=0, description="Steps between such states, besides those by the clock; 0: none.")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        for name, value in data.items():
            if isinstance(value, bool):  # YAML reads yes, no, on and off so, and pydantic takes them for 1 and 0
                raise ValueError(f"field '{name}' is read as {value}; put quotes around text, or give a number")
        filled = dict(data)
        if filled.get("method") == "lora" and filled.get("lora") is None:
            filled["lora"] = {}
        if isinstance(filled.get("evaluate"), str):
            filled["evaluate"] = [filled["evaluate"]]
        return filled

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if not self.name.isprintable():
            raise ValueError("'name' has control characters; give it a plain name")
        if self.method == "full" and self.lora is not None:
            raise ValueError("'lora' is given but 'method' is full; write method: lora, or drop lora")
        if self.precision == "bf16" and self.device == "cpu":
            raise ValueError("'precision' bf16 needs 'device' cuda or auto; write precision: fp32 for the CPU")
        if self.warmup > 1 and self.warmup != int(self.warmup):
            raise ValueError(f"'warmup' is {self.warmup:g}; give a share below 1, or a whole number of steps")
        if self.transcripts not in NORMALISERS:
            raise ValueError(f"'transcripts' names no normaliser; choose one of {', '.join(NORMALISERS)}")
        self._agree_on_schedule()
        self._agree_on_development()
        self._agree_on_the_past()
        if self.task is not None and self.language is None:
            raise ValueError("'task' is given without 'language'; multilingual bases need both, others neither")
        return self

    def _agree_on_schedule(self) -> None:
        if self.min_lr_rate is not None and self.schedule not in ("cosine_with_min_lr", "polynomial"):
            raise ValueError(f"'min_lr_rate' is given but 'schedule' is {self.schedule}; write cosine_with_min_lr")
        if self.schedule == "cosine_with_min_lr" and self.min_lr_rate is None:
            raise ValueError("'schedule' cosine_with_min_lr needs 'min_lr_rate', e.g. min_lr_rate: 0.1")
        if self.power is not None and self.schedule != "polynomial":
            raise ValueError(f"'power' is given but 'schedule' is {self.schedule}; write polynomial, or drop power")

    def _agree_on_development(self) -> None:
        if self.development is None:
            given = {"patience": self.patience is not None, "evaluate_every": self.evaluate_every > 0}
            for name, is_given in {**given, "keep": self.keep == "best"}.items():
                if is_given:
                    value = getattr(self, name)
                    raise ValueError(f"'{name}' {value} needs a set to measure on; add development: SET")
        elif self.development == self.train:
            raise ValueError("'development' is the training set; name a set that is not trained on")

    def _agree_on_the_past(self) -> None:
        if self.base == f"model:{self.name}":
            raise ValueError(
                f"'base' {self.base} has the name of the new model, and would be another one next time; give the new one "
                "another 'name', or its base by id"
            )
        if self.replay is not None and self.train in self.replay.sets:
            raise ValueError("'replay.sets' has the training set in it; name the sets of earlier trainings")
        if self.ewc is not None and self.ewc.set == self.train:
            raise ValueError("'ewc.set' is the training set; name the set of an earlier training")

    @property
    def scheduler(self) -> tuple[str, dict[str, float]]:
        """Name and further arguments of the schedule for `transformers.get_scheduler`."""
        floor = self.min_lr_rate or 0.0
        if self.schedule == "cosine_with_min_lr":
            return self.schedule, {"min_lr_rate": floor}
        if self.schedule == "polynomial":
            return self.schedule, {"lr_end": floor * self.learning_rate, "power": self.power or 1.0}
        return SCHEDULES.get(self.schedule, self.schedule), {}

    @property
    def essence(self) -> dict[str, Any]:
        """The fields on which the weights depend, as JSON."""
        unsaid = {"steps"} if self.steps is None else set()
        return self.model_dump(mode="json", exclude={*NOT_IN_WEIGHTS, *unsaid})

    def tested_on(self, ref: str | None = None) -> str:
        """The set to look at errors on: `ref`, or else the first of those named.

        Raises:
            EarmarkError: there is neither.
        """
        chosen = ref or next(iter(self.evaluate), None)
        if chosen is None:
            raise EarmarkError(
                f"recipe {self.name} names no evaluation set — add 'evaluate', or say which set to look at"
            )
        return chosen

    def variant(self, **changes: Any) -> Self:
        """The same recipe but for some fields, checked again."""
        return self.parse({**self.model_dump(), **changes}, where=f"recipe {self.name}")
