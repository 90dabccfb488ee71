"""A sample on a page: its words, its sound, and, in a window of its own, where it came from.

The window opens for the sample that the address names, so that a lineage can be linked to like everything else.
"""

from __future__ import annotations

import uuid

import streamlit as st

from dashboard import links, vault_access
from dashboard.clickable import show
from dashboard.pieces.notes import reading
from dashboard.pieces.tables import chips
from dashboard.pieces.tree import Told, tree
from dashboard.queries.samples import Facts, Node, consumption, lineage_of
from dashboard.record import ask
from influence.report import formats
from influence.report.markup import Markup, tag


def player(sound: bytes | str, said: str | None, what: str = "Recording") -> None:
    """The sound, or the line that says why there is none."""
    if isinstance(sound, bytes):
        st.audio(sound, format="audio/wav", alt=f"{what}: {said or 'no words'}")
    else:
        show(reading(sound))


def lineage_button(sample: uuid.UUID, key: str) -> None:
    """Opens the window."""
    st.button("Lineage", key=f"{key}-{sample}", on_click=links.go, kwargs={"sample": str(sample)}, width="stretch")


def card(
    sample: uuid.UUID,
    known: Facts | None,
    said: str | None,
    sound: bytes | str,
    *,
    key: str,
    head: Markup | None = None,
) -> None:
    """A sample with its words, attributes and sound; `head` stands above them."""
    with st.container(border=True, gap="small"):
        described = chips(sorted(known.attributes.items())) if known else Markup("")
        lines = [head or Markup(""), tag("q", said or "no transcript in the vault"), described]
        show(tag("div", lines, class_="em-sample"))
        left, right = st.columns([3, 1], vertical_alignment="center")
        with left:
            player(sound, said)
        with right:
            lineage_button(sample, key)


def lineage_window() -> None:
    """The window with the lineage of the sample that the address names, if it names one."""
    asked = links.at("sample")
    if not asked:
        return
    try:
        sample = uuid.UUID(asked)
    except ValueError:
        links.go(sample=None)
        return
    _window(sample)


@st.dialog("Where this sample came from", width="large", on_dismiss=lambda: links.go(sample=None))
def _window(sample: uuid.UUID) -> None:
    root = ask(lineage_of, sample)
    if root is None:
        show(reading(f"There is no sample {sample} on record."))
        return
    nodes = _nodes(root)
    said = vault_access.transcripts(list(nodes))
    show(tree(root, Told(said, vault_access.speakers({n.facts.speaker_key for n in nodes.values()}))))
    used = ask(consumption, sample)
    show(
        reading(
            f"Consumed {formats.count(used.exposures, 'time')} in the training of {formats.count(used.models, 'model')}; "
            f"{formats.count(used.derived, 'sample')} made of it."
        )
    )
    for node, sound in vault_access.sounds(list(nodes)).items():
        f = nodes[node].facts
        what = "The sample" if node == sample else f"Recorded {f.kind}" if f.recorded else f"Derived {f.kind}"
        left, right = st.columns([1, 3], vertical_alignment="center")
        with left:
            show(reading([what, " ", tag("code", str(node)[:8])]))
        with right:
            player(sound, said.get(node), what)


def _nodes(root: Node) -> dict[uuid.UUID, Node]:
    found = {root.facts.sample_id: root}
    for origin in root.origins:
        found |= _nodes(origin.parent)
    return found
