"""Colours: few, quiet, and never the only bearer of a meaning.

Signed values lie on a diverging scale from orange over white to blue, which people with any of the common colour
deficiencies tell apart (after Brewer's PuOr and RdBu, colorbrewer2.org); its centre is always zero, and its ends are light
enough for dark text to be read on all of it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

INK = "#1f2933"
MUTED = "#5b6673"
LINE = "#dfe4ea"
POSITIVE = "#2b6cb0"
NEGATIVE = "#b4530a"

_DARK = "#10181f"  # on colours: darker than the ink on white
_STOPS: tuple[tuple[float, tuple[int, int, int]], ...] = (
    (-1.0, (221, 125, 27)),
    (-0.5, (249, 186, 112)),
    (-0.2, (253, 228, 199)),
    (0.0, (252, 252, 252)),
    (0.2, (213, 230, 242)),
    (0.5, (148, 194, 226)),
    (1.0, (74, 147, 204)),
)


@dataclass(frozen=True)
class Shade:
    """Background and text colour as `#rrggbb`."""

    fill: str
    ink: str


def shade(value: float, largest: float) -> Shade:
    """The colour of a signed value on a scale from −largest to +largest; beyond the ends it is that of the end."""
    place = 0.0 if not largest or not math.isfinite(value) else max(-1.0, min(1.0, value / largest))
    rgb = _mixed(place)
    return Shade(_hex(rgb), _DARK)


def gradient() -> str:
    """The whole scale as a CSS gradient, left to right."""
    stops = ", ".join(f"{_hex(colour)} {50 * (1 + at):.0f}%" for at, colour in _STOPS)
    return f"linear-gradient(to right, {stops})"


def contrast(fill: str, ink: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    return _contrast(_rgb(fill), _rgb(ink))


def _mixed(place: float) -> tuple[float, float, float]:
    index = min(bisect_right([at for at, _ in _STOPS], place), len(_STOPS) - 1)
    (left, a), (right, b) = _STOPS[index - 1], _STOPS[index]
    share = (place - left) / (right - left)
    return (a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]), a[2] + share * (b[2] - a[2]))


def _contrast(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(rgb: tuple[float, ...]) -> float:
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _hex(rgb: tuple[float, ...]) -> str:
    return "#" + "".join(f"{round(c):02x}" for c in rgb)


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
