"""The entry that Streamlit runs: opens the store and offers the pages.

    streamlit run dashboard/app.py -- STORE        (or with EARMARK_STORE in the environment)

`earmark dashboard` does this with the settings that a server of personal data needs (see `dashboard.serve`).
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dashboard.clickable import ASSETS, show
from dashboard.record import opened
from dashboard.views import View, views
from influence.report.markup import Markup, tag
from lineage.errors import EarmarkError


def main() -> None:
    """One run of the script: the menu, then the page that was asked for."""
    st.set_page_config(page_title="Earmark", page_icon=str(ASSETS / "icon.svg"), layout="wide")
    show(Markup(f"<style>{(ASSETS / 'style.css').read_text(encoding='utf-8')}</style>"))
    all_views = views()
    pages = [
        st.Page(_guarded(view), title=view.title, url_path=view.path, default=i == 0)
        for i, view in enumerate(all_views)
    ]
    st.navigation(pages, position="top").run()


def _guarded(view: View) -> Callable[[], None]:
    def run() -> None:
        try:
            root = opened().store.root
            show(tag("p", [tag("b", "Earmark"), " · ", "/".join(root.parts[-2:])], class_="em-store"))
            view.show()
        except EarmarkError as error:
            st.error(str(error))

    return run


main()
