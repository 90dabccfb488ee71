"""Relabel: other words for the same sound, in the same places. Corrected ones from a file, or corrupted ones on purpose.

A file of corrections has a line of JSON for each sample, with `sample_id` and `text`; what is not in it keeps its words. Words
are personal data: the plan's digest covers them by keyed hashes alone, and the children lie in the vault like any transcript.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from influence.interventions.base import UNKNOWN, Case, Intervention, Making, Target, Variation
from lineage.derivation.relabel import Cause, corrupted, relabel
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.selection.sets import members
from lineage.store import Store


class Correct(Intervention):
    """Give samples of the slice the words of a file."""

    kind: Literal["correct"] = "correct"
    file: str = Field(min_length=1, description="JSON lines with sample_id and text.")

    def essence(self, store: Store) -> dict[str, Any]:
        """See `Intervention`: the words as keyed hashes, not the name of the file."""
        hashed = sorted((str(s), str(store.vault.text_key(text))) for s, text in self._texts().items())
        return {"kind": self.kind, "slices": list(self.slices), "words": digest_of(hashed)}

    def cases(self, target: Target, making: Making) -> list[Case]:
        """See `Intervention`. A random set has no corrections, so there is no control."""
        said = making.store.vault.transcripts(target.ids)
        texts = {s: text for s, text in self._texts().items() if s in said and text != said[s]}
        if not texts:
            raise EarmarkError(f"{self.file} corrects no sample of {target.name} — check its sample_ids")
        changed = Variation(substitutes=relabelled(making, texts, "corrected", f"{target.name} corrected"))
        return [Case(f"correcting {target.name}", self.kind, target, changed, controlled=False)]

    def _texts(self) -> dict[uuid.UUID, str]:
        try:
            lines = Path(self.file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise EarmarkError(f"{self.file} cannot be read — give a file of JSON lines in UTF-8") from error
        texts = {}
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
                texts[uuid.UUID(entry["sample_id"])] = str(entry["text"])
            except (ValueError, TypeError, KeyError) as error:
                raise EarmarkError(
                    f'{self.file}, line {number}: no correction — write {{"sample_id": "…", "text": "…"}}'
                ) from error
        return texts


class Corrupt(Intervention):
    """Replace or leave out a share of the words of the slice."""

    kind: Literal["corrupt"] = "corrupt"
    shares: tuple[float, ...] = Field(
        (0.2,), min_length=1, description="Shares of the words, each above 0 and up to 1."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Which words it hits, and what becomes of them.")

    def cases(self, target: Target, making: Making) -> list[Case]:
        """See `Intervention`."""
        return [
            Case(
                f"corrupting {100 * share:g} % of the words of {target.name}",
                self.kind,
                target,
                Variation(substitutes=corruption(making, target, share, self.seed)),
                dose=share,
            )
            for share in self.shares
        ]


def corruption(making: Making, target: Target, share: float, seed: int) -> str:
    """The pairing that gives the target's samples corrupted words; the words come from the population's."""
    if not 0 < share <= 1:
        raise EarmarkError(f"{share:g} is no share of words — give more than 0 and at most 1")
    if making.run is None:
        return UNKNOWN
    everything = making.store.vault.transcripts(members(making.store, making.population.digest))
    words = sorted({word for text in everything.values() for word in text.split()})
    said = {s: everything[s] for s in target.ids.to_pylist() if s in everything}
    texts = corrupted(said, share, seed, words)
    return relabelled(making, texts, "corrupted", f"{target.name} corrupted", seed)


def relabelled(making: Making, texts: dict[uuid.UUID, str], cause: Cause, name: str, seed: int = 0) -> str:
    """The pairing of samples with those that say `texts` instead, recorded as their children."""
    if making.run is None:
        return UNKNOWN
    by, made = relabel(making.run, texts, cause=cause, seed=seed)
    return making.pairing(by, name, made)
