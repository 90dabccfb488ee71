"""Re-weight: how much of a slice does how much. Its samples count 0, ¼, ½, 2 times in the loss; at 1 is what there is."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from influence.interventions.base import Case, Intervention, Making, Target, Variation

KIND = "reweight"


class Reweight(Intervention):
    """Let the slice count more or less: dose and response."""

    kind: Literal["reweight"] = "reweight"
    doses: tuple[float, ...] = Field(
        (0.0, 0.25, 0.5, 1.0, 2.0), min_length=1, max_length=20, description="Weights in the loss."
    )

    @field_validator("doses")
    @classmethod
    def _different(cls, doses: tuple[float, ...]) -> tuple[float, ...]:
        if any(d < 0 for d in doses) or len(set(doses)) < len(doses) or set(doses) == {1.0}:
            raise ValueError("give different weights from 0 upwards, and not 1 alone, which changes nothing")
        return tuple(sorted(doses))

    def cases(self, target: Target, making: Making) -> list[Case]:
        """See `Intervention`. A dose of one changes nothing, so it is no case; below it, data is (partly) left out."""
        return [
            Case(
                f"weighting {target.name} by {dose:g}",
                KIND,
                target,
                Variation(weights={target.set_digest: dose}),
                dose=dose,
                harm=dose > 1,
            )
            for dose in self.doses
            if dose != 1
        ]
