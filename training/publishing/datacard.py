"""The card of a published set of samples: which set it is, on what terms, who is in it, and what was taken back since.

Samples that were erased are not in the publication; the card says how many have been withdrawn since the set was first
published in that place, so that whoever holds an earlier copy knows that it has to be fetched anew. Laws: as of
`training.publishing.card`, which writes the other kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from huggingface_hub import DatasetCard, DatasetCardData

from lineage.selection.sets import SampleSet
from lineage.store import Store
from training.families.languages import find_language
from training.publishing import terms
from training.publishing.card import TASK, sources
from training.publishing.findings import speakers_in
from training.publishing.markdown import cell, code, heading, hours, table

SIZES = (("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6), ("1M<n<10M", 10**7))
FEW_VALUES = 24  # an attribute with more tells clips apart, not groups


@dataclass(frozen=True)
class Withdrawn:
    """What was erased of a set: samples of this very set, and of all sets that were published in this place."""

    of_this: int
    of_all: int


def withdrawn(store: Store, digest: str, earlier: Sequence[str]) -> Withdrawn:
    """Erased samples of a set, and of it and of those published `earlier` in its place.

    A sample that was ingested again with consent given anew is not erased any more.
    """
    query = """
        SELECT DISTINCT sample_id FROM members JOIN erasures USING (sample_id)
        WHERE set_digest IN (SELECT unnest(?::VARCHAR[]))"""

    def count(digests: Sequence[str]) -> int:
        ids = store.sql(query, [list(digests)])["sample_id"]
        return len(ids) - len(store.vault.audio_digests(ids.combine_chunks())) if len(ids) else 0

    return Withdrawn(count([digest]), count([digest, *earlier]))


def data_card(
    store: Store, data: SampleSet, repo: str, *, gone: Withdrawn, licence: str | None, use: str | None
) -> str:
    """The text of the card of a set, metadata first; arguments as of `training.publishing.card.model_card`."""
    origins = terms.behind_set(store, data.digest)
    given = licence or terms.joint(origins)
    speakers = speakers_in(store, data.digest)
    facts = table(
        ["set", "samples", "hours", "speakers", "digest"],
        [[data.name, data.size - gone.of_this, hours(data.duration_s), speakers, f"`{data.digest}`"]],
    )
    parts = [
        f"# {cell(data.name)}",
        "Recordings with their words, written by [Earmark](https://github.com/earmark-audit/earmark) from its record.\n\n"
        + facts,
        heading("How to open it", _opening(repo)),
        heading("What was withdrawn", _gone(gone)),
        heading("Intended use", (use or "").strip() or "Not stated by whoever published it."),
        heading("Who is in it", _attributes(store, data.digest)),
        heading("Where it comes from", sources(origins)),
        heading("Licence", f"`{code(given)}`" if given else "Not on record."),
        heading("How to check it", _checking(gone)),
    ]
    text = "\n\n".join(parts) + "\n"
    return str(DatasetCard(f"---\n{_metadata(store, data, gone, given).to_yaml()}\n---\n{text}"))


def _metadata(store: Store, data: SampleSet, gone: Withdrawn, licence: str | None) -> DatasetCardData:
    left = data.size - gone.of_this
    known = {find_language(v) for v, _ in _values(store, data.digest).get("language", [])}
    return DatasetCardData(
        language=sorted(row.code for row in known if row is not None) or None,
        **terms.metadata(licence),  # type: ignore[arg-type]
        pretty_name=data.name,
        size_categories=next((name for name, most in SIZES if left < most), "n>10M"),
        task_categories=[TASK],
        tags=["earmark", "speech"],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": "data-*.arrow"}]}],
    )


def _opening(repo: str) -> str:
    return (
        "```python\nimport io\n\nimport soundfile\nfrom datasets import load_from_disk\n"
        f'from huggingface_hub import snapshot_download\n\nrows = load_from_disk(snapshot_download("{repo}", '
        'repo_type="dataset"))\nsound, rate = soundfile.read(io.BytesIO(rows[0]["audio"]["bytes"]))\n```\n\n'
        "`speaker` is a keyed hash: it tells speakers apart and does not name them."
    )


def _gone(gone: Withdrawn) -> str:
    if not gone.of_all:
        return "Nothing."
    return (
        f"{gone.of_all} samples have been erased since the set was first published here, {gone.of_this} of them members of "
        "this very set. They are not in this revision: whoever has an earlier copy is asked to delete it and to fetch this one."
    )


def _values(store: Store, digest: str) -> dict[str, list[tuple[str, int]]]:
    """How many samples have each value of each attribute that has a few."""
    query = """
        SELECT name, value, count(*) AS n FROM (
            SELECT unnest(map_keys(attributes)) AS name, unnest(map_values(attributes)) AS value FROM (
                SELECT attributes FROM samples WHERE sample_id IN (SELECT sample_id FROM members WHERE set_digest = ?)
                QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY run_id DESC) = 1))
        WHERE value IS NOT NULL GROUP BY ALL ORDER BY ALL"""
    found: dict[str, list[tuple[str, int]]] = {}
    for row in store.sql(query, [digest]).to_pylist():
        found.setdefault(row["name"], []).append((row["value"], row["n"]))
    return {name: values for name, values in found.items() if len(values) <= FEW_VALUES}


def _attributes(store: Store, digest: str) -> str:
    lines = [[name, value, n] for name, values in _values(store, digest).items() for value, n in values]
    return table(["attribute", "value", "samples"], lines) if lines else "Nothing is on record of groups in it."


def _checking(gone: Withdrawn) -> str:
    more = " Erased samples are still among the ids of the set: their ids say nothing of them." if gone.of_this else ""
    return (
        "```\npip install cryptography && python check.py   # this folder, against the signed log of the record\n```\n\n"
        "The digest of the set is the root of a Merkle tree over the sorted ids of its samples (`proof/members.txt`), each of "
        f"which is computed from sound and words.{more}"
    )
