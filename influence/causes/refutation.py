"""Trying to break an adjusted gap: DoWhy identifies the effect in the causal graph and attacks the estimate.

DoWhy (Sharma & Kiciman, arXiv 2011.04216) is given the graph, and as its estimator the very regression that is reported
(`rates`), so that what is attacked is the figure that people read. Three attacks: a *placebo* in the slice's place has to have
no effect; one *random common cause* more, and a random *subset* of the utterances, have to leave the gap where it is. An
estimate that stands is not thereby true; one that falls is wrong.

The extra `causal` has it; nothing is imported until asked for.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from influence.causes.graph import OUTCOME, CausalGraph
from influence.causes.rates import design, population_averaged
from influence.causes.utterances import UNKNOWN, Column, Utterances, numeric
from lineage.errors import EarmarkError
from training.progress import Progress, silent

PLACEBO = "placebo"
COMMON_CAUSE = "random common cause"
SUBSET = "subset"
SIMULATIONS = 20
SUBSET_SHARE = 0.8
LEAST_P = 0.05
NOTHING = 1e-6  # WER: an attack that moves the gap by less moves rounding
WORDS, SPEAKER = "earmark_words", "earmark_speaker"


@dataclass(frozen=True)
class Refutation:
    """One attack: the gap before and the mean gap under it (WER), and the p-value that what has to hold does hold."""

    attack: str
    estimate: float
    attacked: float
    p: float
    stands: bool


def identify(graph: CausalGraph, treatment: str) -> Any:
    """DoWhy's identified estimand of the effect of `treatment` on the errors.

    Raises:
        EarmarkError: DoWhy is missing, or finds no back-door set.
    """
    require()
    from dowhy.causal_identifier import AutoIdentifier, EstimandType

    hidden = set(graph.unobserved)
    observed = sorted(set(graph.network) - hidden)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls networkx by names that are going out
        estimand = AutoIdentifier(estimand_type=EstimandType.NONPARAMETRIC_ATE).identify_effect(
            graph.network, action_nodes=[treatment], outcome_nodes=[OUTCOME], observed_nodes=observed
        )
    if estimand.estimands.get("backdoor") is None:
        raise EarmarkError(f"DoWhy finds no back-door set for {treatment} — observe more, or draw the graph anew")
    estimand.set_identifier_method("backdoor")
    return estimand


def refute(
    heard: Utterances,
    graph: CausalGraph,
    treatment: str,
    *,
    simulations: int = SIMULATIONS,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[Refutation, ...]:
    """The three attacks on the gap of `heard`, adjusted for what the graph asks for, `simulations` draws each.

    `progress` is told of estimates: the gap's own, and one a draw.

    Raises:
        EarmarkError: DoWhy is missing, or finds no back-door set.
    """
    estimand = identify(graph, treatment)
    estimand.set_backdoor_variables(list(graph.adjustment(treatment)))
    from dowhy.causal_refuters import refute_data_subset, refute_placebo_treatment, refute_random_common_cause
    from dowhy.causal_refuters.placebo_treatment_refuter import PlaceboType

    data = _frame(heard, treatment)
    made = count(1)
    estimates = 1 + 3 * simulations
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = _estimator(lambda: progress(next(made), estimates, "attacking"))(estimand)
        estimate = estimator.fit(data).estimate_effect(data)
        options = {"num_simulations": simulations, "random_state": np.random.RandomState(seed)}
        attacks = {
            PLACEBO: refute_placebo_treatment(
                data, estimand, estimate, [treatment], placebo_type=PlaceboType.PERMUTE, **options
            ),
            COMMON_CAUSE: refute_random_common_cause(data, estimand, estimate, **options),
            SUBSET: refute_data_subset(data, estimand, estimate, subset_fraction=SUBSET_SHARE, **options),
        }
    return tuple(_told(name, estimate.value, attack) for name, attack in attacks.items())


def _told(name: str, estimate: float, attack: Any) -> Refutation:
    p = float(np.ravel(attack.refutation_result["p_value"])[0])
    before, attacked = float(estimate), float(attack.new_effect)
    moved = abs(attacked - (0.0 if name == PLACEBO else before))
    return Refutation(name, before, attacked, p, p > LEAST_P or moved < NOTHING)


def require() -> None:
    """Make sure that DoWhy is there.

    Raises:
        EarmarkError: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import dowhy
    except ImportError as error:
        raise EarmarkError(
            "refuting a causal claim needs DoWhy, which is not installed — pip install 'earmark[causal]'"
        ) from error
    logging.getLogger(dowhy.__name__).setLevel(logging.ERROR)


def _frame(heard: Utterances, treatment: str) -> Any:
    import pandas as pd

    columns: dict[str, Any] = dict(heard.columns)
    columns |= {treatment: heard.inside.astype(int), OUTCOME: heard.errors, WORDS: heard.words, SPEAKER: heard.speakers}
    return pd.DataFrame(columns)


def _estimator(told: Callable[[], None]) -> Any:
    """The reported regression as an estimator of DoWhy's; a class made here, since its base is imported only now.

    `told` is called after every estimate.
    """
    from dowhy.causal_estimator import CausalEstimate, CausalEstimator

    class Rates(CausalEstimator):  # type: ignore[misc]
        def fit(self, data: Any, effect_modifier_names: list[str] | None = None) -> Any:
            self._set_effect_modifiers(data, effect_modifier_names)
            return self

        def estimate_effect(
            self, data: Any, treatment_value: Any = 1, control_value: Any = 0, target_units: Any = "ate", **_: Any
        ) -> Any:
            self._target_units = target_units
            (treated,), conditions = (
                self._target_estimand.treatment_variable,
                self._target_estimand.get_backdoor_variables(),
            )
            heard = Utterances(
                (None,) * len(data),  # type: ignore[arg-type]
                data[OUTCOME].to_numpy(dtype=float),
                data[WORDS].to_numpy(dtype=float),
                data[SPEAKER].to_numpy(),
                data[treated].to_numpy() == 1,
                {name: _column(data[name]) for name in conditions},
            )
            estimate = CausalEstimate(
                data=data,
                treatment_name=self._target_estimand.treatment_variable,
                outcome_name=self._target_estimand.outcome_variable,
                estimate=population_averaged(heard, design(heard)).gap.value,
                target_estimand=self._target_estimand,
                realized_estimand_expr=None,
                control_value=control_value,
                treatment_value=treatment_value,
            )
            estimate.add_estimator(self)
            told()
            return estimate

    return Rates


def _column(values: Any) -> Column:
    plain: Column = values.to_numpy()
    if plain.dtype.kind in "iu":
        plain = plain.astype(np.float64)
    return plain if numeric(plain) else np.array([UNKNOWN if v is None else str(v) for v in plain], dtype=object)
