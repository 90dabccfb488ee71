"""What a training may use: policy and leakage, judged over everything that its weights will have learnt from.

That is the set it is trained on, and besides: pools that augmentation mixes in, the old set that elastic weight consolidation
holds to, and all that the chain of models behind its base was trained on, because weights are not free of the terms that
their data were under. How many speakers a set has matters only where it is trained on now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lineage import leakage
from lineage.people.policy import Policy, Verdict, enforce, in_force, judge, verdict_on
from lineage.runs import Run
from lineage.store import Store
from training.models.recorded import Model
from training.prepare import Prepared


@dataclass(frozen=True)
class Permission:
    """Verdicts on the training set, on what is used `beside` it, and on what stands `behind` the model that is continued."""

    verdict: Verdict | None
    beside: tuple[Verdict, ...]
    behind: tuple[Verdict, ...]
    parent: Model | None
    leaks: leakage.Verdict

    @property
    def refused(self) -> bool:
        """Whether the training may not be."""
        return self.leaks.refused or any(v.refused for v in (*self.behind, *self.beside, self.verdict) if v)

    def enforce(self, run: Run, *, quietly: bool = False) -> None:
        """Put the verdicts on the record of a run that is beginning, and warn of what they warn of.

        Raises:
            PolicyRefused, LeakageRefused: it may not go on.
        """
        for verdict in self.behind:
            enforce(run, verdict, f"which stands behind model {self.parent.name}" if self.parent else "")
        for beside in self.beside:
            enforce(run, beside)
        enforce(run, self.verdict)
        if self.behind:
            run.result["policy_behind"] = [verdict.to_json() for verdict in self.behind]
        leakage.enforce(run, self.leaks, quietly=quietly)


def permission(store: Store, job: Prepared, policy: Policy | None = None) -> Permission:
    """Judge a training by the given policy, or else the one in force."""
    trained, beside = job.data.digest, list(job.beside)
    if job.mixture is not None and not job.mixture.recorded(
        store
    ):  # asked before there is a mixture: what it is made of
        trained, beside = job.mixture.new.digest, [*beside, *(s.digest for s in job.mixture.old)]
    measured = [s.digest for s in job.measured]
    taken = [job.changes.substitutes.set_digest] if job.changes.substitutes else []
    return Permission(
        verdict_on(store, trained, policy),
        _on_pools(store, beside, policy),
        _on_pools(store, job.behind, policy),
        job.start.parent,
        leakage.judge(
            store, trained, measured, policy, behind=[*taken, *(d for d in beside if d not in job.pools), *job.behind]
        ),
    )


def on_pool(store: Store, set_digest: str, policy: Policy | None) -> Verdict | None:
    """How the policy judges a set that is not trained on but learnt from; how many speakers it has does not matter there."""
    rules = policy or in_force(store)
    return None if rules is None else judge(store, rules.model_copy(update={"minimum_speakers": {}}), set_digest)


def _on_pools(store: Store, sets: Sequence[str], policy: Policy | None) -> tuple[Verdict, ...]:
    return tuple(v for v in (on_pool(store, digest, policy) for digest in sets) if v is not None)
