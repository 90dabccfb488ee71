"""Numbers that are not there, as JSON and SQL have them: they know no NaN and no infinity, and say null instead."""

from __future__ import annotations

import math
from typing import Any


def finite(value: Any) -> Any:
    """A value with None for every float in it, at any depth, that is not finite; tuples become lists, as in JSON."""
    if isinstance(value, dict):
        return {name: finite(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
