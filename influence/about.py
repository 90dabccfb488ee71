"""What a question is about: a recipe, the set it trains on, the set it is tested on.

Audits, games and forecasts note the digest of that, so that what was found of the same thing is found together, whatever the
recipe and the sets were called at the time.
"""

from __future__ import annotations

from typing import Any

from lineage.identity import digest_of
from training.recipe import Recipe


def about(recipe: Recipe, population: str, evaluation: str) -> str:
    """The digest; `population` and `evaluation` are set digests."""
    return digest_of([training_of(recipe), population, evaluation])


def training_of(recipe: Recipe) -> dict[str, Any]:
    """What a recipe says of the weights, but for the name of the training set, whose digest counts."""
    return {name: value for name, value in recipe.essence.items() if name != "train"}
