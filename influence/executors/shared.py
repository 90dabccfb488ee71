"""What the jobs of one process share."""

from __future__ import annotations

from functools import lru_cache

from lineage.store import Store


@lru_cache(maxsize=4)
def store_at(root: str) -> Store:
    """The store that jobs of this process share."""
    return Store.open(root)
