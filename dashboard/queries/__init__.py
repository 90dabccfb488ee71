"""What the pages ask of the record: plain functions of a store that return frozen values.

SQL stands here and nowhere else in the dashboard. Lists that can be long come a page at a time, cut in SQL. Nothing here
reads the vault.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


def newest_samples(among: str = "") -> str:
    """The newest row of each sample, as a subquery: a sample that two runs recorded stands in the table twice.

    `among` is a SELECT of the only ids that are needed; without it all rows are sorted.
    """
    where = f"WHERE sample_id IN ({among}) " if among else ""
    return f"(SELECT * FROM samples {where}QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY run_id DESC) = 1)"


SAMPLES = newest_samples()

# What each set is called: by the newest name that somebody gave it, by a slice's only where there is no other.
NAMED_SETS = """(SELECT set_digest, first(name ORDER BY kind IN ('slice', 'control'), run_id DESC) AS name
                 FROM sample_sets GROUP BY set_digest)"""


def within(number: int, total: int, size: int) -> int:
    """A page's number (from 0) brought into a list of `total` rows."""
    return min(max(number, 0), max(0, -(-total // size) - 1))


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of a longer list, and how long the whole of it is."""

    rows: tuple[T, ...]
    total: int
    number: int  # from 0
    size: int

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return max(1, -(-self.total // self.size))
