"""On what terms a model or a set stands: the sources of the recordings behind it, and the licence of the whole.

What somebody stated of a source outweighs what its rows said at ingestion, as in `lineage.people.policy`. Nothing here
speaks of a person or of a single sample.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lineage.people import rights, spdx
from lineage.sql import quote
from lineage.store import Store

# Identifiers that hubs know as the `license` of a card, by SPDX identifier where they are not its lower case.
_HUB = """
    afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bsd-2-clause bsd-3-clause bsl-1.0 c-uda cc-by-2.0 cc-by-2.5 cc-by-3.0
    cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0
    cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0
    cdla-sharing-1.0 ecl-2.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 gpl-2.0 gpl-3.0 isc lgpl-2.1 lgpl-3.0 mit mpl-2.0
    ms-pl odbl odc-by ofl-1.1 pddl postgresql unlicense wtfpl zlib
"""
HUB = frozenset(_HUB.split())
SPELT = {"C-UDA-1.0": "c-uda", "ODbL-1.0": "odbl", "ODC-By-1.0": "odc-by", "PDDL-1.0": "pddl"}


@dataclass(frozen=True)
class Origin:
    """Recordings of one source under one licence; None where the record does not say."""

    source: str | None
    licence: str | None
    recordings: int
    speakers: int


def behind_models(store: Store, model_ids: Iterable[str]) -> list[Origin]:
    """The recordings that any of some models consumed, at any remove, by source and licence."""
    each = " UNION ALL ".join(
        f"SELECT recording, speaker_key, source, licence FROM behind_model({quote(m)})" for m in sorted(model_ids)
    )
    query = f"""
        SELECT source, licence, count(*) AS recordings, count(DISTINCT speaker_key) AS speakers
        FROM (SELECT DISTINCT * FROM ({each})) GROUP BY ALL ORDER BY ALL"""
    with store.connect() as connection:
        rows = connection.sql(query).to_arrow_table().to_pylist()
    return _stated(store, rows)


def behind_set(store: Store, digest: str) -> list[Origin]:
    """The samples of a set, by source and licence."""
    query = """
        SELECT source, licence, count(*) AS recordings, count(DISTINCT speaker_key) AS speakers FROM (
            SELECT * FROM samples WHERE sample_id IN (SELECT sample_id FROM members WHERE set_digest = ?)
            QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY run_id DESC) = 1)
        GROUP BY ALL ORDER BY ALL"""
    return _stated(store, store.sql(query, [digest]).to_pylist())


def _stated(store: Store, rows: Iterable[dict[str, Any]]) -> list[Origin]:
    known = rights.as_of(store)
    return [
        Origin(**{**r, "licence": known.source(r["source"]).licence if r["source"] in known.stated else r["licence"]})
        for r in rows
    ]


def joint(origins: Iterable[Origin]) -> str | None:
    """The terms of the whole, as an SPDX expression; None if none of them is known."""
    return spdx.joint(o.licence for o in origins)


def metadata(licence: str | None) -> dict[str, str]:
    """A licence as the metadata of a card says it: by the hub's own identifier, or as 'other' with its name."""
    if licence is None:
        return {"license": "unknown"}
    plain = SPELT.get(licence, licence.removesuffix("-only").removesuffix("-or-later").lower())
    return {"license": plain} if plain in HUB else {"license": "other", "license_name": licence}
