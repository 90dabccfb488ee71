"""What a set of utterances has in common that others have not: conditions and words that occur in it too often for chance.

Chance is drawing as many utterances from all at random (hypergeometric), corrected for how many conditions or words were looked
at. A description is a hint for people, not a claim: utterances of one speaker share everything that is true of that speaker.
Words are personal: what is returned here goes to a terminal and onto no record.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import stats

from lineage.selection.words import plain
from lineage.store import Store

Mask = npt.NDArray[np.bool_]

ALPHA = 0.01
MOST = 4


def overrepresented(masks: Mapping[str, Mask], inside: Mask) -> list[str]:
    """Names of up to four conditions that hold for more of the utterances `inside` than chance puts there, plainest first."""
    names = list(masks)
    if not names or not inside.any():
        return []
    having = np.array([masks[n].sum() for n in names])
    found = np.array([(masks[n] & inside).sum() for n in names])
    p = np.asarray(stats.hypergeom.sf(found - 1, len(inside), having, int(inside.sum())), dtype=np.float64)
    order = sorted(range(len(names)), key=lambda i: (p[i], names[i]))
    return [names[i] for i in order[:MOST] if p[i] * len(names) <= ALPHA]


def words_of(store: Store, ids: pa.Array, inside: Mask) -> list[str]:
    """Words that are said in more of the utterances `inside` than chance puts there, from the vault."""
    said = store.vault.transcripts(ids)
    spoken = [set(plain(said.get(i, "")).split()) for i in ids.to_pylist()]
    words = sorted(set().union(*(s for s, i in zip(spoken, inside, strict=True) if i)))
    return overrepresented({w: np.array([w in s for s in spoken], dtype=bool) for w in words}, inside)
