"""Numbers as people read them, the same on every page and in every report.

Rates in per cent with one decimal, differences of rates in points with their sign, influences in their own unit with three
significant digits, a real minus sign, and a space that does not break between a number and its unit. What is not known is
an en dash.
"""

from __future__ import annotations

import math
from datetime import datetime

UNKNOWN = "–"
GAP = "\u00a0"  # between number and unit


def known(value: float | None) -> bool:
    """Whether there is a number at all."""
    return value is not None and math.isfinite(value)


def number(value: float | None, decimals: int = 0) -> str:
    """With thousands separated: 1,134."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:,.{decimals}f}".replace("-", "−")


def signed(value: float | None, decimals: int = 1) -> str:
    """With its sign; what rounds to zero has none."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    text = f"{abs(value):,.{decimals}f}"
    if not float(text.replace(",", "")):
        return text
    return ("+" if value > 0 else "−") + text


def percent(rate: float | None, decimals: int = 1) -> str:
    """A rate in per cent: 0.234 is 23.4 %."""
    if rate is None or not math.isfinite(rate):
        return UNKNOWN
    return number(100 * rate, decimals) + GAP + "%"


def points(difference: float | None, decimals: int = 1) -> str:
    """A difference of rates in percentage points, with its sign and without its unit."""
    return signed(None if difference is None else 100 * difference, decimals)


def decimals_for(largest: float, significant: int = 3) -> int:
    """Decimals that give the largest of some values so many significant digits."""
    if not largest or not math.isfinite(largest):
        return 1
    return max(0, min(9, significant - 1 - math.floor(math.log10(abs(largest)))))


def significant(value: float | None, digits: int = 3) -> str:
    """With its sign and so many significant digits."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return signed(value, decimals_for(value, digits))


def span(low: float | None, high: float | None, decimals: int = 2) -> str:
    """An interval of plain numbers."""
    return f"{number(low, decimals)} to {number(high, decimals)}"


def hours(seconds: float | None) -> str:
    """A length of speech: seconds, minutes or hours, whichever reads best."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 60:
        return f"{number(seconds, 1)}{GAP}s"
    if seconds < 2 * 3600:
        return f"{number(seconds / 60, 1)}{GAP}min"
    return f"{number(seconds / 3600, 1)}{GAP}h"


def elapsed(seconds: float | None) -> str:
    """A cost in time: 4.2 s, 3 min 05 s, 2 h 14 min."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 60:
        return f"{number(seconds, 1 if seconds < 10 else 0)}{GAP}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{GAP}min{GAP}{rest:02}{GAP}s"
    return f"{number(minutes // 60)}{GAP}h{GAP}{minutes % 60:02}{GAP}min"


def size(count: float | None) -> str:
    """Bytes in kB, MB or GB (powers of ten)."""
    if count is None or not math.isfinite(count):
        return UNKNOWN
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{number(count / scale, 1)}{GAP}{unit}"
    return f"{number(count)}{GAP}B"


def moment(at: datetime | None) -> str:
    """A time, in UTC."""
    return UNKNOWN if at is None else at.strftime("%Y-%m-%d %H:%M") + GAP + "UTC"


def short(digest: str | None, digits: int = 12) -> str:
    """The beginning of a digest or id: enough to name it by."""
    return UNKNOWN if not digest else digest.replace("-", "")[:digits] if len(digest) != 36 else digest[:digits]


def count(value: int | None, noun: str, plural: str | None = None) -> str:
    """A counted noun: 1 speaker, 1,134 samples."""
    if value is None:
        return f"{UNKNOWN} {plural or noun + 's'}"
    return f"{number(value)}{GAP}{noun if value == 1 else plural or noun + 's'}"


def round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5 × 10ⁿ: a readable end for a scale or an axis."""
    if not value or not math.isfinite(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(abs(value)))
    return float(next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= abs(value) * (1 - 1e-9)))


def axis(low: float, high: float) -> tuple[float, float, float]:
    """Ends of an axis that holds 0, `low` and `high`, and the step of its ticks, which both ends and 0 are among."""
    if not (math.isfinite(low) and math.isfinite(high)) or low >= 0 >= high:
        return 0.0, 1.0, 0.25
    low, high = min(low, 0.0), max(high, 0.0)
    step = round_up((high - low) / 5)
    return step * math.floor(low / step + 1e-9), step * math.ceil(high / step - 1e-9), step
