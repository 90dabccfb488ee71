"""Texts as an evaluation counted them: after the normaliser that it names."""

from __future__ import annotations

from lineage.errors import EarmarkError
from training.normalise import normaliser


def normalised(label: str, *texts: str) -> tuple[tuple[str, ...], str]:
    """The texts after the normaliser `name@digest`, and a remark if that is not the one that counted.

    Where the normaliser cannot be had here, the texts come as they are.
    """
    name = label.partition("@")[0] or "none"
    try:
        current = normaliser(name)
    except (EarmarkError, ImportError):
        return texts, f"The normaliser {label} is not installed here, so the words stand as they were written."
    remark = (
        ""
        if current.label == label
        else f"The normaliser {name} has changed since: {label} counted, {current.label} is shown."
    )
    return tuple(current(t) for t in texts), remark
