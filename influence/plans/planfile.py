"""A plan as people write it: what an audit will do and claim, in one YAML file, fixed before anything is trained.

    name: accents
    recipe: recipe.yaml                  # or the recipe itself
    slices: ["accent=*", "accent=* & noise=hum", {name: mine, ids: [0005cce0-…]}, {name: hard, set: discovered/hard}]
    hypotheses:
      - removing accent=scot raises WER on accent=scot by more than 2 points
      - removing accent=us changes WER on accent=us by less than 5 points
    causes: home -> accent -> errors; home -> device -> errors    # what acts on what (`influence.causes.graph`)
    fail_on: [refuted]

Everything else has a default. `influence.plans.plan` makes a request of it, in which every set is a digest and every slice
spelt out; the digest of that is the plan's, so layout, comments, names and how the work is spread over machines leave it
alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from influence.causes.graph import CausalGraph
from influence.executors.spread import Spread
from influence.interventions import Kind, Remove
from influence.interventions.remove import KIND as REMOVE
from influence.plans.controls import Match
from influence.statistics.effects import MARGINS, Declaration
from influence.statistics.panels import USUAL, Generalise, Metric
from influence.statistics.sequential import FUTILITY, LOOKS, SPENDINGS, Sequential, Spending
from influence.statistics.verdicts import Equivalence
from lineage.errors import EarmarkError
from lineage.selection.sets import resolve_set
from lineage.selection.slices import Slice
from lineage.sql import quote
from lineage.store import Store
from lineage.written import Written
from training.normalise import NAMES as NORMALISERS
from training.recipe import Recipe
from training.statistics.bootstrap import LEVEL, REPLICATES

SEEDS = 3
CONTROLS = 2  # random removals of each size per seed
Count = Annotated[int, Field(ge=1, le=1000)]
Margin = Annotated[float, Field(gt=0)]
Order = Literal["declared", "gradients"]
NULL = "null"  # YAML reads the bare word as nothing, both as the name of the field and as a condition
Condition = Literal["refuted", "unsupported", "hurts", "failures", "power", "null", "causes"]
CONDITIONS = {
    "refuted": "a hypothesis is refuted",
    "unsupported": "a hypothesis is not supported",
    "hurts": "a slice of the training data hurts, or an intervention does",
    "failures": "a retraining failed",
    "power": "the planted slice is not found to hurt",
    "null": "the null slice is not shown to have no effect",
    "causes": "a gap that the causal graph asks for falls when it is attacked, or cannot be estimated",
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SliceEntry(_Part):
    """A slice that is not written as a condition: samples by id, or those of a set, such as a discovered slice."""

    name: str = Field(min_length=1, max_length=200, description="What it is called.")
    ids: tuple[uuid.UUID, ...] = Field(default=(), description="Samples.")
    set: str | None = Field(default=None, description="A set: name or digest.")
    where: str | None = Field(default=None, description="A condition in SQL.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum((bool(self.ids), self.set is not None, self.where is not None)) != 1:
            raise ValueError("give one of ids, set and where")
        return self

    def slice(self, store: Store) -> Slice:
        """As a slice."""
        if self.set is not None:
            digest = resolve_set(store, self.set).digest
            return Slice(self.name, f"in set {digest}", "set", digest)
        if self.ids:
            listed = ", ".join(quote(str(i)) for i in sorted(self.ids))
            return Slice(self.name, f"sample_id IN ({listed})", "ids")
        return Slice(self.name, str(self.where))


class Controls(_Part):
    """Random removals beside each slice (see `influence.plans.controls`)."""

    number: int = Field(default=CONTROLS, ge=0, le=1000, description="Of each size; from 19 on the same in every seed.")
    match: Match = Field(default="count", description="What else is matched: count, hours, speakers or words.")
    curve: tuple[int, ...] = Field(
        default=(), max_length=50, description="Instead: sizes of random removals that a line is fitted to."
    )

    @field_validator("curve")
    @classmethod
    def _positive(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if any(size < 1 for size in sizes):
            raise ValueError("sizes are numbers of samples, 1 or more")
        return tuple(sorted(sizes))


class Planted(_Part):
    """A positive control: words are corrupted in a random slice, and the audit must find that it hurts.

    It has to do more harm than the margin, for what lies within the margin counts as no effect.
    """

    share: float = Field(default=0.2, gt=0, lt=1, description="Share of the training set that is corrupted.")
    words: float = Field(default=1.0, gt=0, le=1, description="Share of their words that is.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Which.")


class Budget(_Part):
    """The most that may be spent on what is not on record already (see `influence.plans.budget`)."""

    retrainings: int | None = Field(default=None, ge=1, description="Retrainings.")
    hours: float | None = Field(
        default=None, gt=0, description="Hours of work, of all workers together, with evaluations."
    )


class Looks(_Part):
    """Seeds in rounds instead of all at once: what is settled gets no more of them (see `influence.statistics.sequential`)."""

    looks: tuple[int, ...] = Field(
        default=LOOKS, description="Seeds after which the questions are asked, the last: all."
    )
    spending: Spending = Field(
        default=SPENDINGS[0], description=f"How α is spent on the looks: {', '.join(SPENDINGS)}."
    )
    metric: Metric = Field(default="wer", description="Whose verdict settles a slice.")
    futility: float = Field(
        default=FUTILITY,
        ge=0,
        lt=0.5,
        description="Chance of a verdict below which a slice gets no more seeds; 0: never.",
    )

    @property
    def declaration(self) -> Sequential:
        """As the statistics take it."""
        return Sequential(self.looks, self.spending, self.metric, self.futility)


class Statistics(_Part):
    """What the audit commits itself to in its statistics."""

    level: float = Field(default=LEVEL, gt=0.5, lt=1, description="Confidence level, and 1 − family-wise error.")
    metrics: tuple[Metric, ...] = Field(
        default=USUAL,
        min_length=1,
        description="What is measured: wer, loss, cer, entity_errors, ece_utterance, ece_word.",
    )
    margins: dict[Metric, Margin] = Field(
        default={}, description="Largest change that counts as none: nats per word of loss, points of all others."
    )
    generalise: Generalise = Field(default="speakers", description="'speakers' like those tested, or 'utterances'.")
    replicates: int = Field(default=REPLICATES, ge=20, le=1_000_000, description="Of the bootstrap.")
    normalise: str = Field(default="basic", description="Normaliser of references and hypotheses.")
    sequential: Looks | None = Field(default=None, description="Looks at fewer seeds; null: one look at all of them.")
    screening: bool = Field(
        default=False, description="Bound the share of false discoveries (Benjamini–Hochberg), not any (Holm)."
    )
    equivalence: Equivalence = Field(
        default="each", description="Whether the level is that of each 'no effect', or of the whole 'family'."
    )

    @field_validator("normalise")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in NORMALISERS:
            raise ValueError(f"no such normaliser; choose one of {', '.join(NORMALISERS)}")
        return name

    @property
    def declaration(self) -> Declaration:
        """In the units of the record."""
        given: dict[str, float] = {m: round(v / 100, 12) if m != "loss" else v for m, v in self.margins.items()}
        return Declaration(
            self.level, {**MARGINS, **given}, self.generalise, self.replicates, screening=self.screening,
            metrics=self.metrics, equivalence=self.equivalence,
            sequential=self.sequential.declaration if self.sequential else None,
        )  # fmt: skip


class Executor(_Part):
    """How the work is spread; no part of the digest."""

    kind: Literal["local", "ray"] = Field(
        default="local", description="Where the workers are: this machine, or a Ray cluster."
    )
    workers: int = Field(default=1, ge=1, le=1024, description="Processes, of the recipe's threads each.")
    address: str | None = Field(
        default=None, description="Of the Ray cluster: local, auto, host:port or ray://host:port."
    )

    @property
    def spread(self) -> Spread:
        """As executors take it."""
        return Spread(self.kind, self.workers, self.address)


class AuditPlan(Written):
    """An audit as it is declared. Sets are named by name or digest."""

    KIND: ClassVar[str] = "plan"
    BEGIN: ClassVar[str] = "recipe: recipe.yaml"

    name: str = Field("audit", min_length=1, max_length=200, description="What people call it.")
    recipe: Recipe = Field(description="How to train: the path of a recipe, or the recipe itself.")
    train: str | None = Field(None, description="Training set, instead of the recipe's.")
    evaluate: str | None = Field(None, description="Evaluation set; null: the recipe's first.")
    slices: tuple[SliceEntry | str, ...] = Field(description="Slices of the training data to intervene on.")
    look_at: tuple[SliceEntry | str, ...] = Field((), description="Slices of the errors; empty: the same, and all.")
    interventions: tuple[Kind, ...] = Field((Remove(),), min_length=1, description="What is done to the slices.")
    seeds: Count | tuple[int, ...] = Field(SEEDS, description="How many, from the recipe's on, or which.")
    budget: Budget = Field(Budget(), description="The most that may be spent.")
    controls: Controls = Field(Controls(), description="Random removals.")
    null: tuple[str, ...] = Field((), description="Slices of which no effect is expected, as a negative control.")
    planted: Planted | None = Field(None, description="A corrupted random slice, as a positive control.")
    hypotheses: tuple[str, ...] = Field((), description="The declared family, a sentence each.")
    causes: CausalGraph | None = Field(None, description="A causal graph: its effects are estimated and attacked, too.")
    statistics: Statistics = Field(Statistics(), description="Level, margins, whom claims are about.")
    fail_on: tuple[Condition, ...] = Field(
        ("refuted", "failures"),
        description="What makes the exit status 1: " + "; ".join(f"{c}: {m}" for c, m in CONDITIONS.items()) + ".",
    )
    amends: str | None = Field(None, min_length=8, description="Digest of the plan that this one changes.")
    executor: Executor = Field(Executor(), description="How the work is spread; no part of the digest.")
    order: Order = Field(
        "declared",
        description="Which retrainings begin first: as declared, or those of the largest effects that gradients on record "
        "foretell; no part of the digest, for it changes no result.",
    )

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """See `Written`; a recipe's path is taken from where the plan lies."""
        return super().load(path)

    @classmethod
    def parse(cls, fields: Any, where: str | None = None) -> Self:
        """See `Written`."""
        if isinstance(fields, Mapping):
            fields = {NULL if name is None else name: value for name, value in fields.items()}
            recipe = fields.get("recipe")
            if isinstance(recipe, str):
                beside = Path(where).parent if where else Path()
                fields["recipe"] = Recipe.load(beside / recipe)
            elif isinstance(recipe, Mapping):
                fields["recipe"] = Recipe.parse(recipe, f"{where or 'the plan'}: recipe")
            if fields.get("causes") is not None:
                fields["causes"] = CausalGraph.parse(fields["causes"], f"{where or 'the plan'}: causes")
            given = fields.get("interventions")
            if isinstance(given, list | tuple):
                fields["interventions"] = [{"kind": i} if isinstance(i, str) else i for i in given]
        return super().parse(fields, where)

    @field_validator("slices", "look_at", "hypotheses", "fail_on", "null", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | Mapping) else value

    @field_validator("fail_on", mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        return [NULL if name is None else name for name in value] if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        about = {"power": ("planted", self.planted), "null": (NULL, self.null), "causes": ("causes", self.causes)}
        for condition, (field, value) in about.items():
            if condition in self.fail_on and not value:
                raise ValueError(
                    f"fail_on: {condition} can never be met — give '{field}', which it is about, or drop it"
                )
        return self

    @model_validator(mode="after")
    def _can_be_checked(self) -> Self:
        removed = [i.slices for i in self.interventions if i.kind == REMOVE]
        for name in self.null:
            if not any(not names or name in names for names in removed):
                raise ValueError(f"{NULL}: nothing removes '{name}', so nobody could say that this does nothing — "
                                 f"add {REMOVE} to its interventions, or drop it")  # fmt: skip
        for field, given in ((NULL, self.null), ("planted", self.planted)):
            if given and "wer" not in self.statistics.metrics:
                raise ValueError(f"{field} is judged by WER, which is not measured — add wer to statistics: metrics")
        return self

    @property
    def trained(self) -> Recipe:
        """The recipe on the plan's training set."""
        return self.recipe if self.train is None else self.recipe.variant(train=self.train)

    def chosen_seeds(self) -> tuple[int, ...]:
        """The seeds themselves.

        Raises:
            EarmarkError: there is none, or one twice, or not as many as the last look takes.
        """
        first, sequential = self.recipe.seed, self.statistics.sequential
        given = self.seeds
        if sequential is not None and "seeds" not in self.model_fields_set:
            given = sequential.declaration.most
        seeds = tuple(range(first, first + given)) if isinstance(given, int) else given
        if not seeds or len(set(seeds)) < len(seeds):
            raise EarmarkError(f"seeds {list(seeds)} — give one or more different ones")
        if sequential is not None and sequential.declaration.most != len(seeds):
            raise EarmarkError(
                f"the last look is after {sequential.declaration.most} seeds and there are {len(seeds)} — make them equal"
            )
        return seeds
