"""HTML in which something can be picked: the one place where the dashboard meets the browser's events.

Charts here are tables and lists, built in Python with real buttons, so that keyboards and screen readers get what mice get.
An element with `data-pick` reports its value when pressed; the value goes straight into the address (`dashboard.links`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from influence.report.markup import Markup

ASSETS = Path(__file__).parent / "assets"

_mount = st.components.v2.component(
    "earmark_clickable",
    js=(ASSETS / "clickable.js").read_text(encoding="utf-8"),
    isolate_styles=False,
)


def clickable(html: Markup, picked: Callable[[str], None], *, key: str) -> None:
    """Show `html`; call `picked` with the value of what was pressed, before the page is run again."""

    def heed() -> None:
        value = st.session_state[key].get("picked")
        if isinstance(value, str):
            picked(value)

    _mount(key=key, data={"html": str(html)}, on_picked_change=heed)


def show(html: Markup) -> None:
    """Show HTML in which nothing can be picked."""
    st.html(str(html))
