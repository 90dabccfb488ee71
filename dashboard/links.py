"""Choices that stand in the address, so that what somebody sees can be sent to somebody else.

The address is the only memory of what is chosen: a widget is set from it and written back into it, and a click on a chart
changes it. Whatever a link names that is no longer there falls back to the first choice, with a word about it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import streamlit as st


def at(name: str) -> str | None:
    """What the address says under a name."""
    return st.query_params.get(name)


def go(**values: str | int | None) -> None:
    """Change the address; None takes a name out of it."""
    for name, value in values.items():
        if value is None:
            st.query_params.pop(name, None)
        else:
            st.query_params[name] = str(value)


def _settle(name: str, known: Collection[str], first: str) -> tuple[str, str]:
    """Widget key and current value of a choice, after heeding an address that changed by other ways than the widget."""
    key, written = f"choice-{name}", f"written-{name}"
    wanted = at(name)
    if wanted is not None and (key not in st.session_state or wanted != st.session_state.get(written)):
        match = [k for k in known if k == wanted or (len(wanted) >= 6 and k.startswith(wanted))]
        if len(match) == 1 or wanted in match:
            st.session_state[key] = wanted if wanted in match else match[0]
        else:
            st.session_state.pop(key, None)
            st.info(f"The link asks for {name} “{wanted}”, which is not on record; showing “{first}” instead.")
    if st.session_state.get(key) not in known:
        st.session_state[key] = first
    return key, written


def choose(label: str, options: Mapping[str, str], *, name: str, help: str | None = None) -> str:
    """A select box over `options` (what stands in the address → what people read); returns the former.

    Raises:
        ValueError: there are no options.
    """
    keys = list(options)
    if not keys:
        raise ValueError(f"nothing to choose from for {name}")
    key, written = _settle(name, keys, keys[0])
    chosen = st.selectbox(label, keys, format_func=options.__getitem__, key=key, help=help)
    st.session_state[written] = chosen
    go(**{name: chosen})
    return chosen


def switch(label: str, options: Mapping[str, str], *, name: str, help: str | None = None) -> str:
    """The same for a few short options, as a row of buttons."""
    keys = list(options)
    key, written = _settle(name, keys, keys[0])
    chosen = st.segmented_control(label, keys, format_func=options.__getitem__, key=key, help=help, required=True)
    picked = chosen or keys[0]
    st.session_state[written] = picked
    go(**{name: picked})
    return picked


def page_number(name: str) -> int:
    """The page (from 0) that the address asks for; whether there is such a page the query sees."""
    wanted = at(name) or ""
    return int(wanted) - 1 if wanted.isascii() and wanted.isdigit() and 0 < len(wanted) < 10 and int(wanted) else 0


def several(label: str, options: Mapping[str, str], *, name: str, help: str | None = None) -> tuple[str, ...]:
    """Any number of `options`; in the address with a bar between them. What is not on record is dropped."""
    key, written = f"choice-{name}", f"written-{name}"
    wanted = at(name) or ""
    if key not in st.session_state or wanted != st.session_state.get(written, ""):
        st.session_state[key] = [w for w in wanted.split("|") if w in options]
    st.session_state[key] = [w for w in st.session_state[key] if w in options]
    chosen: list[str] = st.multiselect(label, list(options), format_func=options.__getitem__, key=key, help=help)
    text = "|".join(chosen)
    st.session_state[written] = text
    go(**{name: text or None})
    return tuple(chosen)
