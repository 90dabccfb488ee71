"""Where a sample came from, as a tree: the sample at the top, what it was made of below it, down to the recordings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dashboard.pieces.tables import chips
from influence.report import formats
from influence.report.markup import Markup, tag

if TYPE_CHECKING:
    import uuid

    from dashboard.queries.samples import Node, Origin


@dataclass(frozen=True)
class Told:
    """What the vault tells of the samples in a tree: transcripts by sample, names by speaker key."""

    words: Mapping[uuid.UUID, str]
    speakers: Mapping[uuid.UUID, str]


def tree(root: Node, told: Told) -> Markup:
    """The tree as a nested list."""
    return tag("ul", _item(root, told, None), class_="em-tree", aria_label="Lineage, from the sample to its recordings")


def described(parameters: Mapping[str, Any]) -> str:
    """A transform's parameters in a few words: snr_db 6, rate 16000."""
    return ", ".join(f"{name} {_value(value)}" for name, value in parameters.items() if value not in (None, "", [], {}))


def _item(node: Node, told: Told, origin: Origin | None) -> Markup:
    parts: list[str | Markup] = [_head(node, told, origin)]
    if node.transform is not None:
        how = described(node.parameters)
        made = [tag("b", node.transform), f" ({how})" if how else "", " of"]
        parts.append(tag("p", ["made by ", *made], class_="em-how"))
        parts.append(tag("ul", [_item(o.parent, told, o) for o in node.origins]))
    return tag("li", parts)


def _head(node: Node, told: Told, origin: Origin | None) -> Markup:
    f = node.facts
    kind = "noise" if f.kind == "noise" else "speech"
    name = f"Recorded {kind}" if f.recorded else f"Derived {kind}"
    line: list[str | Markup] = [tag("b", name), " ", tag("code", str(f.sample_id)[:8], title=str(f.sample_id))]
    spoken = told.words.get(f.sample_id)
    speaker = told.speakers.get(f.speaker_key) if f.speaker_key else None
    if spoken:
        line.append(tag("q", spoken))
    facts = [
        formats.hours(f.duration_s),
        f"{formats.number(f.sample_rate)}{formats.GAP}Hz",
        *([f"{f.channels} channels"] if f.channels > 1 else []),
        *([f"speaker {speaker}"] if speaker else []),
        *([f"source {f.source}"] if f.source else []),
        *([f.licence] if f.licence else []),
    ]
    if origin is not None and origin.gain_db is not None and abs(origin.gain_db) >= 0.05:
        facts.append(f"at {formats.signed(origin.gain_db)}{formats.GAP}dB")
    if origin is not None and origin.child_start_s:
        facts.append(f"from {formats.number(origin.child_start_s, 2)}{formats.GAP}s")
    return tag("div", [*line, tag("small", " · ".join(facts)), chips(sorted(f.attributes.items()))], class_="em-node")


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}".replace("-", "−")
    if isinstance(value, list):
        return f"[{len(value)} items]" if len(value) > 4 else "[" + ", ".join(_value(v) for v in value) + "]"
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "…"
